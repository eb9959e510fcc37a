import { backoffDelay } from "../base/backoff.ts";

/** The least time until a filter is sent again, in ms. */
const LEAST_MS = 100;

/** When filters are sent again that the broker did not take for a cause that passes, such as a quota. */
export class FilterRetries {
  readonly #random: () => number;
  readonly #waiting = new Map<string, { readonly attempt: number; readonly at: number }>();

  /** @param random A number in [0, 1). */
  constructor(random: () => number) {
    this.#random = random;
  }

  /** Filters that wait, or are sent again and not taken yet. */
  get size(): number {
    return this.#waiting.size;
  }

  /** Whether a filter was not taken the last time that it was sent. */
  has(filter: string): boolean {
    return this.#waiting.has(filter);
  }

  /** A filter was not taken; returns how long it waits, in ms: twice as long each time, with jitter. */
  delay(filter: string, now: number): number {
    const attempt = this.#waiting.get(filter)?.attempt ?? 0;
    // One more than the count: a refusal is no lost packet, which the next second may mend.
    const ms = Math.max(LEAST_MS, backoffDelay(attempt + 1, this.#random()));
    this.#waiting.set(filter, { attempt: attempt + 1, at: now + ms });
    return ms;
  }

  /** Whether a filter may be sent now. */
  isDue(filter: string, now: number): boolean {
    return (this.#waiting.get(filter)?.at ?? now) <= now;
  }

  /** When the next filter may be sent, in ms of the clock; `undefined` when none waits. */
  next(now: number): number | undefined {
    let next: number | undefined;
    for (const { at } of this.#waiting.values()) {
      if (at > now && at < (next ?? Infinity)) next = at;
    }
    return next;
  }

  /** A filter was taken, refused for good, or is not wanted any more. */
  clear(filter: string): void {
    this.#waiting.delete(filter);
  }
}
