import type { OutgoingPublish } from "../mqtt/port.ts";

/** Bytes of QoS 0 messages that wait for the rate limit at most. */
export const QOS0_LANE_BYTES = 4_194_304;

/** What a waiting message counts beside its topic and payload, in bytes. */
const OVERHEAD_BYTES = 64;

/** QoS 0 messages that were accepted while connected and wait for the rate limit, in order; bounded. */
export class Qos0Lane {
  #waiting: OutgoingPublish[] = [];
  #head = 0;
  #bytes = 0;

  /** Messages that wait. */
  get length(): number {
    return this.#waiting.length - this.#head;
  }

  /** Bytes that wait, with an overhead for each message. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Puts a message at the end; `false` when there is no room for it. */
  push(message: OutgoingPublish): boolean {
    const size = sizeOf(message);
    if (this.#bytes + size > QOS0_LANE_BYTES) return false;
    this.#waiting.push(message);
    this.#bytes += size;
    return true;
  }

  /** The first message, which stays. */
  peek(): OutgoingPublish | undefined {
    return this.#waiting[this.#head];
  }

  /** Takes the first message out. */
  shift(): void {
    const first = this.#waiting[this.#head];
    if (first === undefined) return;
    this.#bytes -= sizeOf(first);
    this.#head++;
    // Shifting an array moves all that is behind: done once for many.
    if (this.#head < 1_024 && this.#head < this.#waiting.length) return;
    this.#waiting = this.#waiting.slice(this.#head);
    this.#head = 0;
  }
}

function sizeOf(message: OutgoingPublish): number {
  return message.topic.length + message.payload.length + OVERHEAD_BYTES;
}
