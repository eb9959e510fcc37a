import { FILTERS_PER_PACKET, type Qos } from "../aws/limits.ts";
import { type Clock, sleep } from "../base/clock.ts";
import { RateWindow } from "../aws/rate_window.ts";
import type { SubscribeResult } from "../mqtt/link.ts";

/** SUBSCRIBE and UNSUBSCRIBE packets per second on one connection, so that a reconnect is no burst. */
export const SUBSCRIBE_PACKETS_PER_SECOND = 20;

/** How long the broker may take to answer SUBSCRIBE or UNSUBSCRIBE, in ms. */
export const ANSWER_MS = 10_000;

/** How long other filters wait for an answer before their packets go out beside it, in ms. */
export const SLOW_MS = 1_000;

/** What {@linkcode FilterSync} needs of a connection that is up. */
export interface FilterLink {
  subscribe(filters: readonly string[], qos: Qos): Promise<readonly SubscribeResult[] | undefined>;
  unsubscribe(filters: readonly string[]): Promise<boolean>;
  /** `done` is called with the PINGRESP. */
  ping(done: () => void): void;
  /** Makes a new link; `down` and `up` follow. */
  reconnect(reason: string): void;
}

/** A filter as {@linkcode FilterGate} asks for it. */
export interface FilterSubject {
  readonly kind: "filter";
  readonly name: string;
}

/** Says what may be subscribed now, and finds the filters that the broker closes the connection for. */
export interface FilterGate {
  /** Told when what may be subscribed has changed. */
  onFilterChange: () => void;
  /** Whether the filter is suspect; then its trial is asked for. */
  demand(filter: FilterSubject): boolean;
  /** `alone`: in a packet of its own; `wait` and `held`: not now. */
  ask(filter: FilterSubject): "send" | "alone" | "wait" | "held" | { readonly reason: string };
  /** A packet was written; returns what to give {@linkcode answered}. */
  wroteFilters(filters: readonly string[]): number;
  answered(order: number): void;
  /** There was no answer in time; returns what is refused for it. */
  unanswered(filters: readonly string[]): { readonly filter: string; readonly reason: string }[];
}

/** Who wants to know what became of the filters. */
export interface FilterSyncHandler {
  /** The broker answered for a filter that is still wanted; a refused one is no longer wanted. */
  onAnswer(filter: string, result: SubscribeResult): void;
  /** Everything wanted has been answered for since the connection came up, but for what waits for its trial. */
  onSynced(): void;
}

/** A link that is up, and what is known of it. */
interface Up {
  readonly link: FilterLink;
  readonly resumed: boolean;
  synced: boolean;
  /** Filters of packets without an answer: a filter's packets keep their order. */
  readonly underWay: Set<string>;
  readonly over: AbortController;
}

/** Runs one packet on a link. */
type Step = (up: Up) => Promise<void>;

/**
 * Keeps what one connection has subscribed at the broker equal to what is wanted: whatever changes, and however the link
 * breaks, it goes on from the difference. One packet is under way at a time, unless the broker is slow to answer it.
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
  /** Had no answer in time, and are sent once more: nobody waits for them. */
  readonly #silent = new Set<string>();
  #up: Up | undefined;
  #running = false;

  constructor(
    readonly clock: Clock,
    readonly gate: FilterGate,
    readonly handler: FilterSyncHandler,
  ) {
    gate.onFilterChange = () => this.#kick();
  }

  /** How many filters are wanted on this connection. */
  get size(): number {
    return this.#wanted.size;
  }

  /** Whether everything wanted is made on a link that is up. */
  get synced(): boolean {
    return this.#up?.synced ?? false;
  }

  /** Whether the broker has granted the filter at this QoS or a higher one, on the link that is up. */
  has(filter: string, qos: Qos): boolean {
    return this.#up !== undefined && (this.#made.get(filter) ?? -1) >= qos;
  }

  /** Whether a link is up, so that an answer can be waited for. */
  get isUp(): boolean {
    return this.#up !== undefined;
  }

  /** Whether the broker sends what is wanted: it was made, or is still there from a resumed session. */
  get delivers(): boolean {
    return this.#up !== undefined && (this.#up.synced || this.#up.resumed);
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
  up(link: FilterLink, resumed: boolean): void {
    if (resumed) this.#made.forEach((_, filter) => this.#stale.add(filter));
    else this.#stale.clear();
    this.#made.clear();
    this.#up = {
      link,
      resumed,
      synced: false,
      underWay: new Set(),
      over: new AbortController(),
    };
    this.#kick();
  }

  /** The connection is down; what was under way is made on the next one. */
  down(): void {
    this.#up?.over.abort();
    this.#up = undefined;
    this.#silent.clear();
  }

  #kick(): void {
    if (this.#running || this.#up === undefined) return;
    this.#running = true;
    // A microtask later, so that the filters of one turn share a packet.
    queueMicrotask(() => void this.#run());
  }

  async #run(): Promise<void> {
    const up = this.#up;
    while (up !== undefined && this.#up === up) {
      if (this.#nextStep(up) === undefined) break;
      await this.#paced(up);
      // Chosen only now: a filter that was wanted again in the pause counts as made, and must not be left.
      const step = this.#up === up ? this.#nextStep(up) : undefined;
      if (step === undefined) continue;
      this.#pace.take(this.clock.now(), 0);
      await step(up);
    }
    this.#running = false;
    // The link may have changed while a packet was under way on the old one.
    if (this.#up !== up) return this.#kick();
    if (up === undefined || up.synced || !this.#isSynced()) return;
    up.synced = true;
    this.handler.onSynced();
  }

  /** Whether everything wanted is made, but for filters that wait for their trial or had no answer. */
  #isSynced(): boolean {
    return [...this.#wanted].every(([name, qos]) =>
      (this.#made.get(name) ?? -1) >= qos || this.#silent.has(name) ||
      this.gate.demand({ kind: "filter", name })
    );
  }

  /** Leaves before it joins, so that the broker never counts more filters than are wanted. */
  #nextStep({ underWay }: Up): Step | undefined {
    const isFree = (filter: string): boolean => !underWay.has(filter);
    const surplus = [...this.#made.keys(), ...this.#stale]
      .filter((filter) => isFree(filter) && !this.#wanted.has(filter));
    const leaving = this.#admitted(surplus);
    if (leaving.length > 0) return (up) => this.#unsubscribe(up, leaving);
    for (const qos of [1, 0] as const) {
      const missing = [...this.#wanted].filter(([filter, wanted]) =>
        wanted === qos && isFree(filter) && (this.#made.get(filter) ?? -1) < qos
      );
      const joining = this.#admitted(missing.map(([filter]) => filter));
      if (joining.length > 0) return (up) => this.#subscribe(up, joining, qos);
    }
    return undefined;
  }

  /** Those that may share the next packet; what is suspect goes when nothing else is left to go. */
  #admitted(names: readonly string[]): readonly string[] {
    const together: string[] = [];
    const suspects: FilterSubject[] = [];
    let alone: string | undefined;
    for (const name of names) {
      const filter = { kind: "filter", name } as const;
      if (this.gate.demand(filter)) {
        suspects.push(filter);
        continue;
      }
      const admission = this.gate.ask(filter);
      if (admission === "send") together.push(name);
      else if (admission === "alone") alone ??= name;
      else if (typeof admission === "object") this.#refuse(name, admission.reason);
      if (together.length === FILTERS_PER_PACKET) return together;
    }
    if (together.length > 0) return together;
    if (alone !== undefined) return [alone];
    return suspects.filter((filter) => this.gate.ask(filter) === "alone").slice(0, 1)
      .map(({ name }) => name);
  }

  #refuse(filter: string, reason: string): void {
    this.#made.delete(filter);
    this.#stale.delete(filter);
    this.#silent.delete(filter);
    if (this.#wanted.delete(filter)) this.handler.onAnswer(filter, { code: 0x80, reason });
  }

  #subscribe(up: Up, filters: readonly string[], qos: Qos): Promise<void> {
    return this.#exchange(up, filters, up.link.subscribe(filters, qos), (results) => {
      for (const [index, filter] of filters.entries()) {
        const result = results[index] ?? { code: 0x80, reason: "no answer for this filter" };
        this.#stale.delete(filter);
        this.#silent.delete(filter);
        if (result.code < 0x80) this.#made.set(filter, qos);
        const wanted = this.#wanted.get(filter);
        if (wanted === undefined) continue;
        if (result.code >= 0x80) this.#wanted.delete(filter);
        // Somebody may have asked for more meanwhile: the answer to that is still to come.
        if (result.code >= 0x80 || wanted <= qos) this.handler.onAnswer(filter, result);
      }
    }, () => {
      for (const filter of filters) this.#silent.add(filter);
      for (const { filter, reason } of this.gate.unanswered(filters)) this.#refuse(filter, reason);
    });
  }

  #unsubscribe(up: Up, filters: readonly string[]): Promise<void> {
    for (const filter of filters) {
      this.#made.delete(filter);
      this.#stale.add(filter);
    }
    const left = (): void => filters.forEach((filter) => this.#stale.delete(filter));
    const answer = up.link.unsubscribe(filters).then((done) => done || undefined);
    // Without an answer the broker may still have them: what arrives for them is nobody's.
    return this.#exchange(up, filters, answer, left, left);
  }

  /** Waits for the answer to a packet that was just written, as long as others have to wait for it too. */
  async #exchange<T>(
    up: Up,
    filters: readonly string[],
    answer: Promise<T | undefined>,
    onAnswer: (answer: T) => void,
    onSilence: () => void,
  ): Promise<void> {
    const order = this.gate.wroteFilters(filters);
    for (const filter of filters) up.underWay.add(filter);
    const free = (): void => filters.forEach((filter) => up.underWay.delete(filter));
    let isAlive = false;
    const deadline = this.clock.after(ANSWER_MS, () => {
      if (this.#up !== up) return;
      if (!isAlive) {
        const s = ANSWER_MS / 1_000;
        return up.link.reconnect(`SUBSCRIBE was not answered within ${s} s, nor PINGREQ`);
      }
      free();
      onSilence();
      this.#kick();
    });
    const answered = new AbortController();
    const done = answer.then((value) => {
      deadline.cancel();
      answered.abort();
      if (this.#up !== up || value === undefined) return;
      free();
      this.gate.answered(order);
      onAnswer(value);
      this.#kick();
    });
    await Promise.race([done, sleep(this.clock, SLOW_MS, answered.signal)]);
    // Tells a broker that does not answer this packet from one that is gone.
    if (!answered.signal.aborted && this.#up === up) up.link.ping(() => isAlive = true);
  }

  /** Resolves when another packet may be sent, or the link is gone. */
  async #paced(up: Up): Promise<void> {
    for (let wait; (wait = this.#pace.delay(this.clock.now(), 0)) > 0;) {
      await sleep(this.clock, wait, up.over.signal);
      if (up.over.signal.aborted) return;
    }
  }
}
