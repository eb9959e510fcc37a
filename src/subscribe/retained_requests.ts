/** How often at most what is subscribed is subscribed once more for its retained messages, in ms. */
export const REFRESH_MS = 1_000;

/**
 * Filters that somebody waits for the retained messages of. A SUBSCRIBE brings them, also one for what the broker has already
 * [MQTT-3.8.4-3]; those that are asked for in one second go together.
 */
export class RetainedRequests {
  readonly #awaited = new Set<string>();
  /** Sent, and not answered. */
  readonly #sent = new Set<string>();
  /** Those that the broker has already, and that are to be sent now. */
  readonly #due = new Set<string>();
  #refreshAt = -Infinity;

  /** Somebody waits. */
  add(filter: string): void {
    this.#awaited.add(filter);
  }

  /** Whether a SUBSCRIBE for the filter has to bring its retained messages. */
  has(filter: string): boolean {
    return this.#awaited.has(filter);
  }

  /** A SUBSCRIBE for the filter goes out. */
  sending(filter: string): void {
    if (this.#awaited.delete(filter)) this.#sent.add(filter);
    this.#due.delete(filter);
  }

  /** It was answered; when the broker has not taken it, somebody still waits. */
  answered(filter: string, isTaken: boolean): void {
    if (this.#sent.delete(filter) && !isTaken) this.#awaited.add(filter);
  }

  /** There will be no answer to what was sent. */
  lost(): void {
    for (const filter of this.#sent) this.#awaited.add(filter);
    this.#sent.clear();
    this.#due.clear();
  }

  /** Nobody waits any more. */
  forget(filter: string): void {
    for (const filters of [this.#awaited, this.#sent, this.#due]) filters.delete(filter);
  }

  /** What is to be subscribed once more now, of what `isMade` says that the broker has. */
  due(isMade: (filter: string) => boolean, now: number): readonly string[] {
    const awaited = [...this.#awaited].filter(isMade);
    if (awaited.length > 0 && now >= this.#refreshAt) {
      this.#refreshAt = now + REFRESH_MS;
      for (const filter of awaited) this.#due.add(filter);
    }
    return awaited.filter((filter) => this.#due.has(filter));
  }

  /** When more may be due, in ms of the clock. */
  next(now: number): number | undefined {
    return this.#awaited.size > 0 && this.#refreshAt > now ? this.#refreshAt : undefined;
  }
}
