import { type Bytes, concat, utf8 } from "../base/bytes.ts";
import { type Clock, sleep } from "../base/clock.ts";
import { MAX_WAITING_LOG_BYTES } from "../base/log.ts";

/** Bytes of lines that wait for a reader that is slow; further lines are dropped and counted. */
export const MAX_WAITING_BYTES = MAX_WAITING_LOG_BYTES;

/** How long a full pipe is left alone before the next try, in ms. */
export const RETRY_MS = 20;

/**
 * Writes lines where the reader may be slow, stopped or gone, which never holds up nor ends the program: parts are continued,
 * a full pipe is tried again, and after any other error everything is thrown away.
 */
export class LineWriter {
  #waiting: Bytes[] = [];
  #bytes = 0;
  #dropped = 0;
  #writing: Promise<void> | undefined;
  #gone = false;

  /** @param write Writes a part of the bytes and says how many. */
  constructor(
    private readonly write: (bytes: Bytes) => Promise<number>,
    private readonly clock: Clock,
  ) {}

  /** Writes a line, which brings its newline, after those before it. */
  line(text: string): void {
    if (this.#gone) return;
    const bytes = utf8(text);
    if (this.#bytes + bytes.length > MAX_WAITING_BYTES) {
      this.#dropped++;
      return;
    }
    this.#add(bytes);
    this.#writing ??= this.#run();
  }

  /** Resolves when everything is written or thrown away, or after `ms`. */
  async flush(ms: number): Promise<void> {
    if (this.#writing === undefined) return;
    const late = Promise.withResolvers<void>();
    const timer = this.clock.after(ms, late.resolve);
    await Promise.race([this.#writing, late.promise]);
    timer.cancel();
  }

  #add(bytes: Bytes): void {
    this.#waiting.push(bytes);
    this.#bytes += bytes.length;
  }

  async #run(): Promise<void> {
    while (this.#waiting.length > 0) {
      const bytes = concat(this.#waiting);
      this.#waiting = [];
      await this.#writeAll(bytes);
      this.#bytes -= bytes.length;
      if (this.#dropped > 0 && !this.#gone) {
        this.#add(
          utf8(`${this.#dropped} log lines are missing here: they were not read in time\n`),
        );
        this.#dropped = 0;
      }
    }
    this.#writing = undefined;
  }

  async #writeAll(bytes: Bytes): Promise<void> {
    for (let at = 0; at < bytes.length && !this.#gone;) {
      try {
        const count = await this.write(at === 0 ? bytes : bytes.subarray(at));
        if (count === 0) await sleep(this.clock, RETRY_MS);
        at += count;
      } catch (error) {
        if (isFull(error)) await sleep(this.clock, RETRY_MS);
        // Nobody is left to be told.
        else this.#gone = true;
      }
    }
  }
}

function isFull(error: unknown): boolean {
  return error instanceof Deno.errors.WouldBlock || error instanceof Deno.errors.Interrupted;
}
