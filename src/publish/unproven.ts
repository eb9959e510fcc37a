import type { Accused } from "./close_cause.ts";

/** What a packet is about: the topic of a PUBLISH, or one filter of a SUBSCRIBE or UNSUBSCRIBE. */
export interface Subject {
  readonly kind: "topic" | "filter";
  readonly name: string;
}

/** A packet that the broker answers by its id. */
export interface Answerable {
  readonly subjects: readonly Subject[];
  /** The spool's number of a PUBLISH of QoS 1. */
  readonly seq?: number;
  /** Of topic and payload, or of the filters. */
  readonly bytes: number;
  /** When it was written, in ms of the clock. */
  readonly at: number;
}

/** PUBLISH packets of QoS 0 on one topic, which nothing answers. */
interface Unanswerable {
  readonly subject: Subject;
  /** When in the order of writing, and in ms of the clock, the first and the last one went that are not proven. */
  readonly first: number;
  readonly firstAt: number;
  last: number;
  lastAt: number;
  bytes: number;
}

/** A suspect is its topic or filter, and the message when there is one. */
export interface Suspicion {
  readonly subject: Subject;
  readonly seq?: number;
}

/** Topics of QoS 0 that are told apart at most; of more, the oldest are taken for proven. */
export const MAX_QOS0_TOPICS = 1_024;

/**
 * How much later than a packet of QoS 0 something must have been written whose answer proves it, in ms: a broker may answer what is
 * behind it while it still looks up whether the topic is allowed.
 */
export const PROOF_MS = 50;

/** How long a packet may be without an answer and yet be why the link closes, in ms: AWS IoT Core closes at once. */
export const STALE_MS = 5_000;

/**
 * The packets of one link that were written and are not proven harmless: QoS 1, SUBSCRIBE and UNSUBSCRIBE until their answer, QoS 0
 * until the answer to something written {@linkcode PROOF_MS} behind it.
 */
export class Unproven {
  readonly #answerable = new Map<number, Answerable>();
  /** Written too long ago to be why the link closes now; an answer still proves them. */
  readonly #stale = new Map<number, Answerable>();
  /** By topic, in the order of `first`. */
  readonly #qos0 = new Map<string, Unanswerable>();
  /** PINGREQs without PINGRESP, and when they were written. */
  readonly #fences = new Map<number, number>();
  #order = 0;
  /** When the last packet was written that will be answered, in ms of the clock. */
  #lastAnswerableAt = -Infinity;
  #lastQos0At = -Infinity;

  /** Packets and topics of QoS 0. */
  get size(): number {
    return this.#answerable.size + this.#qos0.size;
  }

  /** From when a PINGREQ would prove the oldest QoS 0, in ms of the clock. */
  get provableFrom(): number | undefined {
    for (const { firstAt } of this.#qos0.values()) return firstAt + PROOF_MS;
    return undefined;
  }

  /** From when a PINGREQ would prove all QoS 0, in ms of the clock. */
  get allProvableFrom(): number | undefined {
    return this.#qos0.size === 0 ? undefined : this.#lastQos0At + PROOF_MS;
  }

  /** Whether something was written since that time that the broker will answer. */
  hasAnswerableSince(at: number): boolean {
    return this.#lastAnswerableAt >= at;
  }

  /** Whether the PINGRESP of a PINGREQ that was written since that time is still to come. */
  hasFenceSince(at: number): boolean {
    for (const writtenAt of this.#fences.values()) if (writtenAt >= at) return true;
    return false;
  }

  /** A packet was written that will be answered; returns what to give {@linkcode answered}. */
  wrote(packet: Answerable): number {
    this.#order++;
    this.#lastAnswerableAt = packet.at;
    // A PINGREQ is about nothing: its answer only proves what is before it.
    if (packet.subjects.length > 0) this.#answerable.set(this.#order, packet);
    else this.#fences.set(this.#order, packet.at);
    return this.#order;
  }

  /** A PUBLISH of QoS 0 was written. */
  wroteQos0(topic: string, bytes: number, at: number): void {
    const order = ++this.#order;
    this.#lastQos0At = at;
    const known = this.#qos0.get(topic);
    if (known !== undefined) {
      known.last = order;
      known.lastAt = at;
      known.bytes = Math.max(known.bytes, bytes);
      return;
    }
    const subject: Subject = { kind: "topic", name: topic };
    const [first, last, firstAt, lastAt] = [order, order, at, at];
    this.#qos0.set(topic, { subject, first, last, firstAt, lastAt, bytes });
    if (this.#qos0.size <= MAX_QOS0_TOPICS) return;
    for (const oldest of this.#qos0.keys()) {
      this.#qos0.delete(oldest);
      return;
    }
  }

  /** The broker answered what was written as `order`; calls `proven` for each subject that this proves. */
  answered(order: number, proven: (subject: Subject, seq: number | undefined) => void): void {
    const packet = this.#answerable.get(order) ?? this.#stale.get(order);
    const writtenAt = packet?.at ?? this.#fences.get(order) ?? -Infinity;
    this.#fences.delete(order);
    if (packet !== undefined) {
      if (!this.#answerable.delete(order)) this.#stale.delete(order);
      for (const subject of packet.subjects) proven(subject, packet.seq);
    }
    for (const [topic, entry] of this.#qos0) {
      if (entry.first > order || entry.firstAt + PROOF_MS > writtenAt) break;
      this.#qos0.delete(topic);
      // What was written since is not proven; it goes behind those that were first written earlier.
      if (entry.last > order || entry.lastAt + PROOF_MS > writtenAt) {
        this.#qos0.set(topic, { ...entry, first: entry.last, firstAt: entry.lastAt });
      }
      proven(entry.subject, undefined);
    }
  }

  /** Sets packets aside that were written {@linkcode STALE_MS} ago or earlier: a close now is not about them. */
  dropStale(now: number): void {
    for (const [order, packet] of this.#answerable) {
      if (packet.at + STALE_MS > now) break;
      this.#answerable.delete(order);
      this.#stale.set(order, packet);
    }
    for (const [topic, { lastAt }] of this.#qos0) {
      if (lastAt + STALE_MS <= now) this.#qos0.delete(topic);
    }
  }

  /** Those that a close accuses; the link is over. */
  accused(by: Accused): Suspicion[] {
    const all = [...this.#suspicions(by)];
    this.#answerable.clear();
    this.#stale.clear();
    this.#fences.clear();
    this.#qos0.clear();
    this.#lastAnswerableAt = -Infinity;
    this.#order = 0;
    const largest = by === "largest" ? Math.max(...all.map(({ bytes }) => bytes)) : 0;
    return all.filter(({ bytes }) => bytes >= largest).map(({ bytes: _, ...suspicion }) =>
      suspicion
    );
  }

  *#suspicions(by: Accused): Generator<Suspicion & { readonly bytes: number }> {
    if (by === "none") return;
    for (const { subjects, seq, bytes } of this.#answerable.values()) {
      for (const subject of subjects) {
        const kindFits = by === "any" || by === "largest" ||
          (subject.kind === "filter") === (by === "filter");
        if (kindFits) yield seq === undefined ? { subject, bytes } : { subject, seq, bytes };
      }
    }
    if (by === "filter" || by === "qos1") return;
    for (const { subject, bytes } of this.#qos0.values()) yield { subject, bytes };
  }
}
