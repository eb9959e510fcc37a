import type { Bytes } from "../base/bytes.ts";
import { Deque } from "../base/deque.ts";
import { sizeOf } from "../spool/policy.ts";

/** Bytes of QoS 0 messages that wait for the rate limit at most. */
export const QOS0_QUEUE_BYTES = 4_194_304;

/** A QoS 0 message that waits. */
export interface WaitingMessage {
  readonly topic: string;
  readonly payload: Bytes;
  /** Milliseconds since the epoch; `undefined`: never. */
  readonly expiresAt: number | undefined;
  /** What it counts for, in bytes, with an overhead. */
  readonly size: number;
  /** Told when it waits no longer. */
  readonly onDone?: (() => void) | undefined;
}

/** QoS 0 messages that were accepted while connected and wait for the rate limit, in order; bounded. */
export class Qos0Queue {
  /** Told when a message was put into the queue. */
  onAvailable: () => void = () => {};
  readonly #waiting = new Deque<WaitingMessage>();
  #length = 0;
  #bytes = 0;

  /** Messages that wait, with those that were taken out and are not {@linkcode done}. */
  get length(): number {
    return this.#length;
  }

  /** Their bytes, with an overhead for each message. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Puts a message at the end; `false` when there is no room for it. */
  push(
    topic: string,
    payload: Bytes,
    expiresAt: number | undefined,
    onDone?: () => void,
  ): boolean {
    const size = sizeOf(topic, payload.length);
    if (this.#bytes + size > QOS0_QUEUE_BYTES) return false;
    this.#waiting.push({ topic, payload, expiresAt, size, onDone });
    this.#length++;
    this.#bytes += size;
    return true;
  }

  /** The first message, which stays. */
  peek(): WaitingMessage | undefined {
    return this.#waiting.peek();
  }

  /** Takes the first message out; it counts until it is {@linkcode done}. */
  shift(): void {
    this.#waiting.shift();
  }

  /** A message that was taken out waits no longer. */
  done({ size, onDone }: WaitingMessage): void {
    this.#length--;
    this.#bytes -= size;
    onDone?.();
  }
}
