import type { Clock, Timer } from "../../src/base/clock.ts";

interface Pending {
  readonly at: number;
  readonly order: number;
  readonly fn: () => void;
}

/** A clock that moves only when a test says so. */
export class FakeClock implements Clock {
  #now = 0;
  #set = 0;
  #order = 0;
  readonly #pending = new Set<Pending>();

  /** @param wallStart Milliseconds since the epoch at which the clock starts. */
  constructor(readonly wallStart: number = Date.UTC(2026, 0, 1)) {}

  now(): number {
    return this.#now;
  }

  wallNow(): number {
    return this.wallStart + this.#now + this.#set;
  }

  /** Sets the wall clock, and no other. */
  setWall(wallNow: number): void {
    this.#set += wallNow - this.wallNow();
  }

  after(ms: number, fn: () => void): Timer {
    const entry: Pending = { at: this.#now + Math.max(0, ms), order: this.#order++, fn };
    this.#pending.add(entry);
    return { cancel: () => void this.#pending.delete(entry) };
  }

  /** How many timers wait. */
  get timers(): number {
    return this.#pending.size;
  }

  /** Moves time on by `ms`, firing what is due in order. */
  advance(ms: number): void {
    const end = this.#now + ms;
    for (let due = this.#next(end); due !== undefined; due = this.#next(end)) {
      this.#pending.delete(due);
      this.#now = due.at;
      due.fn();
    }
    this.#now = end;
  }

  #next(end: number): Pending | undefined {
    let next: Pending | undefined;
    for (const entry of this.#pending) {
      if (entry.at > end) continue;
      if (
        next === undefined || entry.at < next.at ||
        (entry.at === next.at && entry.order < next.order)
      ) {
        next = entry;
      }
    }
    return next;
  }
}
