import type { Bytes } from "../base/bytes.ts";

/** How long after a message a copy of it may come, in ms. */
export const COPY_MS = 100;

/** After so many messages in a row that came once for each filter, the broker is known to send copies. */
export const CERTAIN_MESSAGES = 8;

/**
 * Tells the copies of a message, which a broker may send one for each filter that matches [MQTT-3.3.5-1], from another message
 * that is the same. Copies come in a row, within {@linkcode COPY_MS}. It errs towards handing a copy out.
 */
export class Copies {
  #topic = "";
  #payload: Bytes | undefined;
  #at = 0;
  #filters = 0;
  /** How many have come, in all and for each filter that was named with them. */
  #count = 0;
  readonly #named = new Map<string, number>();
  /** Messages in a row that came exactly once for each filter. */
  #agreeing = 0;

  /**
   * A message came that says which filters it comes for. Gives what says of a subscription whether it is another message, by all
   * filters of it that match: it gets the n-th when one of them has its n-th copy, whatever came for the others.
   */
  named(
    topic: string,
    payload: Bytes,
    now: number,
    filters: readonly string[],
  ): (own: readonly string[]) => boolean {
    this.#begin(topic, payload, now, 0);
    const earlier = new Map(this.#named);
    for (const filter of filters) this.#named.set(filter, (earlier.get(filter) ?? 0) + 1);
    return (own) => most(this.#named, own) > most(earlier, own);
  }

  /**
   * A message came that says nothing of its filters, of which `filters` match, two or more. Says whether it is another message,
   * or may be one: `false` only once the broker is known to send a copy for each.
   */
  unnamed(topic: string, payload: Bytes, now: number, filters: number): boolean {
    this.#begin(topic, payload, now, filters);
    this.#count++;
    return this.#agreeing < CERTAIN_MESSAGES || this.#count % filters === 1;
  }

  /** Something else came: what comes now is no copy of what was before. */
  end(): void {
    if (this.#payload === undefined) return;
    if (this.#filters > 0) {
      // A multiple may be a message that was published twice, by whichever kind of broker.
      if (this.#count % this.#filters !== 0) this.#agreeing = 0;
      else if (this.#count === this.#filters) this.#agreeing++;
    }
    this.#payload = undefined;
    this.#filters = this.#count = 0;
    this.#named.clear();
  }

  #begin(topic: string, payload: Bytes, now: number, filters: number): void {
    const isSame = this.#payload !== undefined && this.#topic === topic &&
      this.#filters === filters && now - this.#at <= COPY_MS && equal(this.#payload, payload);
    if (isSame) return;
    this.end();
    this.#topic = topic;
    this.#payload = payload;
    this.#at = now;
    this.#filters = filters;
  }
}

function most(counts: ReadonlyMap<string, number>, filters: readonly string[]): number {
  return Math.max(0, ...filters.map((filter) => counts.get(filter) ?? 0));
}

function equal(a: Bytes, b: Bytes): boolean {
  return a.length === b.length && a.every((byte, index) => byte === b[index]);
}
