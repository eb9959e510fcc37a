import { EventEmitter } from "node:events";
import type { Duplex, Writable } from "node:stream";
import type { Bytes } from "../base/bytes.ts";
import { type Clock, systemClock, type Timer } from "../base/clock.ts";
import { writeText } from "../base/bytes.ts";

/** How close in time two writes to the network may be, in ms; the first one after a pause of this length waits for nothing. */
export const COALESCE_MS = 1;

/** Bytes that are written at once, whatever the time: what a TLS record holds. */
export const COALESCE_BYTES = 16_384;

/**
 * A TLS stream for MQTT.js that joins what is written to it. MQTT.js hands over each packet in some five pieces; encrypting and
 * sending them costs several times what making them costs. Here they are copied one behind the other, and go out together: at
 * the end of the turn, or {@linkcode COALESCE_MS} after what went before.
 *
 * It has what MQTT.js uses of a stream and no more. What arrives is read from the TLS stream by others, who pass on what is for
 * MQTT.js.
 */
export class CoalescingStream extends EventEmitter {
  readonly #stream: Duplex;
  readonly #clock: Clock;
  #chunk: Bytes = new Uint8Array(COALESCE_BYTES);
  /** What is between these has not been handed to the TLS stream. */
  #start = 0;
  #end = 0;
  #due = false;
  #timer: Timer | undefined;
  #target: Writable | undefined;
  #flushedAt = -Infinity;

  constructor(stream: Duplex, clock: Clock = systemClock) {
    super();
    this.#stream = stream;
    this.#clock = clock;
    stream.on("error", (error: Error) => this.emit("error", error));
    stream.once("close", () => {
      this.#timer?.cancel();
      this.emit("close");
    });
  }

  /** Bytes that have been written and not yet taken by the socket. */
  get unwritten(): number {
    return this.#end - this.#start + this.#stream.writableLength;
  }

  /** Takes bytes or text; never full. Bytes are copied, unless they are more than {@linkcode COALESCE_BYTES}. */
  write(data: Uint8Array | string): true {
    if (typeof data === "string") {
      // No unit of a string becomes more than three bytes.
      if (!this.#makeRoom(3 * data.length)) this.#stream.write(data);
      else this.#end = writeText(data, this.#chunk, this.#end);
    } else if (!this.#makeRoom(data.length)) {
      this.#stream.write(data);
    } else {
      this.#chunk.set(data, this.#end);
      this.#end += data.length;
    }
    return true;
  }

  /** Hands over what has been coalesced. */
  readonly flush = (): void => {
    this.#timer?.cancel();
    this.#timer = undefined;
    this.#due = false;
    if (this.#end === this.#start) return;
    this.#flushedAt = this.#clock.now();
    this.#stream.write(this.#chunk.subarray(this.#start, this.#end));
    this.#start = this.#end;
  };

  /** Hands over what has been joined and `last`, and ends the stream; then calls `done`. */
  end(last: Uint8Array, done?: () => void): void {
    this.flush();
    this.#stream.end(last, done);
  }

  /** Destroys the stream; what has not been handed over is lost. */
  destroy(error?: Error): void {
    this.#stream.destroy(error);
  }

  /** Remembers where MQTT.js takes what arrives: it gets that by {@linkcode arrived}. */
  pipe(target: Writable): Writable {
    this.#target = target;
    return target;
  }

  /** Gives MQTT.js a packet of the broker. */
  arrived(packet: Uint8Array): void {
    this.#target?.write(packet);
  }

  /** Whether so many bytes can be joined; if not, what was joined before has been handed over. */
  #makeRoom(bytes: number): boolean {
    if (!this.#due) this.#begin();
    if (bytes <= this.#chunk.length - this.#end) return true;
    this.flush();
    if (bytes > COALESCE_BYTES) return false;
    this.#chunk = new Uint8Array(COALESCE_BYTES);
    this.#start = this.#end = 0;
    this.#begin();
    return true;
  }

  #begin(): void {
    this.#due = true;
    // Until it has written everything, the TLS stream needs what it was given.
    if (this.#stream.writableLength === 0) this.#start = this.#end = 0;
    if (this.#clock.now() - this.#flushedAt >= COALESCE_MS) queueMicrotask(this.flush);
    else this.#timer = this.#clock.after(COALESCE_MS, this.flush);
  }
}
