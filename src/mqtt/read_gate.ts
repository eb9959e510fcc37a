import type { Clock } from "../base/clock.ts";

/** Holds back reading from the broker, on all links at once, while somebody is behind with what came. */
export class ReadGate {
  readonly #clock: Clock;
  readonly #waiting = new Set<() => void>();
  #heldSince: number | undefined;
  #heldMs = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Whether nothing is to be read now. */
  get held(): boolean {
    return this.#heldSince !== undefined;
  }

  /** How long reading has been held back in all, in ms: what a broker answers meanwhile is not late. */
  get heldMs(): number {
    const { now } = this.#clock;
    return this.#heldMs + (this.#heldSince === undefined ? 0 : now() - this.#heldSince);
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
}
