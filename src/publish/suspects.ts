/** Closes in a row, as the only message in flight, after which a message is put in quarantine. */
export const STRIKES = 3;

/**
 * Finds the message for which a broker closes the connection. Pure: told what was in flight at each close.
 *
 * A message that is in flight at two closes without an acknowledgement between them is suspect, and so is whatever was
 * sent with it: they are then sent one at a time, so that the guilty one is alone when it strikes.
 */
export class Suspects {
  /** In flight at the last close, and not acknowledged since. */
  #atLastClose = new Set<number>();
  /** Messages up to this one go alone. */
  #aloneUpTo = -1;
  #lonely = -1;
  #strikes = 0;

  /** Whether this message has to be the only one in flight. */
  mustGoAlone(seq: number): boolean {
    return seq <= this.#aloneUpTo;
  }

  /** A message was acknowledged, or is gone for another reason. */
  cleared(seq: number): void {
    this.#atLastClose.delete(seq);
    if (seq === this.#lonely) this.#lonely = -1;
  }

  /** The peer closed the connection; returns the message that has done so for the third time, if one has. */
  closed(inFlight: Iterable<number>): number | undefined {
    const now = new Set(inFlight);
    const again = [...now].some((seq) => this.#atLastClose.has(seq));
    if (again) this.#aloneUpTo = Math.max(this.#aloneUpTo, ...now);
    this.#atLastClose = now;
    const [only] = now;
    if (now.size !== 1 || only === undefined) {
      this.#lonely = -1;
      return undefined;
    }
    this.#strikes = only === this.#lonely ? this.#strikes + 1 : 1;
    this.#lonely = only;
    if (this.#strikes < STRIKES) return undefined;
    this.cleared(only);
    return only;
  }
}
