/** One timer for each of a fixed number of owners: a binary heap that knows where everybody's is, so that it can be set again. */
export class Timers {
  readonly #at: Float64Array;
  readonly #heap: Int32Array;
  readonly #place: Int32Array;
  #length = 0;

  constructor(owners: number) {
    this.#at = new Float64Array(owners);
    this.#heap = new Int32Array(owners);
    this.#place = new Int32Array(owners).fill(-1);
  }

  /** When the earliest timer fires; `Infinity` when none is set. */
  get nextAt(): number {
    return this.#length === 0 ? Infinity : this.#at[this.#heap[0]!]!;
  }

  /** Sets an owner's timer, or takes it back with `Infinity`. */
  set(owner: number, at: number): void {
    const place = this.#place[owner]!;
    const before = this.#at[owner]!;
    this.#at[owner] = at;
    if (place >= 0) {
      if (at === Infinity) this.#remove(place);
      else if (at < before) this.#up(place);
      else this.#down(place);
    } else if (at !== Infinity) {
      this.#put(this.#length, owner);
      this.#up(this.#length++);
    }
  }

  /** Takes the earliest timer, and gives whose it was. */
  take(): number {
    const owner = this.#heap[0]!;
    this.#remove(0);
    return owner;
  }

  #remove(place: number): void {
    this.#place[this.#heap[place]!] = -1;
    const last = this.#heap[--this.#length]!;
    if (place === this.#length) return;
    this.#put(place, last);
    this.#up(place);
    this.#down(this.#place[last]!);
  }

  #put(place: number, owner: number): void {
    this.#heap[place] = owner;
    this.#place[owner] = place;
  }

  #up(place: number): void {
    const owner = this.#heap[place]!;
    const at = this.#at[owner]!;
    while (place > 0) {
      const parent = (place - 1) >> 1;
      const other = this.#heap[parent]!;
      if (this.#at[other]! <= at) break;
      this.#put(place, other);
      place = parent;
    }
    this.#put(place, owner);
  }

  #down(place: number): void {
    const owner = this.#heap[place]!;
    const at = this.#at[owner]!;
    while (true) {
      let child = 2 * place + 1;
      if (child >= this.#length) break;
      const right = child + 1;
      if (right < this.#length && this.#at[this.#heap[right]!]! < this.#at[this.#heap[child]!]!) {
        child = right;
      }
      const other = this.#heap[child]!;
      if (this.#at[other]! >= at) break;
      this.#put(place, other);
      place = child;
    }
    this.#put(place, owner);
  }
}
