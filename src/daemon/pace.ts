import type { Clock, Timer } from "../base/clock.ts";
import { type RateLimits, RateWindow } from "../limit/rate_window.ts";

/** The part of the limits that arriving messages may use up at most: a flood must not keep this side from sending. */
const ARRIVING_SHARE = 0.9;

/** When the next message may go: within the rate of the connection, and after the pauses that the broker asks for. */
export class Pace {
  readonly #clock: Clock;
  readonly #goOn: () => void;
  readonly #rate: RateWindow | undefined;
  readonly #arriving: RateWindow | undefined;
  #timer: Timer | undefined;
  #paused = false;
  #throttledSince: number | undefined;
  #throttledMs = 0;

  /**
   * @param limits Of both directions together; `undefined`: none.
   * @param goOn Called when a wait is over.
   */
  constructor(clock: Clock, limits: RateLimits | undefined, goOn: () => void) {
    this.#clock = clock;
    this.#goOn = goOn;
    if (limits === undefined) return;
    this.#rate = new RateWindow(limits);
    this.#arriving = new RateWindow({
      count: Math.max(1, Math.floor(limits.count * ARRIVING_SHARE)),
      bytes: limits.bytes * ARRIVING_SHARE,
      windowMs: limits.windowMs,
    });
  }

  /** Whether nothing may be sent for now; `goOn` follows. */
  get waits(): boolean {
    return this.#timer !== undefined;
  }

  /** How long messages have waited for the rate, in ms. */
  get throttledMs(): number {
    return this.#throttledMs;
  }

  /** Takes a message's share of the rate, or begins to wait for it. */
  allows(bytes: number): boolean {
    if (this.#rate === undefined) return true;
    const now = this.#clock.now();
    const wait = this.#rate.delay(now, bytes);
    if (wait <= 0) {
      this.#rate.take(now, bytes);
      return true;
    }
    this.#throttledSince = now;
    this.#wait(wait);
    return false;
  }

  /** A message arrived, which AWS IoT Core counts as well. */
  arrived(bytes: number): void {
    if (this.#rate === undefined || this.#arriving === undefined) return;
    const now = this.#clock.now();
    if (this.#arriving.delay(now, bytes) > 0) return;
    this.#arriving.take(now, bytes);
    this.#rate.take(now, bytes);
  }

  /** Waits for so many ms from now; whether that is new, and not another request of the same pause. */
  pause(ms: number): boolean {
    const isNew = !this.#paused;
    this.#paused = true;
    this.#wait(ms);
    return isNew;
  }

  /** Ends the wait, without `goOn`. */
  cancel(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    this.#paused = false;
    if (this.#throttledSince === undefined) return;
    this.#throttledMs += this.#clock.now() - this.#throttledSince;
    this.#throttledSince = undefined;
  }

  #wait(ms: number): void {
    this.#timer?.cancel();
    this.#timer = this.#clock.after(ms, () => {
      this.cancel();
      this.#goOn();
    });
  }
}
