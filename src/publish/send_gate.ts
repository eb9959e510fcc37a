import type { Clock, Timer } from "../base/clock.ts";
import type { Log } from "../base/log.ts";
import type { LinkEnd } from "../mqtt/link.ts";
import { type Admission, type CloseFinding, PoisonDetector } from "./poison_detector.ts";
import type { Condemned, Suspect } from "./standings.ts";
import type { Subject } from "./unproven.ts";

/** What a gate needs of a connection that is up. */
export interface FenceLink {
  /** Sends a PINGREQ; `done` is called with its PINGRESP, and not when the link ends first. */
  ping(done: () => void): void;
}

/** What `status` shows of it, since the start. */
export interface GateCounters {
  readonly trials: number;
  /** Topics and filters that were condemned. */
  readonly condemned: number;
}

/**
 * Says for one connection what may be written now: a {@linkcode PoisonDetector} with a clock. It writes the PINGREQs itself and tells
 * whoever has something to send when to ask again.
 */
export class SendGate {
  /** Told when what may be written has changed; the second one for what is subscribed. */
  onChange: () => void = () => {};
  onFilterChange: () => void = () => {};
  /** Told of a topic or filter that is no longer suspect. */
  onCleared: (subject: Subject) => void = () => {};
  /** Told of a topic or filter that is refused from now on. */
  onCondemned: (subject: Subject, refusal: Condemned) => void = () => {};
  readonly #detector = new PoisonDetector();
  readonly #clock: Clock;
  readonly #log: Log;
  #link: FenceLink | undefined;
  #timer: { readonly at: number; readonly timer: Timer } | undefined;
  #condemned = 0;

  constructor(clock: Clock, log: Log) {
    this.#clock = clock;
    this.#log = log;
  }

  /** The figures of this moment. */
  get counters(): GateCounters {
    return { trials: this.#detector.trials, condemned: this.#condemned };
  }

  /** An object that is another one whenever what may be written has changed. */
  get phase(): unknown {
    return this.#detector.phase;
  }

  /** Whether anything may be written now: {@linkcode ask} would say so for every packet. */
  get isCalm(): boolean {
    return this.#detector.isCalm;
  }

  /** Suspect and condemned topics and filters. */
  standings(): { readonly subject: Subject; readonly standing: Suspect | Condemned }[] {
    return [...this.#detector.standings(this.#clock.now())];
  }

  /** Why a topic or filter is refused now, if it is. */
  refusal(subject: Subject): Condemned | undefined {
    if (this.#detector.isCalm) return undefined;
    return this.#detector.refusal(subject, this.#clock.now());
  }

  /** A link is up, with nothing written on it. */
  up(link: FenceLink): void {
    this.#link = link;
    this.#event(() => this.#detector.up(this.#clock.now()));
  }

  /** The link is over. */
  down(end: LinkEnd): CloseFinding {
    this.stop();
    const finding = this.#detector.closed(end, this.#clock.now());
    const { suspected, culprit } = finding;
    if (suspected > 0) {
      this.#log.warn(
        "the connection was closed for a cause that may be a packet; those in flight go one at a time until the one is found",
        { suspects: suspected, reason: end.reason },
      );
    }
    if (culprit !== undefined) this.#onCondemned(culprit.subject, culprit.refusal);
    return finding;
  }

  /** {@linkcode PoisonDetector.ask}. */
  ask(subject: Subject, seq?: number): Admission {
    return this.#detector.ask(subject, seq, this.#clock.now());
  }

  /** {@linkcode PoisonDetector.demand}. */
  demand(subject: Subject, seq?: number): boolean {
    const isSuspect = this.#detector.demand(subject, seq, this.#clock.now());
    if (isSuspect) this.#arm();
    return isSuspect;
  }

  /** A PUBLISH of QoS 0 was written. */
  wroteQos0(topic: string, bytes: number): void {
    this.#detector.wroteQos0(topic, bytes, this.#clock.now());
  }

  /** A PUBLISH of QoS 1 was written; returns what to give {@linkcode answered}. */
  wroteQos1(topic: string, seq: number, bytes: number): number {
    return this.#detector.wroteQos1(topic, seq, bytes, this.#clock.now());
  }

  /** A SUBSCRIBE or UNSUBSCRIBE was written; returns what to give {@linkcode answered}. */
  wroteFilters(filters: readonly string[]): number {
    const order = this.#detector.wroteFilters(filters, this.#clock.now());
    this.flush();
    return order;
  }

  /** The broker answered a packet of the link that is up. */
  answered(order: number): void {
    if (this.#link === undefined) return;
    this.#event(() => {
      for (const subject of this.#detector.answered(order, this.#clock.now())) {
        this.onCleared(subject);
      }
    });
  }

  /** Filters had no answer within the deadline; returns those that are refused from now on, with the reason. */
  unanswered(filters: readonly string[]): { readonly filter: string; readonly reason: string }[] {
    return this.#detector.unanswered(filters, this.#clock.now()).map(({ subject, refusal }) => {
      this.#onCondemned(subject, refusal);
      return { filter: subject.name, reason: refusal.reason };
    });
  }

  /** Everything that may be written now was written: a PINGREQ goes behind it if it needs one. */
  flush(): void {
    const now = this.#clock.now();
    const fenceAt = this.#detector.fenceAt(now);
    if (fenceAt !== undefined && fenceAt <= now) {
      const order = this.#detector.wroteFence(now);
      this.#link?.ping(() => this.answered(order));
    }
    this.#arm();
  }

  /** A message will not be sent any more. */
  forget(topic: string, seq: number): void {
    this.#detector.forget(topic, seq);
  }

  /** The next message of a topic is to go through a trial, also when the topic is refused. */
  suspect(topic: string): void {
    this.#detector.suspect({ kind: "topic", name: topic }, this.#clock.now());
  }

  /** Policies or credentials may have changed: what is refused is tried again. */
  retryRefused(): void {
    this.#event(() => this.#detector.retryRefused(this.#clock.now()));
  }

  #onCondemned(subject: Subject, refusal: Condemned): void {
    const { kind, name } = subject;
    const { reason, until, since } = refusal;
    this.#condemned++;
    const minutes = Math.round((until - since) / 60_000);
    this.#log.error(`a ${kind} is refused for ${minutes} minutes`, { bytes: name.length, reason });
    this.#log.debug(`the refused ${kind}`, { [kind]: name });
    this.onCondemned(subject, refusal);
  }

  /** Does nothing more. */
  stop(): void {
    this.#link = undefined;
    this.#timer?.timer.cancel();
    this.#timer = undefined;
  }

  /** Tells whoever waits when the phase is another one than before. */
  #event(happens: () => void): void {
    const { phase } = this.#detector;
    happens();
    if (this.#detector.phase === phase) return this.#arm();
    this.onFilterChange();
    this.onChange();
    this.flush();
  }

  #arm(): void {
    const now = this.#clock.now();
    const { tickAt = Infinity } = this.#detector;
    const at = Math.min(tickAt, this.#detector.fenceAt(now) ?? Infinity);
    if (this.#timer?.at === at) return;
    this.#timer?.timer.cancel();
    this.#timer = at === Infinity ? undefined : {
      at,
      timer: this.#clock.after(Math.max(0, at - now), () => this.#onTimer()),
    };
  }

  #onTimer(): void {
    this.#timer = undefined;
    this.#event(() => this.#detector.tick(this.#clock.now()));
    this.flush();
  }
}
