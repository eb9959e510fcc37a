import type { Bytes } from "../base/bytes.ts";
import {
  checkPrelude,
  decodeFrameAt,
  type Frame,
  MAX_FRAME_BYTES,
  PRELUDE_BYTES,
} from "./frame.ts";

/** What a reader holds while no large frame is under way, in bytes: many clients are connected and few speak. */
const IDLE_BYTES = 4_096;

/** A frame is given room for so many times what has come of it: what it announces costs its sender nothing. */
const GROWTH = 2;

/**
 * Frames out of a stream that comes in pieces of any size: read into {@linkcode space}, say how much with
 * {@linkcode filled}, then take every frame with {@linkcode next}.
 */
export class FrameReader {
  readonly #maxFrameBytes: number;
  #buffer: Bytes = new Uint8Array(IDLE_BYTES);
  #start = 0;
  #end = 0;
  /** What the prelude at `#start` announced, 0 while it has not been checked. */
  #total = 0;

  /** @param maxFrameBytes The largest frame that is read. */
  constructor(maxFrameBytes: number = MAX_FRAME_BYTES) {
    this.#maxFrameBytes = maxFrameBytes;
  }

  /** How many bytes have come that no frame has been made of. */
  get pending(): number {
    return this.#end - this.#start;
  }

  /** Bytes of memory beside the least that it always has: for a large frame that is not complete. */
  get reserved(): number {
    return this.#buffer.length - IDLE_BYTES;
  }

  /** Free space to read into, never empty. Ends the life of the views in frames taken before. */
  space(): Bytes {
    const pending = this.pending;
    const size = this.#sizeFor(pending);
    if (size !== this.#buffer.length) {
      const buffer = new Uint8Array(size);
      buffer.set(this.#buffer.subarray(this.#start, this.#end));
      this.release();
      this.#buffer = buffer;
    } else if (this.#start > 0 && pending > 0) {
      this.#buffer.copyWithin(0, this.#start, this.#end);
    }
    this.#start = 0;
    this.#end = pending;
    return this.#buffer.subarray(pending);
  }

  /**
   * Gives the memory back at once, at the end of the reader's life: the garbage collector is in no hurry with what many large
   * frames leave behind. No read may be under way.
   */
  release(): void {
    this.#buffer.buffer.transfer(0);
  }

  #sizeFor(pending: number): number {
    const { length } = this.#buffer;
    const enough = Math.max(IDLE_BYTES, this.#total);
    if (pending >= enough) {
      // Only for a caller that reads on without taking its frames.
      return pending < length ? length : 2 * pending;
    }
    return pending < length ? Math.min(length, enough) : Math.min(GROWTH * length, enough);
  }

  /**
   * Says that `count` bytes were written to the start of {@linkcode space}.
   *
   * @throws {RangeError} When that is more than there was space for.
   */
  filled(count: number): void {
    const free = this.#buffer.length - this.#end;
    if (!(count >= 0 && count <= free)) {
      throw new RangeError(`Cannot take bytes in: their count must be 0 to ${free}, got ${count}`);
    }
    this.#end += count;
  }

  /** Copies a piece of the stream in. */
  push(chunk: Bytes): void {
    for (let at = 0; at < chunk.length;) {
      const space = this.space();
      const part = chunk.subarray(at, at + space.length);
      space.set(part);
      this.filled(part.length);
      at += part.length;
    }
  }

  /**
   * The next frame, or `undefined` until more bytes have come. Its views live until the next {@linkcode space} or
   * {@linkcode push}.
   *
   * @throws {BusError} PARSE or NOMEM as `decodeFrame` does. The stream is lost then: each further call throws again.
   */
  next(): Frame | undefined {
    if (this.#total === 0) {
      if (this.pending < PRELUDE_BYTES) return undefined;
      this.#total = checkPrelude(this.#buffer, this.#start, this.#maxFrameBytes);
    }
    if (this.pending < this.#total) return undefined;
    const frame = decodeFrameAt(this.#buffer, this.#start, this.#total);
    this.#start += this.#total;
    this.#total = 0;
    return frame;
  }
}

/** Most readers kept for further clients. */
const MAX_SPARE_READERS = 64;

/** Frame readers for the next clients: most connections carry one call, and a new buffer costs more than reading it. */
export class ReaderPool {
  readonly #spare: FrameReader[] = [];

  /** A reader that holds nothing. */
  take(): FrameReader {
    return this.#spare.pop() ?? new FrameReader();
  }

  /** Gives a reader back that nothing uses any more; one in the middle of a frame, or one too many, is let go. */
  give(reader: FrameReader): void {
    if (reader.pending === 0 && this.#spare.length < MAX_SPARE_READERS) this.#spare.push(reader);
    else reader.release();
  }
}
