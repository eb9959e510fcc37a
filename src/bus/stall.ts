/** Tells how long a figure has stood still, from looks at it now and then. */
export class Stall {
  #mark = -1;
  #since = 0;

  /** How long, in ms, the figure has been `mark` at each look; `now` is monotonic. */
  for(mark: number, now: number): number {
    if (mark !== this.#mark) {
      this.#mark = mark;
      this.#since = now;
    }
    return now - this.#since;
  }

  /** There is nothing to look at for now. */
  reset(): void {
    this.#mark = -1;
  }
}
