/** A message in the chain of acceptance: each knows the one that was appended before it. */
export interface Link {
  readonly seq: number;
  /** The `seq` of the message appended before; 0 for the first one. */
  readonly prev: number;
}

/**
 * Below which number every message is gone, as far as that is certain: a salvage drops what it finds below it. The tables
 * alone do not prove it, because a damaged one may hide its first messages; the chain of acceptance does.
 */
export class Floor {
  /** Every `seq` below it was removed or put in quarantine. */
  value: number;
  /** Removed messages at or above the floor: seq -> prev. */
  readonly #gone = new Map<number, number>();

  constructor(value: number) {
    this.value = value;
  }

  /** Whether a message was removed that a salvage would find above the floor. */
  isGone(seq: number): boolean {
    return this.#gone.has(seq);
  }

  /**
   * What the floor is once `removed` are gone.
   *
   * @param first The oldest message that is left.
   * @param whenEmpty The floor of a spool without messages; `undefined` when the spool is not empty.
   */
  after(
    removed: ReadonlyMap<number, number>,
    first: Link | undefined,
    whenEmpty: number | undefined,
  ): number {
    if (first === undefined) return whenEmpty ?? this.value;
    let prev = first.prev;
    while (prev >= this.value) {
      const before = removed.get(prev) ?? this.#gone.get(prev);
      if (before === undefined) return this.value;
      prev = before;
    }
    return first.seq;
  }

  /** These are gone, and `value` is what {@linkcode after} said. */
  commit(removed: ReadonlyMap<number, number>, value: number): void {
    const risen = value > this.value;
    this.value = value;
    for (const [seq, prev] of removed) if (seq >= value) this.#gone.set(seq, prev);
    if (risen) { for (const seq of this.#gone.keys()) if (seq < value) this.#gone.delete(seq); }
  }
}
