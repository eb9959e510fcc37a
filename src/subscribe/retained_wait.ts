/** How long after the last of its retained messages a subscription still waits for more, in ms. */
export const RETAINED_WAIT_MS = 30_000;

/** Topics that are remembered for one subscription; of more, a message may come to it again when another one joins. */
export const MAX_RETAINED_TOPICS = 1_024;

/**
 * A subscription that waits for retained messages, from when it joins until some time after the SUBACK of its filters: nothing
 * says which one is the last. However often the broker sends them meanwhile, since others join, each topic comes to it once.
 */
export class RetainedWait {
  readonly #filters: Set<string>;
  readonly #topics = new Set<string>();
  #until = Infinity;

  /** @param filters Those that the broker has to grant. */
  constructor(filters: readonly string[]) {
    this.#filters = new Set(filters);
  }

  /** The broker has granted a filter, on a SUBSCRIBE that brings its retained messages. */
  granted(filter: string, now: number): void {
    if (this.#filters.delete(filter) && this.#filters.size === 0) {
      this.#until = now + RETAINED_WAIT_MS;
    }
  }

  /** Whether nothing more is waited for. */
  isOver(now: number): boolean {
    return now >= this.#until;
  }

  /** A retained message came: whether it is for this subscription. */
  takes(topic: string, now: number): boolean {
    if (this.isOver(now) || this.#topics.has(topic)) return false;
    if (this.#topics.size < MAX_RETAINED_TOPICS) this.#topics.add(topic);
    if (this.#until !== Infinity) this.#until = now + RETAINED_WAIT_MS;
    return true;
  }
}
