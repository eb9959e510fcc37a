import { FILTERS_PER_PACKET, type Qos } from "../aws/limits.ts";
import type { Clock, Timer } from "../base/clock.ts";
import { RateWindow } from "../aws/rate_window.ts";
import type { SubscribeResult } from "../mqtt/link.ts";

/** SUBSCRIBE and UNSUBSCRIBE packets per second on one connection, so that a reconnect is no burst. */
export const SUBSCRIBE_PACKETS_PER_SECOND = 20;

/** What {@linkcode FilterSync} needs of a connection that is up. */
export interface FilterLink {
  subscribe(filters: readonly string[], qos: Qos): Promise<readonly SubscribeResult[] | undefined>;
  unsubscribe(filters: readonly string[]): Promise<readonly SubscribeResult[] | undefined>;
}

/** Who wants to know what became of the filters. */
export interface FilterSyncHandler {
  /** The broker answered for a filter that is still wanted; a refused one is no longer wanted. */
  onAnswer(filter: string, result: SubscribeResult): void;
  /** Everything wanted has been answered for since the connection came up. */
  onSynced(): void;
}

/**
 * Keeps what one connection has subscribed at the broker equal to what is wanted: whatever changes, and however the link
 * breaks, it goes on from the difference. One packet is under way at a time, so a filter's packets keep their order.
 */
export class FilterSync {
  readonly #wanted = new Map<string, Qos>();
  /** What the broker has, as far as it was heard; outlives a link when the broker resumes the session. */
  readonly #made = new Map<string, Qos>();
  /** Filters that the broker may still have, though nothing may rely on it: of a resumed session, or being left. */
  readonly #stale = new Set<string>();
  readonly #pace = new RateWindow({
    count: SUBSCRIBE_PACKETS_PER_SECOND,
    bytes: Number.MAX_SAFE_INTEGER,
    windowMs: 1_000,
  });
  #link: FilterLink | undefined;
  #running = false;
  #synced = false;
  #resumed = false;
  #pause: { readonly timer: Timer; readonly end: () => void } | undefined;

  constructor(readonly clock: Clock, readonly handler: FilterSyncHandler) {}

  /** How many filters are wanted on this connection. */
  get size(): number {
    return this.#wanted.size;
  }

  /** Whether everything wanted is made on a link that is up. */
  get synced(): boolean {
    return this.#synced;
  }

  /** Whether the broker has granted the filter at this QoS or a higher one, on the link that is up. */
  has(filter: string, qos: Qos): boolean {
    return this.#link !== undefined && (this.#made.get(filter) ?? -1) >= qos;
  }

  /** Whether a link is up, so that an answer can be waited for. */
  get isUp(): boolean {
    return this.#link !== undefined;
  }

  /** Whether the broker sends what is wanted: it was made, or is still there from a resumed session. */
  get delivers(): boolean {
    return this.#link !== undefined && (this.#synced || this.#resumed);
  }

  /** Wants a filter, at this QoS or the higher one that it was wanted at. */
  want(filter: string, qos: Qos): void {
    const before = this.#wanted.get(filter);
    if (before !== undefined && before >= qos) return;
    this.#wanted.set(filter, qos);
    this.#kick();
  }

  /** No longer wants a filter. */
  drop(filter: string): void {
    if (this.#wanted.delete(filter)) this.#kick();
  }

  /** The connection is up: makes everything again, and undoes what a resumed session has too much. */
  up(link: FilterLink, sessionPresent: boolean): void {
    if (sessionPresent) { for (const filter of this.#made.keys()) this.#stale.add(filter); }
    else this.#stale.clear();
    this.#made.clear();
    this.#link = link;
    this.#synced = false;
    this.#resumed = sessionPresent;
    this.#kick();
  }

  /** The connection is down; what was under way is made on the next one. */
  down(): void {
    this.#link = undefined;
    this.#synced = false;
    this.#pause?.timer.cancel();
    this.#pause?.end();
  }

  #kick(): void {
    if (this.#running || this.#link === undefined) return;
    this.#running = true;
    // A microtask later, so that the filters of one turn share a packet.
    queueMicrotask(() => void this.#run());
  }

  async #run(): Promise<void> {
    const link = this.#link;
    while (link !== undefined && this.#link === link) {
      if (this.#nextStep() === undefined) break;
      await this.#paced();
      // Chosen only now: a filter that was wanted again in the pause counts as made, and must not be left.
      const step = this.#link === link ? this.#nextStep() : undefined;
      if (step === undefined) continue;
      this.#pace.take(this.clock.now(), 0);
      await step(link);
    }
    this.#running = false;
    // The link may have changed while a packet was under way on the old one.
    if (this.#link !== undefined && this.#link !== link) return this.#kick();
    if (this.#link === undefined || this.#synced) return;
    this.#synced = true;
    this.handler.onSynced();
  }

  /** Leaves before it joins, so that the broker never counts more filters than are wanted. */
  #nextStep(): ((link: FilterLink) => Promise<void>) | undefined {
    const unwanted = (filter: string): boolean => !this.#wanted.has(filter);
    const surplus = take(FILTERS_PER_PACKET, [...this.#made.keys(), ...this.#stale], unwanted);
    if (surplus.length > 0) return (link) => this.#unsubscribe(link, surplus);
    for (const qos of [1, 0] as const) {
      const isMissing = (filter: string): boolean =>
        this.#wanted.get(filter) === qos && (this.#made.get(filter) ?? -1) < qos;
      const missing = take(FILTERS_PER_PACKET, this.#wanted.keys(), isMissing);
      if (missing.length > 0) return (link) => this.#subscribe(link, missing, qos);
    }
    return undefined;
  }

  async #subscribe(link: FilterLink, filters: readonly string[], qos: Qos): Promise<void> {
    const results = await link.subscribe(filters, qos);
    if (results === undefined || this.#link !== link) return;
    for (const [index, filter] of filters.entries()) {
      const result = results[index] ?? { code: 0x80, reason: "no answer for this filter" };
      this.#stale.delete(filter);
      if (result.code < 0x80) this.#made.set(filter, qos);
      const wanted = this.#wanted.get(filter);
      if (wanted === undefined) continue;
      if (result.code >= 0x80) this.#wanted.delete(filter);
      // Somebody may have asked for more meanwhile: the answer to that is still to come.
      if (result.code >= 0x80 || wanted <= qos) this.handler.onAnswer(filter, result);
    }
  }

  async #unsubscribe(link: FilterLink, filters: readonly string[]): Promise<void> {
    for (const filter of filters) {
      this.#made.delete(filter);
      this.#stale.add(filter);
    }
    const results = await link.unsubscribe(filters);
    if (results === undefined || this.#link !== link) return;
    for (const filter of filters) this.#stale.delete(filter);
  }

  /** Resolves when another packet may be sent, or the link is gone. */
  async #paced(): Promise<void> {
    for (let wait; (wait = this.#pace.delay(this.clock.now(), 0)) > 0;) {
      await new Promise<void>((end) => this.#pause = { timer: this.clock.after(wait, end), end });
      this.#pause = undefined;
      if (this.#link === undefined) return;
    }
  }
}

function take<T>(limit: number, items: Iterable<T>, keep: (item: T) => boolean): T[] {
  const taken: T[] = [];
  for (const item of items) {
    if (keep(item)) taken.push(item);
    if (taken.length === limit) break;
  }
  return taken;
}
