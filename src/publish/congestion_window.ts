import { MAX_IN_FLIGHT } from "../aws/limits.ts";
import { backoffDelay, RENEWAL } from "../base/backoff.ts";
import { AccountRate } from "./account_rate.ts";

/** How many messages may be unanswered on a new link. */
export const FIRST_WINDOW = 4;

/** A message without PUBACK counts as lost after this, in ms, or after {@linkcode ROUND_TRIPS} if that is more. */
export const OVERDUE_MS = 5_000;

/** A message without PUBACK is sent again after this, in ms, or after {@linkcode ROUND_TRIPS} if that is more. */
export const RESEND_MS = 60_000;

/** So many round trips are not yet a loss. */
const ROUND_TRIPS = 4;

/** The part of a round trip that is shorter than the longest lately by which that comes down (RFC 6298, 2.3). */
const SMOOTHING = 1 / 8;

/** A PUBLISH of QoS 1, from when it is sent until it is answered or its link ends. */
export interface Sent {
  /** Milliseconds of the clock. */
  readonly sentAt: number;
}

/** What has to be done now. */
export interface Due<T> {
  /** To be sent again, under another packet id: MQTT forbids the same one on the same link [MQTT5-4.4.0-1]. */
  readonly again: readonly T[];
  /** Whether another link is to be made, since too little gets through on this one. */
  readonly renew: boolean;
}

/** What happened since the start. */
export interface CongestionCounters {
  /** Messages answered with 0x97. */
  readonly turnedAway: number;
  /** Messages without PUBACK for longer than is usual. */
  readonly overdue: number;
  /** Messages that were to be sent again for want of a PUBACK. */
  readonly resent: number;
}

/**
 * How many QoS 1 messages may be unanswered on a link, in the spirit of TCP (RFC 5681): 4 at first, one more for each PUBACK that comes
 * in its turn.
 * A message that is turned away or overdue halves that and the {@linkcode AccountRate}; AWS IoT Core discards what is over the
 * account's rate without an answer, so a missing PUBACK says nothing about the link.
 */
export class CongestionWindow<T extends Sent> {
  readonly rate: AccountRate;
  /** By age. Their PUBACK may still come in time. */
  readonly #awaited = new Set<T>();
  /** By age. They count as lost, but not yet as long enough to be sent again. */
  readonly #overdue = new Set<T>();
  /** They are sent again; their packet ids stay taken until the link ends. */
  readonly #resent = new Set<T>();
  readonly #counters = { turnedAway: 0, overdue: 0, resent: 0 };
  #size = FIRST_WINDOW;
  #most = FIRST_WINDOW;
  /** How many may be unanswered in the eyes of the broker [MQTT5-3.3.4-9]. */
  #allowance = MAX_IN_FLIGHT;
  /** The longest round trip lately, in ms. */
  #roundTrip = 0;
  /** PUBACKs towards a window that is one larger, while slowed down. */
  #towards = 0;
  /** When the window was halved last. */
  #halvedAt = -Infinity;
  /** Takes back what was halved since a message was acknowledged in time. */
  #undo: (() => void) | undefined;
  /** When the first message was sent since one was answered. */
  #silentSince: number | undefined;
  #renewAt: number | undefined;
  /** Links renewed in a row: the exponent of the next wait. */
  #renewals = 0;

  /** @param perSecond Messages a second that other limits allow anyway. */
  constructor(perSecond: number) {
    this.rate = new AccountRate(perSecond);
  }

  get counters(): CongestionCounters {
    return this.#counters;
  }

  /** How many messages may be unanswered, without those that count as lost. */
  get size(): number {
    return Math.min(this.#size, this.#most);
  }

  /** How many more may go now, as far as answers are concerned. */
  get free(): number {
    const awaited = this.#awaited.size;
    const ids = awaited + this.#overdue.size + this.#resent.size;
    return Math.max(0, Math.min(this.size - awaited, this.#allowance - ids));
  }

  /**
   * A link stands, with nothing in flight.
   *
   * @param most The largest window that is wanted, from 1.
   * @param receiveMaximum What the broker takes in flight.
   */
  linked(most: number, receiveMaximum: number): void {
    this.#awaited.clear();
    this.#overdue.clear();
    this.#resent.clear();
    // MQTT 3.1.1 has no receive maximum; AWS IoT Core has its limit all the same.
    this.#allowance = Math.min(MAX_IN_FLIGHT, receiveMaximum);
    this.#size = FIRST_WINDOW;
    this.limit(most);
    this.#undo = undefined;
    this.#silentSince = undefined;
    this.#renewAt = undefined;
  }

  /** Uses a changed largest window, from 1. */
  limit(most: number): void {
    this.#most = Math.min(most, this.#allowance);
  }

  /** A message goes, as the {@linkcode AccountRate} was told; returns when it is overdue, in ms of the clock. */
  sent(message: T): number {
    this.#awaited.add(message);
    this.#silentSince ??= message.sentAt;
    return message.sentAt + this.#after(OVERDUE_MS);
  }

  /** A PUBACK says that the broker has a message, or will never take it. One of an earlier link is ignored. */
  acknowledged(message: T, now: number): void {
    const inTime = this.#awaited.has(message);
    if (!this.#answered(message)) return;
    const took = now - message.sentAt;
    this.#roundTrip = Math.max(took, this.#roundTrip + (took - this.#roundTrip) * SMOOTHING);
    // What came late was slow, not lost: without this, a broker that is always slow would be sent less and less.
    if (!inTime) this.#undo?.();
    this.#undo = undefined;
    this.rate.acknowledged(now);
    // A message that was sent before and is not answered may be the first that is lost.
    const [oldest] = this.#awaited;
    if (oldest === undefined || oldest.sentAt >= message.sentAt) this.#grow();
  }

  /** A PUBACK says that the quota is exceeded (0x97): the message is to be sent again, as if for the first time [MQTT5-4.4.0-2]. */
  turnedAway(message: T, now: number): void {
    if (!this.#answered(message)) return;
    this.#counters.turnedAway++;
    this.#halve(message, now);
  }

  /** When {@linkcode look} has something to do, in ms of the clock; `undefined`: not before something is sent. */
  get dueAt(): number | undefined {
    const [awaited] = this.#awaited;
    const [overdue] = this.#overdue;
    const due = Math.min(
      awaited === undefined ? Infinity : awaited.sentAt + this.#after(OVERDUE_MS),
      overdue === undefined ? Infinity : overdue.sentAt + this.#after(RESEND_MS),
      this.#renewAt ?? Infinity,
    );
    return due === Infinity ? undefined : due;
  }

  /**
   * Looks for PUBACKs that are missing.
   *
   * @param random A number in [0, 1).
   */
  look(now: number, random: number): Due<T> {
    for (const message of this.#awaited) {
      if (now < message.sentAt + this.#after(OVERDUE_MS)) break;
      this.#awaited.delete(message);
      this.#overdue.add(message);
      this.#counters.overdue++;
      this.#halve(message, now);
    }
    const again: T[] = [];
    for (const message of this.#overdue) {
      if (now < message.sentAt + this.#after(RESEND_MS)) break;
      this.#overdue.delete(message);
      this.#resent.add(message);
      again.push(message);
    }
    this.#counters.resent += again.length;
    return { again, renew: this.#renews(now, random) };
  }

  /** Whether the message was unanswered on this link. */
  #answered(message: T): boolean {
    const known = this.#awaited.delete(message) || this.#overdue.delete(message) ||
      this.#resent.delete(message);
    if (known) this.#silentSince = undefined;
    return known;
  }

  #after(ms: number): number {
    return Math.max(ms, this.#roundTrip * ROUND_TRIPS);
  }

  #grow(): void {
    const slowed = this.rate.since !== undefined;
    if (!slowed) this.#renewals = 0;
    if (slowed && ++this.#towards < this.size) return;
    this.#towards = 0;
    this.#size = Math.max(this.#size, Math.min(this.#most, this.#size + 1));
  }

  /** At most once for all that was under way together, and once in 5 s. */
  #halve({ sentAt }: Sent, now: number): void {
    if (sentAt <= this.#halvedAt || now < this.#halvedAt + OVERDUE_MS) return;
    this.#halvedAt = now;
    this.#towards = 0;
    const { size } = this;
    this.#size = Math.max(1, size >> 1);
    const undo = this.rate.lost(now);
    this.#undo ??= (): void => {
      undo();
      this.#size = size;
    };
  }

  /** Whether a new link is due: it waits for a random time, since the broker may be overloaded with thousands of others. */
  #renews(now: number, random: number): boolean {
    const silent = this.#silentSince !== undefined &&
      now >= this.#silentSince + this.#after(RESEND_MS);
    if (!silent && this.#resent.size * 2 < this.#allowance) {
      this.#renewAt = undefined;
      return false;
    }
    this.#renewAt ??= now + backoffDelay(this.#renewals, random, RENEWAL);
    if (now < this.#renewAt) return false;
    this.#renewals++;
    this.#renewAt = undefined;
    return true;
  }
}
