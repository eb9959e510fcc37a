import { setImmediate } from "node:timers";
import type { Clock, Timer } from "../base/clock.ts";

/** Longest time that a message waits for others to share its sync, in ms. */
export const MAX_GROUP_MS = 5;

/** Below this a pause is not worth a timer, in ms. */
const MIN_PAUSE_MS = 1;

/** Calls `fn` at the end of the present turn of the event loop. */
export type Turn = (fn: () => void) => void;

/** The turn of the machine. */
export const systemTurn: Turn = (fn) => void setImmediate(fn);

/**
 * Says when a group is committed: at the end of the turn, so that a message alone does not wait; but with a slow disk not
 * before a pause as long as its last sync took (5 ms at most), so that the loop is not blocked more than half of the time.
 */
export class GroupTimer {
  #scheduled = false;
  #timer: Timer | undefined;
  #notBefore = -Infinity;

  constructor(
    private readonly clock: Clock,
    private readonly turn: Turn,
    private readonly commit: () => void,
  ) {}

  /** Sees to it that `commit` is called; at most one call is under way. */
  schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    const pause = this.#notBefore - this.clock.now();
    if (pause < MIN_PAUSE_MS) this.turn(this.#due);
    else this.#timer = this.clock.after(pause, this.#due);
  }

  /** A commit takes place now: what was scheduled is no longer needed. */
  cancel(): void {
    this.#scheduled = false;
    this.#timer?.cancel();
    this.#timer = undefined;
  }

  /** A commit took from `started` (on the clock) until now. */
  took(started: number): void {
    const now = this.clock.now();
    this.#notBefore = now + Math.min(MAX_GROUP_MS, now - started);
  }

  readonly #due = (): void => {
    if (this.#scheduled) this.commit();
  };
}
