import type { Bytes } from "../../../src/base/bytes.ts";
import type { BusListener } from "../../../src/bus/listener.ts";
import type { BusConn } from "../../../src/bus/socket_conn.ts";
import type { Frame } from "../../../src/wire/frame.ts";
import { FrameReader } from "../../../src/wire/frame_reader.ts";

/** A connection whose other end is the test. */
export class FakeConn implements BusConn {
  /** Most bytes that one write takes. */
  most = Number.MAX_SAFE_INTEGER;
  /** Bytes that the client still takes; at 0 writes wait. */
  room = Number.MAX_SAFE_INTEGER;
  /** The bytes of each write that was taken. */
  readonly writes: Bytes[] = [];
  closed = false;
  #incoming: Bytes[] = [];
  #ended = false;
  #wakeRead: (() => void) | undefined;
  #wakeWrite: (() => void) | undefined;

  /** The client sends. */
  feed(bytes: Bytes): void {
    this.#incoming.push(bytes);
    this.#wakeRead?.();
  }

  /** The client closes. */
  end(): void {
    this.#ended = true;
    this.#wakeRead?.();
  }

  /** The client reads on for `room` bytes. */
  drain(room = Number.MAX_SAFE_INTEGER): void {
    this.room = room;
    this.#wakeWrite?.();
  }

  /** All frames that came out so far. */
  frames(): Frame[] {
    const reader = new FrameReader();
    for (const bytes of this.writes) reader.push(bytes);
    const frames: Frame[] = [];
    for (let frame = reader.next(); frame !== undefined; frame = reader.next()) frames.push(frame);
    return frames;
  }

  async read(into: Uint8Array): Promise<number | null> {
    while (!this.closed) {
      const first = this.#incoming[0];
      if (first !== undefined) {
        const count = Math.min(into.length, first.length);
        into.set(first.subarray(0, count));
        if (count === first.length) this.#incoming.shift();
        else this.#incoming[0] = first.subarray(count);
        return count;
      }
      if (this.#ended) return null;
      await new Promise<void>((resolve) => this.#wakeRead = resolve);
    }
    throw new Error("operation canceled");
  }

  async write(bytes: Uint8Array): Promise<number> {
    while (!this.closed && this.room === 0) {
      await new Promise<void>((resolve) => this.#wakeWrite = resolve);
    }
    if (this.closed) throw new Error("operation canceled");
    const part = bytes.slice(0, Math.min(this.most, this.room));
    this.room -= part.length;
    this.writes.push(part);
    return part.length;
  }

  close(): void {
    if (this.closed) throw new Error("Bad resource ID");
    this.closed = true;
    this.#wakeRead?.();
    this.#wakeWrite?.();
  }
}

/** A listener whose clients are the test's. */
export class FakeListener implements BusListener {
  #next: (BusConn | Error)[] = [];
  #wake: (() => void) | undefined;
  closed = false;
  accepts = 0;

  /** A client connects, or accepting fails. */
  put(next: BusConn | Error): void {
    this.#next.push(next);
    this.#wake?.();
  }

  async accept(): Promise<BusConn> {
    this.accepts++;
    while (!this.closed) {
      const next = this.#next.shift();
      if (next instanceof Error) throw next;
      if (next !== undefined) return next;
      await new Promise<void>((resolve) => this.#wake = resolve);
    }
    throw new Error("Listener has been closed");
  }

  close(): void {
    this.closed = true;
    this.#wake?.();
  }
}
