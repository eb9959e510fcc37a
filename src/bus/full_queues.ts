import type { Clock, Timer } from "../base/clock.ts";
import { FULL_QUEUE_MS, LEAST_TAKEN_BYTES, MAX_QUEUED_BYTES } from "./limits.ts";

/** What holds back the messages for all subscribers: `hold` and `release` are called in turn. */
export interface BackPressure {
  hold(): void;
  release(): void;
}

/** A subscriber with a queue. */
export interface QueueOwner {
  /** Bytes that wait. */
  readonly queued: number;
  /** Bytes that its socket has taken so far. */
  readonly taken: number;
  /** It does not read. */
  closeAsSlow(why: string): void;
}

interface Full {
  readonly timer: Timer;
  readonly takenBefore: number;
}

/**
 * The subscribers whose queue is full: while there are any, nothing more is read for anybody. Each has {@linkcode FULL_QUEUE_MS} to
 * get half of its queue off, or at least {@linkcode LEAST_TAKEN_BYTES}, so that nobody waits longer for one that does not read.
 */
export class FullQueues {
  readonly #clock: Clock;
  readonly #pressure: BackPressure;
  readonly #full = new Map<QueueOwner, Full>();

  constructor(clock: Clock, pressure: BackPressure) {
    this.#clock = clock;
    this.#pressure = pressure;
  }

  /** A queue is at its bound. */
  add(owner: QueueOwner): void {
    if (this.#full.has(owner)) return;
    const timer = this.#clock.after(FULL_QUEUE_MS, () => this.#judge(owner));
    this.#full.set(owner, { timer, takenBefore: owner.taken });
    if (this.#full.size === 1) this.#pressure.hold();
  }

  /** Some of a queue was taken. */
  taken(owner: QueueOwner): void {
    if (owner.queued <= MAX_QUEUED_BYTES / 2) this.remove(owner);
  }

  /** A queue is gone, or has room. */
  remove(owner: QueueOwner): void {
    const full = this.#full.get(owner);
    if (full === undefined) return;
    full.timer.cancel();
    this.#full.delete(owner);
    if (this.#full.size === 0) this.#pressure.release();
  }

  #judge(owner: QueueOwner): void {
    const taken = owner.taken - (this.#full.get(owner)?.takenBefore ?? 0);
    // There is room for as much as it took, and at most so much is sent before it has another such time.
    if (taken >= LEAST_TAKEN_BYTES) return this.remove(owner);
    owner.closeAsSlow(
      `with a full queue it took ${taken} bytes in ${FULL_QUEUE_MS} ms, less than ${LEAST_TAKEN_BYTES}`,
    );
  }
}
