import { BYTES_PER_SECOND, PUBLISHES_PER_SECOND } from "./limits.ts";

/**
 * The window that the limits of a second are kept in, in ms. The broker counts arrivals, and a network may squeeze what
 * was sent over a second into less: a tenth more keeps it from seeing 101.
 */
export const AWS_WINDOW_MS = 1_100;

/** How much may happen in any stretch of `windowMs`. */
export interface RateLimits {
  /** Messages, at least 1. */
  readonly count: number;
  /** Bytes; a single message beyond them waits until it is alone. */
  readonly bytes: number;
  /** Milliseconds. */
  readonly windowMs: number;
}

/** The limits of one connection to AWS IoT Core. */
export const AWS_RATE_LIMITS: RateLimits = {
  count: PUBLISHES_PER_SECOND,
  bytes: BYTES_PER_SECOND,
  windowMs: AWS_WINDOW_MS,
};

/**
 * Says when the next message may go, so that no stretch of time of the window's length holds more than the limits.
 *
 * It remembers the last messages one by one: a token bucket of the same size would let twice the limit pass, a full bucket
 * and what flows in while it empties.
 */
export class RateWindow {
  readonly #limits: RateLimits;
  /** A ring of when the remembered messages went, and of their bytes. More than `count` never matter. */
  readonly #times: Float64Array;
  readonly #sizes: Float64Array;
  #oldest = 0;
  #live = 0;
  #bytes = 0;

  /** @throws {RangeError} When a limit cannot be kept: `count` below 1. */
  constructor(limits: RateLimits) {
    if (!(Number.isInteger(limits.count) && limits.count >= 1)) {
      throw new RangeError(
        `Cannot limit a rate: count must be a whole number from 1, got ${limits.count}`,
      );
    }
    this.#limits = limits;
    this.#times = new Float64Array(limits.count);
    this.#sizes = new Float64Array(limits.count);
  }

  /**
   * After how many ms a message of `bytes` may go: 0 is now, and without a further {@linkcode take} the answer holds.
   *
   * @param now Monotonic ms, not before that of any earlier call.
   */
  delay(now: number, bytes: number): number {
    this.#forget(now);
    let count = this.#live;
    let sum = this.#bytes;
    let wait = 0;
    for (let i = this.#oldest; count > 0; i = this.#after(i)) {
      if (count < this.#limits.count && sum + bytes <= this.#limits.bytes) break;
      wait = this.#times[i]! + this.#limits.windowMs - now;
      sum -= this.#sizes[i]!;
      count--;
    }
    // Timers cut fractions off and would fire too early.
    return Math.ceil(wait);
  }

  /**
   * Counts a message that goes, or one that came and could not be asked to wait.
   *
   * @param now Monotonic ms, not before that of any earlier call.
   */
  take(now: number, bytes: number): void {
    this.#forget(now);
    if (this.#live === this.#limits.count) this.#drop();
    const at = (this.#oldest + this.#live) % this.#limits.count;
    this.#times[at] = now;
    this.#sizes[at] = bytes;
    this.#live++;
    this.#bytes += bytes;
  }

  /**
   * What was taken at `since` or later counts as if it had been taken at `at`, if that is later: the other side may have seen it
   * only then.
   *
   * @param at Monotonic ms, not after the present.
   */
  defer(since: number, at: number): void {
    let i = this.#newest();
    for (let left = this.#live; left > 0 && this.#times[i]! >= since; left--) {
      this.#times[i] = Math.max(this.#times[i]!, at);
      i = this.#before(i);
    }
  }

  /** How many messages the window holds; 0 to `count`. */
  held(now: number): number {
    this.#forget(now);
    return this.#live;
  }

  #forget(now: number): void {
    while (this.#live > 0 && this.#times[this.#oldest]! + this.#limits.windowMs <= now) {
      this.#drop();
    }
  }

  #drop(): void {
    this.#bytes -= this.#sizes[this.#oldest]!;
    this.#oldest = this.#after(this.#oldest);
    this.#live--;
  }

  #newest(): number {
    return (this.#oldest + this.#live + this.#limits.count - 1) % this.#limits.count;
  }

  #before(i: number): number {
    return i === 0 ? this.#limits.count - 1 : i - 1;
  }

  #after(i: number): number {
    return i + 1 === this.#limits.count ? 0 : i + 1;
  }
}
