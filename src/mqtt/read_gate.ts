import type { Clock, Timer } from "../base/clock.ts";

/** Holds back reading from the broker, on all links at once, while somebody is behind with what came. */
export class ReadGate {
  /** Stands still while reading is held back: what a broker answers meanwhile is not late. */
  readonly clock: Clock;
  readonly #clock: Clock;
  readonly #waiting = new Set<() => void>();
  #heldSince: number | undefined;
  #heldMs = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.clock = {
      now: () => this.#now(),
      wallNow: () => clock.wallNow(),
      after: (ms, fn) => this.#after(ms, fn),
    };
  }

  /** Whether nothing is to be read now. */
  get held(): boolean {
    return this.#heldSince !== undefined;
  }

  /** How long reading has been held back in all, in ms. */
  get heldMs(): number {
    return this.#heldSince === undefined
      ? this.#heldMs
      : this.#heldMs + this.#clock.now() - this.#heldSince;
  }

  /** Holds reading back until {@linkcode release}. */
  hold(): void {
    this.#heldSince ??= this.#clock.now();
  }

  /** Goes on. */
  release(): void {
    if (this.#heldSince === undefined) return;
    this.#heldMs = this.heldMs;
    this.#heldSince = undefined;
    const waiting = [...this.#waiting];
    this.#waiting.clear();
    for (const fn of waiting) fn();
  }

  /** Calls `fn` once at the next release. */
  onRelease(fn: () => void): void {
    this.#waiting.add(fn);
  }

  /** Takes {@linkcode onRelease} back. */
  offRelease(fn: () => void): void {
    this.#waiting.delete(fn);
  }

  #now(): number {
    return this.#clock.now() - this.heldMs;
  }

  /** As long as it takes without the time in which reading is held back. */
  #after(ms: number, fn: () => void): Timer {
    const heldBefore = this.heldMs;
    let waited = ms;
    const look = (): void => {
      const held = this.heldMs - heldBefore - (waited - ms);
      if (held <= 0) return fn();
      waited += held;
      timer = this.#clock.after(held, look);
    };
    let timer = this.#clock.after(ms, look);
    return { cancel: () => timer.cancel() };
  }
}
