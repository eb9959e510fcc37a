/** The largest Subscription Identifier [MQTT5-3.8.2.1.2]. */
const MAX_NUMBER = 268_435_455;

/** The Subscription Identifiers of the filters of one session, which come back with their messages. */
export class FilterNumbers {
  readonly #byFilter = new Map<string, number>();
  readonly #byNumber = new Map<number, string>();
  #last = 0;

  /** The number of a filter: always the same until {@linkcode forget}. */
  of(filter: string): number {
    const known = this.#byFilter.get(filter);
    if (known !== undefined) return known;
    do this.#last = this.#last % MAX_NUMBER + 1; while (this.#byNumber.has(this.#last));
    this.#byFilter.set(filter, this.#last);
    this.#byNumber.set(this.#last, filter);
    return this.#last;
  }

  /** The filter of a number, if there is one. */
  filterOf(number: number): string | undefined {
    return this.#byNumber.get(number);
  }

  /** The broker does not have the filter any more. */
  forget(filter: string): void {
    this.#byNumber.delete(this.#byFilter.get(filter) ?? 0);
    this.#byFilter.delete(filter);
  }
}
