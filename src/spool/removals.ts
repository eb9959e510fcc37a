interface Removal {
  readonly size: number;
  done: (() => void) | undefined;
}

/** Messages that are over, until the storage has committed that. */
export class Removals {
  readonly #waiting = new Map<number, Removal>();
  /** What the waiting ones count for, in bytes. */
  bytes = 0;

  /** How many wait. */
  get size(): number {
    return this.#waiting.size;
  }

  /** Whether a message waits for its removal. */
  has(seq: number): boolean {
    return this.#waiting.has(seq);
  }

  /** Every waiting `seq`. */
  seqs(): number[] {
    return [...this.#waiting.keys()];
  }

  /** Adds a message of `size` bytes; `done` is called once, when it is committed or postponed. */
  add(seq: number, size: number, done?: () => void): void {
    if (this.#waiting.has(seq)) return done?.();
    this.#waiting.set(seq, { size, done });
    this.bytes += size;
  }

  /** These are committed. */
  committed(seqs: readonly number[]): void {
    const dones: (() => void)[] = [];
    for (const seq of seqs) {
      const removal = this.#waiting.get(seq);
      if (removal === undefined) continue;
      this.#waiting.delete(seq);
      this.bytes -= removal.size;
      if (removal.done !== undefined) dones.push(removal.done);
    }
    for (const done of dones) done();
  }

  /** The commit failed: whoever waits goes on, the messages are still to be removed. */
  postponed(): void {
    for (const removal of [...this.#waiting.values()]) {
      const done = removal.done;
      removal.done = undefined;
      done?.();
    }
  }
}
