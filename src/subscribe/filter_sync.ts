import { FILTERS_PER_PACKET, type Qos } from "../aws/limits.ts";
import { type Clock, sleep, type Timer } from "../base/clock.ts";
import { RateWindow } from "../aws/rate_window.ts";
import { type BrokerLimits, filterRefusal } from "../mqtt/broker_limits.ts";
import type { MqttLink, SubscribeOptions, SubscribeResult } from "../mqtt/link.ts";
import { consequenceForFilter } from "../mqtt/reason_codes.ts";
import { FilterNumbers } from "./filter_numbers.ts";
import { FilterRetries } from "./filter_retries.ts";
import { RetainedRequests } from "./retained_requests.ts";

/** SUBSCRIBE and UNSUBSCRIBE packets per second on one connection, so that a reconnect is no burst. */
export const SUBSCRIBE_PACKETS_PER_SECOND = 20;

/** How long the broker may take to answer SUBSCRIBE or UNSUBSCRIBE, in ms. */
export const ANSWER_MS = 10_000;

/** How long other filters wait for an answer before their packets go out beside it, in ms. */
export const SLOW_MS = 1_000;

/** What {@linkcode FilterSync} needs of a connection that is up. */
export interface FilterLink extends Pick<MqttLink, "subscribe" | "unsubscribe" | "ping"> {
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
  /** The broker does not take the filter now, for a cause that passes; it is sent again after so many ms. */
  onDelayed(filter: string, result: SubscribeResult, ms: number): void;
  /** The broker refuses to drop a filter, or to send its retained messages: it stays as it is there. */
  onStays(filter: string, result: SubscribeResult): void;
}

/** A link that is up, and what is known of it. */
interface Up {
  readonly link: FilterLink;
  readonly limits: BrokerLimits;
  readonly resumed: boolean;
  synced: boolean;
  /** Filters of packets without an answer: a filter's packets keep their order. */
  readonly underWay: Set<string>;
  readonly over: AbortController;
}

/** Runs one packet on a link. */
type Step = (up: Up) => Promise<void>;

const DONE: SubscribeResult = { code: 0, reason: "" };

/** Filters of one SUBSCRIBE. */
interface Joining {
  readonly filters: readonly string[];
  readonly qos: Qos;
  /** Whether somebody waits for retained messages. */
  readonly retained: boolean;
}

/**
 * Keeps what one connection has subscribed at the broker equal to what is wanted: whatever changes, and however the link
 * breaks, it goes on from the difference. One packet is under way at a time, unless the broker is slow to answer it.
 */
export class FilterSync {
  readonly #wanted = new Map<string, Qos>();
  /** What the broker has, as far as it was heard; outlives a link when the broker resumes the session. */
  readonly #made = new Map<string, Qos>();
  /** Filters that the broker may have, though nothing may rely on it: being joined or left. */
  readonly #stale = new Set<string>();
  readonly #pace = new RateWindow({
    count: SUBSCRIBE_PACKETS_PER_SECOND,
    bytes: Number.MAX_SAFE_INTEGER,
    windowMs: 1_000,
  });
  /** Had no answer in time, and are sent once more: nobody waits for them. */
  readonly #silent = new Set<string>();
  readonly #retained = new RetainedRequests();
  readonly #retries: FilterRetries;
  readonly #numbers = new FilterNumbers();
  #wake: { readonly at: number; readonly timer: Timer } | undefined;
  #up: Up | undefined;
  #running = false;

  /** @param random A number in [0, 1). */
  constructor(
    readonly clock: Clock,
    readonly gate: FilterGate,
    readonly handler: FilterSyncHandler,
    random: () => number = Math.random,
  ) {
    this.#retries = new FilterRetries(random);
    gate.onFilterChange = () => this.#kick();
  }

  /** How many filters are wanted on this connection. */
  get size(): number {
    return this.#wanted.size;
  }

  /** Wanted filters that the broker does not take now. */
  get delayed(): number {
    return this.#retries.size;
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

  /** Wants a filter and its retained messages, at this QoS or the higher one that it was wanted at. */
  want(filter: string, qos: Qos): void {
    this.#wanted.set(filter, Math.max(qos, this.#wanted.get(filter) ?? 0) as Qos);
    this.#retained.add(filter);
    this.#kick();
  }

  /** No longer wants a filter. */
  drop(filter: string): void {
    this.#forget(filter);
    if (this.#wanted.delete(filter)) this.#kick();
  }

  /** The filter with this Subscription Identifier, if there is one. */
  filterOf(identifier: number): string | undefined {
    return this.#numbers.filterOf(identifier);
  }

  /** The connection is up: makes what the session does not have, and undoes what it has too much. */
  up(link: FilterLink, resumed: boolean, limits: BrokerLimits = {}): void {
    if (!resumed) {
      this.#made.clear();
      this.#stale.clear();
    }
    this.#up = {
      link,
      limits,
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
    this.#retained.lost();
    this.#arm(undefined);
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
    if (up !== undefined) this.#arm(this.#nextAt(up));
    if (up === undefined || up.synced || !this.#isSynced()) return;
    up.synced = true;
    this.handler.onSynced();
  }

  /** Whether everything wanted is made, but for filters that wait for their trial or had no answer. */
  #isSynced(): boolean {
    return [...this.#wanted].every(([name, qos]) =>
      (this.#made.get(name) ?? -1) >= qos || this.#silent.has(name) || this.#retries.has(name) ||
      this.gate.demand({ kind: "filter", name })
    );
  }

  /** Leaves before it joins, so that the broker never counts more filters than are wanted. */
  #nextStep(current: Up): Step | undefined {
    const now = this.clock.now();
    const isFree = (filter: string): boolean =>
      !current.underWay.has(filter) && this.#retries.isDue(filter, now);
    const surplus = [...this.#made.keys(), ...this.#stale]
      .filter((filter) => isFree(filter) && !this.#wanted.has(filter));
    const leaving = this.#admitted(surplus);
    if (leaving.length > 0) return (up) => this.#unsubscribe(up, leaving);
    const missing = [...this.#wanted].filter(([filter, qos]) =>
      isFree(filter) && (this.#made.get(filter) ?? -1) < qos
    );
    for (const [filter] of missing) {
      const refusal = filterRefusal(current.limits, filter);
      if (refusal !== undefined) this.#refuse(filter, refusal);
    }
    const again = this.#again(current, now).filter(isFree);
    // An identifier is one of all filters of a packet.
    const most = current.limits.identifiersAvailable === true ? 1 : FILTERS_PER_PACKET;
    const joining = this.#joining(missing.map(([filter]) => filter), most) ??
      this.#joining(again, most);
    return joining && ((up) => this.#subscribe(up, joining));
  }

  /** Those of the filters that may share the next SUBSCRIBE. */
  #joining(filters: readonly string[], most: number): Joining | undefined {
    for (const qos of [1, 0] as const) {
      for (const retained of [true, false]) {
        const alike = filters.filter((filter) =>
          this.#wanted.get(filter) === qos && this.#retained.has(filter) === retained
        );
        const admitted = this.#admitted(alike, most);
        if (admitted.length > 0) return { filters: admitted, qos, retained };
      }
    }
    return undefined;
  }

  /** What the broker has already and is to be subscribed once more, for its retained messages. */
  #again({ limits }: Up, now: number): readonly string[] {
    if (limits.retainAvailable === false) return [];
    const isMade = (filter: string): boolean =>
      (this.#made.get(filter) ?? -1) >= (this.#wanted.get(filter) ?? 2);
    return this.#retained.due(isMade, now);
  }

  /** When there is something to send next, in ms of the clock. */
  #nextAt({ limits }: Up): number | undefined {
    const now = this.clock.now();
    const again = limits.retainAvailable === false ? undefined : this.#retained.next(now);
    const times = [this.#retries.next(now), again].filter((at) => at !== undefined);
    return times.length === 0 ? undefined : Math.min(...times);
  }

  #arm(at: number | undefined): void {
    if (this.#wake?.at === at) return;
    this.#wake?.timer.cancel();
    this.#wake = at === undefined ? undefined : {
      at,
      timer: this.clock.after(Math.max(0, at - this.clock.now()), () => {
        this.#wake = undefined;
        this.#kick();
      }),
    };
  }

  /** Those that may share the next packet; what is suspect goes when nothing else is left to go. */
  #admitted(names: readonly string[], most = FILTERS_PER_PACKET): readonly string[] {
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
      else if (typeof admission === "object") {
        this.#refuse(name, { code: 0x80, reason: admission.reason });
      }
      if (together.length === most) return together;
    }
    if (together.length > 0) return together;
    if (alone !== undefined) return [alone];
    return suspects.filter((filter) => this.gate.ask(filter) === "alone").slice(0, 1)
      .map(({ name }) => name);
  }

  #refuse(filter: string, result: SubscribeResult): void {
    this.#forget(filter);
    this.#made.delete(filter);
    this.#stale.delete(filter);
    this.#silent.delete(filter);
    this.#numbers.forget(filter);
    if (this.#wanted.delete(filter)) this.handler.onAnswer(filter, result);
  }

  /** Nothing is to be sent for a filter any more, whatever the broker has of it. */
  #forget(filter: string): void {
    this.#retained.forget(filter);
    this.#retries.clear(filter);
  }

  #subscribe(up: Up, { filters, qos, retained }: Joining): Promise<void> {
    for (const filter of filters) {
      if (!this.#made.has(filter)) this.#stale.add(filter);
      this.#retained.sending(filter);
    }
    const options = this.#options(up, filters, retained);
    return this.#exchange(up, filters, up.link.subscribe(filters, qos, options), (results) => {
      filters.forEach((filter, index) => {
        const result = results[index] ?? { code: 0x80, reason: "no answer for this filter" };
        this.#onSuback(filter, qos, result);
      });
    }, () => {
      for (const filter of filters) {
        this.#silent.add(filter);
        this.#retained.answered(filter, false);
      }
      for (const { filter, reason } of this.gate.unanswered(filters)) {
        this.#refuse(filter, { code: 0x80, reason });
      }
    });
  }

  #options({ limits }: Up, [filter]: readonly string[], retained: boolean): SubscribeOptions {
    const identifier = limits.identifiersAvailable === true && filter !== undefined
      ? { identifier: this.#numbers.of(filter) }
      : {};
    return { ...identifier, onlyNew: !retained };
  }

  #onSuback(filter: string, qos: Qos, result: SubscribeResult): void {
    const isGranted = result.code < 0x80;
    const isPassing = consequenceForFilter(result.code) === "retry";
    this.#retained.answered(filter, !isPassing);
    this.#silent.delete(filter);
    if (isGranted || !this.#made.has(filter)) this.#stale.delete(filter);
    if (isGranted) this.#made.set(filter, qos);
    const wanted = this.#wanted.get(filter);
    if (wanted === undefined) {
      if (!isGranted) this.#left(filter);
    } else if (isGranted) {
      this.#retries.clear(filter);
      // Somebody may have asked for more meanwhile: the answer to that is still to come.
      if (wanted <= qos) this.handler.onAnswer(filter, result);
    } else if (isPassing) this.#delay(filter, result);
    else if ((this.#made.get(filter) ?? -1) >= wanted) {
      this.handler.onStays(filter, result);
    } else this.#refuse(filter, result);
  }

  #delay(filter: string, result: SubscribeResult): void {
    const ms = this.#retries.delay(filter, this.clock.now());
    this.handler.onDelayed(filter, result, ms);
  }

  #unsubscribe(up: Up, filters: readonly string[]): Promise<void> {
    for (const filter of filters) {
      this.#made.delete(filter);
      this.#stale.add(filter);
    }
    const onUnsuback = (filter: string, result: SubscribeResult): void => {
      if (consequenceForFilter(result.code) === "retry") return this.#delay(filter, result);
      if (result.code >= 0x80) this.handler.onStays(filter, result);
      this.#left(filter);
    };
    return this.#exchange(
      up,
      filters,
      up.link.unsubscribe(filters),
      (results) => filters.forEach((filter, index) => onUnsuback(filter, results[index] ?? DONE)),
      // Without an answer the broker may still have them: what arrives for them is nobody's.
      () => filters.forEach((filter) => this.#left(filter)),
    );
  }

  #left(filter: string): void {
    this.#stale.delete(filter);
    if (this.#wanted.has(filter)) return;
    this.#retries.clear(filter);
    this.#numbers.forget(filter);
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
