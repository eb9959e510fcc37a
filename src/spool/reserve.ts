import { messageOf } from "../base/errors.ts";

/** How much is written at once, in bytes: what `crypto.getRandomValues` gives at most. */
const CHUNK_BYTES = 65_536;

/**
 * A file that only takes up room: when the disk is full it goes, so that what was sent can still be removed from the spool.
 * SQLite needs room for that, and for moving its log into the database.
 */
export class Reserve {
  readonly #path: string;
  readonly #bytes: number;
  #held = false;
  /** What went wrong last. */
  problem: string | undefined;

  constructor(path: string, bytes: number) {
    this.#path = path;
    this.#bytes = bytes;
  }

  /** Whether the room is there. */
  get held(): boolean {
    return this.#held || this.#bytes === 0;
  }

  /** Takes up the room unless it is taken; `false` when the disk does not have it. */
  restore(): boolean {
    if (this.held) return true;
    try {
      this.#held = this.#isComplete() || this.#write();
    } catch (error) {
      // Deno has no error class for a full disk or a quota: whatever it is, the caller says it.
      this.release();
      this.problem = messageOf(error);
    }
    return this.#held;
  }

  /** Gives the room free. */
  release(): void {
    this.#held = false;
    try {
      Deno.removeSync(this.#path);
    } catch (error) {
      if (!(error instanceof Deno.errors.NotFound)) this.problem = messageOf(error);
    }
  }

  #isComplete(): boolean {
    try {
      return Deno.statSync(this.#path).size === this.#bytes;
    } catch (error) {
      if (error instanceof Deno.errors.NotFound) return false;
      throw error;
    }
  }

  #write(): boolean {
    using file = Deno.openSync(this.#path, {
      write: true,
      create: true,
      truncate: true,
      mode: 0o600,
    });
    // Noise, because some file systems of small devices store zeros, or anything that repeats, in next to nothing.
    const noise = crypto.getRandomValues(new Uint8Array(CHUNK_BYTES));
    for (let left = this.#bytes; left > 0;) {
      const written = file.writeSync(noise.subarray(0, Math.min(left, noise.length)));
      crypto.getRandomValues(noise);
      left -= written;
    }
    file.syncDataSync();
    return true;
  }
}
