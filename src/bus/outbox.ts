import { type Bytes, concat } from "../base/bytes.ts";
import { Deque } from "../base/deque.ts";
import { giveJoinBuffer, takeJoinBuffer } from "./join_buffers.ts";
import type { BusConn } from "./socket_conn.ts";
import { JOIN_BYTES } from "./limits.ts";

/** Less than this is joined in bytes of its own: many clients may have a little each that they do not read. */
const POOLED_BYTES = JOIN_BYTES / 4;

/** Whom an outbox tells what became of its bytes. */
export interface OutboxOwner {
  /** The connection took some bytes. */
  onTaken?(): void;
  /** Everything was written. */
  onDrained(): void;
  /** The connection takes no more. */
  onWriteFailed(error: unknown): void;
}

/** The bytes that wait for one client: joined, and at most one write under way. Bounding them is the owner's part. */
export class Outbox {
  readonly #conn: BusConn;
  readonly #owner: OutboxOwner;
  readonly #frames = new Deque<Bytes>();
  #queued = 0;
  #writing = false;
  #written = 0;

  constructor(conn: BusConn, owner: OutboxOwner) {
    this.#conn = conn;
    this.#owner = owner;
  }

  /** Bytes not yet taken by the kernel, those of the write under way included. */
  get queued(): number {
    return this.#queued;
  }

  /** Bytes taken by the kernel so far; it stands still when the client does not read. */
  get written(): number {
    return this.#written;
  }

  /** Queues a frame, which is never modified. {@linkcode flush} sends it. */
  push(frame: Bytes): void {
    this.#frames.push(frame);
    this.#queued += frame.length;
  }

  /** Starts to write what is queued, unless a write is under way, which then goes on with it. */
  flush(): void {
    if (!this.#writing && this.#frames.length > 0) void this.#drain();
  }

  /** Forgets what is queued, when the connection is gone. */
  clear(): void {
    this.#frames.clear();
    this.#queued = 0;
  }

  async #drain(): Promise<void> {
    this.#writing = true;
    try {
      while (this.#frames.length > 0) {
        const { bytes: joined, buffer } = this.#take();
        let bytes = joined;
        while (bytes.length > 0) {
          const count = await this.#conn.write(bytes);
          if (count === 0) throw new Error("Cannot write: the connection took nothing");
          this.#written += count;
          this.#queued -= count;
          bytes = bytes.subarray(count);
          this.#owner.onTaken?.();
        }
        // Not after a write that failed, which the runtime may still have in hand.
        if (buffer !== undefined) giveJoinBuffer(buffer);
      }
    } catch (error) {
      this.#writing = false;
      this.clear();
      this.#owner.onWriteFailed(error);
      return;
    }
    this.#writing = false;
    this.#owner.onDrained();
  }

  /** The next bytes to write: as many frames as fit in one write worth joining; `buffer` is where they are, if it is to be kept. */
  #take(): { readonly bytes: Bytes; readonly buffer?: Bytes } {
    const frames: Bytes[] = [];
    let length = 0;
    for (let next; (next = this.#frames.peek()) !== undefined; this.#frames.shift()) {
      if (frames.length > 0 && length + next.length > JOIN_BYTES) break;
      frames.push(next);
      length += next.length;
    }
    if (frames.length === 1 || length < POOLED_BYTES) return { bytes: concat(frames) };
    const buffer = takeJoinBuffer();
    let at = 0;
    for (const frame of frames) {
      buffer.set(frame, at);
      at += frame.length;
    }
    return { bytes: buffer.subarray(0, length), buffer };
  }
}
