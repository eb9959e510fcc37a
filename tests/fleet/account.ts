/** What an account may do in a second, all of its devices together. */
export interface Quota {
  readonly connects: number;
  readonly publishes: number;
}

/** An account of AWS IoT Core: in each second it takes what its quota allows, and no more. */
export class Account {
  readonly #quota: Quota;
  #second = -Infinity;
  #connects = 0;
  #publishes = 0;

  constructor(quota: Quota) {
    this.#quota = quota;
  }

  /** Whether a CONNECT is accepted. */
  connects(now: number): boolean {
    this.#begin(now);
    return ++this.#connects <= this.#quota.connects;
  }

  /** Whether a message is taken. */
  publishes(now: number): boolean {
    this.#begin(now);
    return ++this.#publishes <= this.#quota.publishes;
  }

  #begin(now: number): void {
    const second = Math.floor(now / 1_000);
    if (second === this.#second) return;
    this.#second = second;
    this.#connects = 0;
    this.#publishes = 0;
  }
}
