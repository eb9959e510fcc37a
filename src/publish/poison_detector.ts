import { CONNECT_SPACING_MS } from "../aws/limits.ts";
import type { LinkEnd } from "../mqtt/link.ts";
import { accusedBy } from "./close_cause.ts";
import { type Condemned, POSTPONE_MS, Standings } from "./standings.ts";
import { type Subject, type Suspicion, Unproven } from "./unproven.ts";

/** How long what is not suspected goes at full speed between two trials, while it has something to send, in ms. */
export const SLICE_MS = 100;

/**
 * How long after a link is up there is no trial, in ms: the next CONNECT may go no sooner (AWS IoT Core quotas), so that a close by then
 * costs the others the time of a connect, and an earlier one would find nothing sooner.
 */
export const HEAD_START_MS = CONNECT_SPACING_MS;

/** How long a trial may take, and how long it is waited for an empty link before it, in ms. */
export const TRIAL_MS = 5_000;

/** How long a trial's turn is kept for its packet, which may have to wait for the rate of the connection, in ms. */
export const TURN_MS = 1_200;

/** Least time between two PINGREQs behind QoS 0, in ms. */
export const FENCE_SPACING_MS = 2_000;

/** Where the link is between trials. */
export type Phase =
  | { readonly type: "down" }
  /**
   * What is not suspected may go. `trialsFrom`: there is no trial before it; `until`: when a suspect that waits gets its turn, if one
   * does.
   */
  | {
    readonly type: "open";
    readonly trialsFrom: number;
    readonly until: number | undefined;
  }
  /** Nothing goes until everything is proven. */
  | { readonly type: "draining"; readonly until: number; readonly fence: Fence }
  /** The link is empty: one suspect may go. */
  | { readonly type: "turn"; readonly until: number }
  /** A suspect is alone in flight. */
  | {
    readonly type: "trial";
    readonly suspicion: Suspicion;
    readonly until: number;
    readonly fence: Fence;
  };

/** A PINGREQ whose PINGRESP proves what was written before it: still to be written, written, answered. */
type Fence = "due" | number | "answered";

/**
 * Whether a packet may be written now. `alone`: as the only filter of its packet, or as the trial that it begins; `wait`: nothing may go
 * now; `held`: others may, but its subject is suspect and waits for its trial.
 */
export type Admission = "send" | "alone" | "wait" | "held" | Condemned;

/** Somebody is refused from now on. */
export interface Culprit extends Suspicion {
  readonly refusal: Condemned;
}

/** What a close was. */
export interface CloseFinding {
  readonly culprit: Culprit | undefined;
  /** Subjects that are suspect since this close. */
  readonly suspected: number;
  /** Whether a suspect was alone in flight: the next attempt to connect needs no backoff, as the cause is being found. */
  readonly trial: boolean;
}

const NO_SUBJECTS: readonly Subject[] = [];

const NOTHING: CloseFinding = { culprit: undefined, suspected: 0, trial: false };

/**
 * Finds the packets for which a broker closes the connection that everybody shares. Pure: it is told what was written, answered and
 * closed, says what may be written, and takes the time (ms of the clock, never going back) as an argument.
 *
 * After a close that may be about a packet, the topics and filters that were in flight are suspect. What is not suspected goes on;
 * suspects go one at a time, each alone in flight with a PINGREQ behind it. An answer clears, {@linkcode SOLE_CLOSES} closes while alone condemn.
 * One detector stands for one connection.
 */
export class PoisonDetector {
  readonly #standings = new Standings();
  readonly #unproven = new Unproven();
  #phase: Phase = { type: "down" };
  #lastFenceAt = -Infinity;
  /** When a subject whose trial was postponed may be tried again, in ms of the clock. */
  #retryAt = Infinity;
  #trials = 0;

  /** Where the link is. A new object whenever others may be written than before. */
  get phase(): Phase {
    return this.#phase;
  }

  /** Whether anything may be written now, because nothing is suspect or refused: most of the time. */
  get isCalm(): boolean {
    return this.#phase.type === "open" && this.#standings.isEmpty;
  }

  /** How many trials began since the start. */
  get trials(): number {
    return this.#trials;
  }

  /** Suspects and condemned topics and filters. */
  standings(now: number): ReturnType<Standings["all"]> {
    return this.#standings.all(now);
  }

  /** The refusal of a topic or filter that is refused now. */
  refusal(subject: Subject, now: number): Condemned | undefined {
    const found = this.#standings.caseOf(subject, now);
    return found?.type === "condemned" ? found : undefined;
  }

  /** A link is up, with nothing written on it. */
  up(now: number): void {
    this.#lastFenceAt = -Infinity;
    this.#phase = openPhase(now, HEAD_START_MS);
  }

  /**
   * Whether a packet about this subject may be written now. Who is told `send` or `alone` writes it in the same turn and says so; who is
   * told `wait` or `held` asks again when {@linkcode phase} has changed. What is not suspected is to be asked for first: without anything in
   * flight, a suspect's turn is now.
   *
   * @param seq The spool's number of a PUBLISH of QoS 1.
   */
  ask(subject: Subject, seq: number | undefined, now: number): Admission {
    const found = this.#standings.caseOf(subject, now);
    if (found?.type === "condemned") return found;
    const phase = this.#phase;
    if (found === undefined) return phase.type === "open" ? "send" : "wait";
    if (found.type === "silent") return phase.type === "open" ? "alone" : "wait";
    if (!isNext(found, seq, now)) return "held";
    if (phase.type === "turn") return "alone";
    if (phase.type !== "open") return "wait";
    if (this.#unproven.size > 0 || phase.trialsFrom > now) {
      this.#demanded(phase, now);
      return "held";
    }
    this.#phase = { type: "turn", until: now + TURN_MS };
    return "alone";
  }

  /** A packet waits for the trial of its subject: there is one soon, whatever else is sent. Whether it is a suspect's at all. */
  demand(subject: Subject, seq: number | undefined, now: number): boolean {
    const found = this.#standings.caseOf(subject, now);
    if (found?.type !== "suspect") return false;
    if (this.#phase.type === "open" && isNext(found, seq, now)) {
      this.#demanded(this.#phase, now);
    }
    return true;
  }

  /** A PUBLISH of QoS 0 was written. */
  wroteQos0(topic: string, bytes: number, now: number): void {
    this.#unproven.wroteQos0(topic, bytes, now);
    if (this.#phase.type === "turn") this.#began({ subject: { kind: "topic", name: topic } }, now);
  }

  /** A PUBLISH of QoS 1 was written; returns what to give {@linkcode answered}. */
  wroteQos1(topic: string, seq: number, bytes: number, now: number): number {
    const subject: Subject = { kind: "topic", name: topic };
    const order = this.#unproven.wrote({ subjects: [subject], seq, bytes, at: now });
    if (this.#phase.type === "turn") this.#began({ subject, seq }, now);
    return order;
  }

  /** A SUBSCRIBE or UNSUBSCRIBE was written; returns what to give {@linkcode answered}. */
  wroteFilters(filters: readonly string[], now: number): number {
    const subjects = filters.map((name): Subject => ({ kind: "filter", name }));
    const bytes = filters.reduce((sum, { length }) => sum + length, 0);
    const order = this.#unproven.wrote({ subjects, bytes, at: now });
    const [only] = subjects;
    if (only !== undefined && this.#phase.type === "turn") this.#began({ subject: only }, now);
    return order;
  }

  /** When a PINGREQ is to be written, in ms of the clock; `undefined`: nothing needs one. */
  fenceAt(now: number): number | undefined {
    const phase = this.#phase;
    if (phase.type === "down") return undefined;
    if (phase.type === "trial" || phase.type === "draining") {
      return phase.fence === "due" ? this.#unproven.allProvableFrom ?? now : undefined;
    }
    const from = this.#unproven.provableFrom;
    if (from === undefined || this.#unproven.hasFenceSince(from)) return undefined;
    // What would answer in its place may have been discarded.
    const waitMs = this.#unproven.hasAnswerableSince(from) ? FENCE_SPACING_MS : 0;
    return Math.max(from + waitMs, this.#lastFenceAt + FENCE_SPACING_MS);
  }

  /** A PINGREQ was written; returns what to give {@linkcode answered} when its PINGRESP came. */
  wroteFence(now: number): number {
    const order = this.#unproven.wrote({ subjects: [], bytes: 0, at: now });
    const phase = this.#phase;
    if (phase.type === "trial" || phase.type === "draining") {
      if (phase.fence === "due") this.#phase = { ...phase, fence: order };
    } else {
      this.#lastFenceAt = now;
    }
    return order;
  }

  /** The broker answered a packet of this link; returns the subjects that are no longer suspect. */
  answered(order: number, now: number): readonly Subject[] {
    const phase = this.#phase;
    let cleared: Subject[] | undefined;
    let passed = false;
    this.#unproven.answered(order, (subject, seq) => {
      if (this.#standings.proven(subject, seq)) (cleared ??= []).push(subject);
      passed ||= phase.type === "trial" && isSame(phase.suspicion.subject, subject);
    });
    if (phase.type === "trial") {
      if (passed) this.#phase = openPhase(now);
      else if (phase.fence === order) this.#phase = { ...phase, fence: "answered" };
    } else if (phase.type === "draining") {
      if (phase.fence === order) this.#phase = { ...phase, fence: "answered" };
      if (this.#unproven.size === 0) this.#phase = { type: "turn", until: now + TURN_MS };
    }
    if (cleared === undefined) return NO_SUBJECTS;
    this.#changed();
    return cleared;
  }

  /** A filter had no answer within the deadline of its SUBSCRIBE; the refusal if it is condemned for that. */
  unanswered(filters: readonly string[], now: number): Culprit[] {
    const culprits: Culprit[] = [];
    for (const name of filters) {
      const subject: Subject = { kind: "filter", name };
      if (!this.#standings.silent(subject, filters.length === 1, now)) continue;
      const reason = "the broker did not answer its SUBSCRIBE twice";
      culprits.push({ subject, refusal: this.#standings.condemn(subject, reason, now) });
    }
    return culprits;
  }

  /** When {@linkcode tick} has something to do, in ms of the clock. */
  get tickAt(): number | undefined {
    if (this.#phase.type === "down") return undefined;
    const at = Math.min(this.#phase.until ?? Infinity, this.#retryAt);
    return at === Infinity ? undefined : at;
  }

  /** Time has passed. */
  tick(now: number): void {
    const phase = this.#phase;
    if (now >= this.#retryAt) {
      this.#retryAt = Infinity;
      this.#changed();
    }
    if (phase.type === "down" || phase.until === undefined || now < phase.until) return;
    this.#unproven.dropStale(now);
    switch (phase.type) {
      case "open":
        this.#phase = this.#unproven.size === 0
          ? { type: "turn", until: now + TURN_MS }
          : { type: "draining", until: now + TRIAL_MS, fence: "due" };
        return;
      case "draining":
        // What the broker still owes was written before the fence, which it has answered: it is not going to close for that.
        this.#phase = phase.fence === "answered"
          ? { type: "turn", until: now + TURN_MS }
          : openPhase(now);
        return;
      case "trial":
        this.#endUndecided(phase, now);
        return;
      case "turn":
        this.#phase = openPhase(now);
    }
  }

  /** The link is over. */
  closed(end: Pick<LinkEnd, "by" | "code" | "reason">, now: number): CloseFinding {
    const phase = this.#phase;
    if (phase.type === "down") return NOTHING;
    this.#phase = { type: "down" };
    this.#unproven.dropStale(now);
    const accused = accusedBy(end);
    const suspicions = this.#unproven.accused(accused);
    if (accused === "none") return NOTHING;
    if (phase.type !== "trial") {
      return { ...NOTHING, suspected: this.#standings.suspect(suspicions, end.code, now) };
    }
    const { suspicion } = phase;
    if (!suspicions.some(({ subject }) => isSame(subject, suspicion.subject))) return NOTHING;
    if (!this.#standings.soleInFlight(suspicion, end.code, now)) return { ...NOTHING, trial: true };
    const reason =
      `the broker closed the connection for it while nothing else was in flight: ${end.reason}`;
    const refusal = this.#standings.condemn(suspicion.subject, reason, now);
    return { culprit: { ...suspicion, refusal }, suspected: 0, trial: true };
  }

  /** A message will not be sent any more. */
  forget(topic: string, seq: number): void {
    this.#standings.forget(topic, seq);
  }

  /** A subject is to go through a trial, whatever it was. */
  suspect(subject: Subject, now: number): void {
    this.#standings.retry(subject, now);
    this.#changed();
  }

  /** Policies or credentials may have changed: what is refused is tried again. */
  retryRefused(now: number): void {
    this.#standings.retryRefused(now);
    this.#changed();
  }

  /** The packet that was written in a trial's turn is on trial. */
  #began(suspicion: Suspicion, now: number): void {
    this.#trials++;
    this.#phase = { type: "trial", suspicion, until: now + TRIAL_MS, fence: "due" };
  }

  /** Others may be written now than before. */
  #changed(): void {
    this.#phase = { ...this.#phase };
  }

  #demanded(phase: Open, now: number): void {
    if (phase.until !== undefined) return;
    const slice = this.#unproven.size === 0 ? 0 : SLICE_MS;
    const until = Math.max(now + slice, phase.trialsFrom);
    this.#phase = { ...phase, until };
  }

  #endUndecided({ suspicion, fence }: Extract<Phase, { type: "trial" }>, now: number): void {
    // The broker went past the packet and did not close: whatever it has against it, the connection stands.
    if (fence === "answered") this.#standings.proven(suspicion.subject, suspicion.seq);
    else {
      this.#standings.postpone(suspicion.subject, now);
      this.#retryAt = now + POSTPONE_MS;
    }
    this.#phase = openPhase(now);
  }
}

type Open = Extract<Phase, { type: "open" }>;

/** @param headStartMs How long there is no trial, in ms. */
function openPhase(now: number, headStartMs = 0): Open {
  return { type: "open", trialsFrom: now + headStartMs, until: undefined };
}

/** Whether it is this packet's turn among those of its subject. */
function isNext(
  suspect: { readonly lastSole?: number; readonly notBefore: number },
  seq: number | undefined,
  now: number,
): boolean {
  return now >= suspect.notBefore && (suspect.lastSole === undefined || suspect.lastSole === seq);
}

function isSame(a: Subject, b: Subject): boolean {
  return a.kind === b.kind && a.name === b.name;
}
