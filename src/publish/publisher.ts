/**
 * Messages on their way out: accepted by the intake, sent by the publisher within rate and window.
 *
 * @module
 */

import type { Clock } from "../base/clock.ts";
import type { FaultHook } from "../base/fault.ts";
import type { Log } from "../base/log.ts";
import type { RateLimits } from "../aws/rate_window.ts";
import type { OutgoingPublish, PublishResult } from "../mqtt/link.ts";
import {
  type BrokerLimits,
  type LimitedMessage,
  type PublishRefusal,
  publishRefusal,
} from "../mqtt/broker_limits.ts";
import { consequenceInPuback } from "../mqtt/reason_codes.ts";
import { isExpired, sizeOf } from "../spool/policy.ts";
import type { Spool } from "../spool/spool.ts";
import type { SpoolRecord } from "../spool/storage.ts";
import { CongestionControl, type CongestionView } from "./congestion_control.ts";
import type { PubackWaiters } from "./puback.ts";
import type { Qos0Queue, WaitingMessage } from "./qos0_queue.ts";
import { SendThrottle } from "./send_throttle.ts";
import { GatedQueue } from "./gated_queue.ts";
import type { Culprit } from "./poison_detector.ts";
import { untried } from "./quarantine.ts";
import type { SendGate } from "./send_gate.ts";
import type { Condemned } from "./standings.ts";

/** Bytes that are read from the spool ahead of sending, at most. */
export const READ_AHEAD_BYTES = 1_048_576;

/** The longest message expiry of MQTT 5, in seconds [MQTT5-3.3.2.3.3]. */
export const MAX_EXPIRY_S = 0xffff_ffff;

/** What a publisher needs of a connection that is up. */
export interface PublishLink {
  /** Bytes that the socket has not taken yet. */
  readonly buffered: number;
  /** `false`: it is no longer up, `done` is not called, and `down` follows. */
  publish(message: OutgoingPublish, done: (result: PublishResult | undefined) => void): boolean;
  /** Makes a new link, over which what is in flight goes again; `down` and `up` follow. */
  renew(reason: string): void;
}

/** What `status` shows of sending, since the start. */
export interface SendCounters {
  readonly sent: number;
  readonly acknowledged: number;
  /** Answered by the broker with a reason code of 0x80 or above, and given up. */
  readonly refusedByBroker: number;
  /** QoS 0 messages given up because their time was over while they waited for the rate; the spool counts its own. */
  readonly expired: number;
  /** Given up because the broker closes the connection for their topic: QoS 0, and QoS 1 for which quarantine has no room. */
  readonly dropped: number;
  /** How long messages waited for the rate limit, in ms. */
  readonly throttledMs: number;
}

/** What keeps messages waiting. */
export type ThrottledBy = "account" | "rate limit" | "broker window";

/** What {@linkcode Publisher} is made with. */
export interface PublisherOptions {
  readonly spool: Spool;
  readonly queue: Qos0Queue;
  readonly waiters: PubackWaiters;
  /** Of connection 0. */
  readonly gate: SendGate;
  readonly clock: Clock;
  /** For the deadline of a PUBACK: stands still while reading from the broker is held back. By default `clock`. */
  readonly linkClock?: Clock;
  readonly log: Log;
  /** A number in [0, 1). */
  readonly random: () => number;
  /** What the connection may carry, both directions together; `undefined`: no limit. */
  readonly limits: RateLimits | undefined;
  /** QoS 1 messages sent and not acknowledged, at most. */
  readonly maxInFlight: number;
  /** For tests that end the process there. */
  readonly fault?: FaultHook | undefined;
}

interface InFlight {
  readonly record: SpoolRecord;
  /** When it was sent, in milliseconds of the clock. */
  readonly wroteAt: number;
  /** The same, in milliseconds of the link's clock. */
  readonly sentAt: number;
  /** Its place among what was written on the link; `undefined` for QoS 0. */
  readonly order: number | undefined;
  /** Acknowledged, and the removal from the spool is under way. */
  settled: boolean;
}

/** What is sent: everything that waits, or, when the daemon stops, only what is in flight and perhaps the rest of the spool. */
type Mode = { readonly type: "sending" } | {
  readonly type: "draining";
  readonly everything: boolean;
  readonly finish: () => void;
};

/** What is to be sent next. */
type Next =
  | { readonly isRecord: true; readonly message: SpoolRecord }
  | { readonly isRecord: false; readonly message: WaitingMessage };

/** Pulls messages from the spool and the QoS 0 queue and sends them over connection 0, within the limits of AWS IoT Core. */
export class Publisher {
  readonly #options: PublisherOptions;
  readonly #counters = { sent: 0, acknowledged: 0, refusedByBroker: 0, expired: 0, dropped: 0 };
  readonly #throttle: SendThrottle;
  readonly #records: GatedQueue<SpoolRecord>;
  readonly #messages: GatedQueue<WaitingMessage>;
  readonly #congestion: CongestionControl<InFlight>;
  /** Sent and not acknowledged, or acknowledged and not yet removed from the spool. */
  readonly #inFlight = new Map<number, InFlight>();
  /** Taken from the spool and not yet sent, in order. */
  #next: SpoolRecord[] = [];
  #mode: Mode = { type: "sending" };
  #link: PublishLink | undefined;
  #maxInFlight: number;
  #limits: BrokerLimits = {};
  /** The highest `seq` that was ever sent by this process: up to it, messages are duplicates. */
  #highestSent = 0;
  /** To be sent again as if for the first time, since they were turned away or lost [MQTT5-4.4.0-2]. */
  readonly #afresh = new Set<number>();
  /** Acknowledged late, when they waited to be sent again. */
  readonly #needless = new Set<number>();
  #spoolsTurn = true;
  #pumping = false;

  constructor(options: PublisherOptions) {
    this.#options = options;
    this.#maxInFlight = options.maxInFlight;
    const { clock, linkClock = clock, log, random, limits } = options;
    this.#congestion = new CongestionControl({
      clock: linkClock,
      log,
      random,
      limits,
      unwritten: () => this.#link?.buffered,
      again: (lost) => {
        for (const { record } of lost) this.#again(record);
        this.#pump();
      },
      renew: (reason) => this.#link?.renew(reason),
    });
    this.#throttle = new SendThrottle(clock, limits, this.#congestion.rate, () => this.#pump());
    options.waiters.isInFlight = (seq) => this.#inFlight.has(seq);
    options.spool.onAvailable = () => this.#pump();
    options.queue.onAvailable = () => this.#pump();
    options.gate.onChange = () => this.#pump();
    this.#records = new GatedQueue<SpoolRecord>({
      gate: options.gate,
      peek: () => this.#nextTaken(),
      shift: () => void this.#next.shift(),
      seqOf: ({ seq, qos }) => qos === 1 ? seq : undefined,
      isOver: (record) => this.#isOver(record),
      onRefused: (record, refusal) => this.#onRefused(record, refusal),
    });
    this.#messages = new GatedQueue<WaitingMessage>({
      gate: options.gate,
      peek: () => options.queue.peek(),
      shift: () => options.queue.shift(),
      seqOf: () => undefined,
      isOver: (message) => this.#gaveUp(message) || this.#isTooLarge(message),
      onRefused: (message) => this.#drop(message),
    });
  }

  /** The figures of this moment. */
  get counters(): SendCounters {
    return { ...this.#counters, throttledMs: this.#throttle.throttledMs };
  }

  /** How the broker takes what is sent. */
  get congestion(): CongestionView {
    return this.#congestion.view;
  }

  /** What keeps messages waiting now, if something does. */
  get throttledBy(): ThrottledBy | undefined {
    if (this.#link === undefined) return undefined;
    const { waitsFor } = this.#throttle;
    if (waitsFor !== undefined || this.#free > 0) return waitsFor;
    const { messages, quarantined } = this.#options.spool.stats();
    if (messages - quarantined.length <= this.#inFlight.size) return undefined;
    return this.#congestion.rate.since === undefined ? "broker window" : "account";
  }

  /** Messages sent and not acknowledged. */
  get inFlight(): number {
    return this.#inFlight.size;
  }

  /** Whether there is a connection to send over. */
  get online(): boolean {
    return this.#link !== undefined;
  }

  /** Why the broker would end the connection for a message, if it would; nothing is known of it without a connection. */
  refusal(message: LimitedMessage): PublishRefusal | undefined {
    return this.#link === undefined ? undefined : publishRefusal(this.#limits, message);
  }

  /** Uses a changed window. */
  update({ maxInFlight }: Pick<PublisherOptions, "maxInFlight">): void {
    this.#maxInFlight = maxInFlight;
    this.#congestion.limit(maxInFlight);
    this.#pump();
  }

  /** A message arrived on the connection that this one sends over: it counts for the rate. */
  arrived(topic: string, payloadBytes: number): void {
    this.#throttle.arrived(sizeOf(topic, payloadBytes));
  }

  /**
   * The connection is up and has its subscriptions: sends what waits, what was not acknowledged first.
   *
   * @param receiveMaximum How many QoS 1 messages the broker takes in flight.
   * @param limits What else it allows.
   */
  up(link: PublishLink, receiveMaximum: number, limits: BrokerLimits = {}): void {
    this.#link = link;
    this.#limits = limits;
    this.#congestion.up(this.#maxInFlight, receiveMaximum);
    this.#pump();
  }

  /** The connection is gone, closed for `culprit` if that was found. */
  down(culprit?: Culprit): void {
    if (this.#link === undefined) return;
    this.#link = undefined;
    this.#throttle.cancel();
    this.#congestion.down();
    const closedFor = culprit?.seq === undefined ? undefined : this.#inFlight.get(culprit.seq);
    this.#inFlight.clear();
    this.#afresh.clear();
    this.#needless.clear();
    this.#next = [];
    this.#records.clear();
    if (culprit !== undefined && closedFor !== undefined) {
      this.#quarantine(closedFor.record, culprit.refusal.reason);
    }
    this.#options.waiters.linkLost();
    this.#options.spool.rewind();
    this.#finishWhenDrained();
  }

  /**
   * Resolves when what is in flight was acknowledged, or after `ms`; at once when there is no connection.
   *
   * @param everything Whether the rest of the spool is to be sent too.
   */
  drain(ms: number, everything: boolean): Promise<void> {
    return new Promise((resolve) => {
      const timer = this.#options.clock.after(ms, resolve);
      const finish = (): void => {
        timer.cancel();
        resolve();
      };
      this.#mode = { type: "draining", everything, finish };
      this.#finishWhenDrained();
    });
  }

  /** Answers whoever still waits for a PUBACK, and stops sending. */
  stop(): void {
    this.#link = undefined;
    this.#throttle.cancel();
    this.#congestion.down();
    this.#options.waiters.stop();
  }

  #finishWhenDrained(): void {
    if (this.#mode.type !== "draining") return;
    const { messages, quarantined } = this.#options.spool.stats();
    const left = this.#mode.everything ? messages - quarantined.length : this.#inFlight.size;
    if (this.#link === undefined || left + this.#options.queue.length === 0) this.#mode.finish();
  }

  /** The topic of a message is refused: what was accepted before is not sent. */
  #onRefused(record: SpoolRecord, { reason }: Condemned): void {
    this.#afresh.delete(record.seq);
    if (record.qos === 1) return this.#quarantine(record, untried(reason));
    this.#counters.dropped++;
    this.#options.spool.settled(record.seq);
  }

  #quarantine({ seq }: SpoolRecord, reason: string): void {
    const isKept = this.#options.spool.quarantine(seq, reason);
    const what = isKept
      ? "a message is put in quarantine"
      : "a message is given up: it belongs into quarantine, which is full";
    if (!isKept) this.#counters.dropped++;
    this.#options.log.error(what, { seq, reason });
    this.#options.waiters.refused(seq, reason);
  }

  #drop(message: WaitingMessage): void {
    this.#counters.dropped++;
    this.#options.queue.done(message);
  }

  /** Sends as much as the window, the rate and the socket allow, the two queues in turn. */
  #pump(): void {
    // The spool answers from within `take` and `settled`, and would come back here.
    if (this.#pumping) return;
    this.#pumping = true;
    try {
      while (this.#link !== undefined && !this.#throttle.waits) {
        const next = this.#nextInTurn();
        if (next === undefined || this.#throttle.isBackedUp(this.#link.buffered)) break;
        if (!this.#throttle.allows(next.message.size)) break;
        this.#spoolsTurn = !next.isRecord;
        if (next.isRecord) {
          this.#records.shift();
          this.#sendRecord(this.#link, next.message);
        } else {
          this.#messages.shift();
          this.#sendQos0(this.#link, next.message);
        }
      }
    } finally {
      this.#pumping = false;
    }
    if (this.#link !== undefined) this.#options.gate.flush();
    this.#finishWhenDrained();
  }

  /** What is to be sent next: the two queues take turns, and what is not suspected goes before what is. */
  #nextInTurn(): Next | undefined {
    const isFree = this.#hasFreePlace();
    const first = isFree && this.#spoolsTurn ? this.#records.peek() : undefined;
    if (first !== undefined) return { isRecord: true, message: first };
    const message = this.#messages.peek();
    if (message !== undefined) return { isRecord: false, message };
    const record = isFree ? this.#records.peek() ?? this.#records.peekSuspect() : undefined;
    if (record !== undefined) return { isRecord: true, message: record };
    const suspect = this.#messages.peekSuspect();
    return suspect && { isRecord: false, message: suspect };
  }

  #hasFreePlace(): boolean {
    if (this.#mode.type === "draining" && !this.#mode.everything) return false;
    return this.#free > 0;
  }

  /** How many more messages of the spool may be in flight. */
  get #free(): number {
    return Math.min(this.#congestion.free, this.#maxInFlight - this.#inFlight.size);
  }

  /** The next message of the spool; more of them are taken when there is none. */
  #nextTaken(): SpoolRecord | undefined {
    if (this.#next.length === 0) {
      this.#next = this.#options.spool.take(this.#free, READ_AHEAD_BYTES);
    }
    return this.#next[0];
  }

  /** Whether a message that waits need not be sent any more. */
  #isOver(record: SpoolRecord): boolean {
    const { topic, seq } = record;
    if (this.#needless.delete(seq)) return true;
    if (!this.#options.spool.dropExpired(record)) return this.#isBeyondLimits(record);
    this.#afresh.delete(seq);
    this.#options.gate.forget(topic, seq);
    return true;
  }

  /** Whether the broker does not take a message: then it is kept in quarantine, or while that is full, until the next link. */
  #isBeyondLimits(record: SpoolRecord): boolean {
    const refusal = this.refusal(record);
    if (refusal === undefined) return false;
    this.#options.gate.forget(record.topic, record.seq);
    if (record.qos === 0) {
      this.#counters.dropped++;
      this.#options.spool.settled(record.seq);
    } else if (this.#options.spool.canQuarantine(record.size)) {
      this.#quarantine(record, refusal.reason);
    }
    return true;
  }

  #isTooLarge(message: WaitingMessage): boolean {
    if (this.refusal({ ...message, qos: 0 }) === undefined) return false;
    this.#drop(message);
    return true;
  }

  #sendQos0(link: PublishLink, message: WaitingMessage): void {
    const { topic, payload, expiresAt, size } = message;
    this.#counters.sent++;
    this.#options.queue.done(message);
    this.#options.gate.wroteQos0(topic, size);
    link.publish({ topic, payload, qos: 0, ...this.#expiry(expiresAt) }, this.#onWritten);
  }

  /** One for all messages of QoS 0. */
  readonly #onWritten = (): void => this.#throttle.taken(this.#link?.buffered ?? 0);

  /** Seconds that are left of a message's time, as a property of its PUBLISH. */
  #expiry(expiresAt: number | undefined): { messageExpiry?: number } {
    if (expiresAt === undefined) return {};
    const leftMs = expiresAt - this.#options.spool.now();
    // A clock that was set back makes it longer than it was, which may be more than MQTT can say.
    const seconds = Math.min(MAX_EXPIRY_S, Math.max(1, Math.ceil(leftMs / 1_000)));
    return { messageExpiry: seconds };
  }

  #sendRecord(link: PublishLink, record: SpoolRecord): void {
    const { seq, topic, payload, qos, expiresAt } = record;
    const dup = qos === 1 && seq <= this.#highestSent && !this.#afresh.delete(seq);
    this.#highestSent = Math.max(this.#highestSent, seq);
    const message: OutgoingPublish = {
      topic,
      payload,
      qos,
      dup,
      ...qos === 1 ? { key: seq } : {},
      ...this.#expiry(expiresAt),
    };
    const { gate, clock, linkClock = clock } = this.#options;
    const order = qos === 1 ? gate.wroteQos1(topic, seq, record.size) : undefined;
    if (qos === 0) gate.wroteQos0(topic, record.size);
    const [wroteAt, sentAt] = [clock.now(), linkClock.now()];
    const entry: InFlight = { record, wroteAt, sentAt, order, settled: false };
    this.#inFlight.set(seq, entry);
    if (qos === 1) this.#congestion.sent(entry);
    this.#counters.sent++;
    this.#options.fault?.("before send");
    link.publish(message, (result) => {
      if (result !== undefined && this.#link === link) this.#answered(entry, result);
    });
    this.#options.fault?.("after send");
  }

  #answered(entry: InFlight, result: PublishResult): void {
    const { record, wroteAt, order } = entry;
    if (order !== undefined) this.#options.gate.answered(order);
    if (record.qos === 1) this.#throttle.acknowledged(wroteAt);
    // Quota exceeded: the one refusal that time mends.
    if (consequenceInPuback(result.code) === "retry") return this.#onTurnedAway(entry);
    if (record.qos === 1) {
      this.#congestion.acknowledged(entry);
      this.#throttle.recheck();
    }
    this.#settle(record, result);
  }

  /** A message was taken, or given up. Its PUBACK may belong to an earlier time that it was sent. */
  #settle(record: SpoolRecord, result: PublishResult): void {
    const { seq } = record;
    const entry = this.#inFlight.get(seq);
    if (entry === undefined && !this.#afresh.delete(seq) || entry?.settled) return;
    this.#options.fault?.("before PUBACK");
    if (entry === undefined) this.#needless.add(seq);
    else entry.settled = true;
    if (result.code >= 0x80) this.#refused(record, result);
    else if (record.qos === 1) this.#counters.acknowledged++;
    // The place in flight is free at once: after a crash, what was acknowledged since the last sync is sent again, 100 at most.
    this.#options.spool.settled(seq, () => {
      if (this.#inFlight.get(seq) === entry) this.#inFlight.delete(seq);
      this.#pump();
    });
    const { waiters } = this.#options;
    if (result.code < 0x80) waiters.acknowledged(seq);
    else waiters.refused(seq, result.reason || `reason code 0x${result.code.toString(16)}`);
    this.#options.fault?.("after PUBACK");
  }

  #refused({ seq, topic, payload }: SpoolRecord, { code, reason }: PublishResult): void {
    this.#counters.refusedByBroker++;
    this.#options.log.warn("the broker refused a message, which is given up", {
      seq,
      code: `0x${code.toString(16)}`,
      reason,
      topic_length: topic.length,
      payload_bytes: payload.length,
    });
    this.#options.log.debug("the topic of the refused message", { seq, topic });
  }

  #onTurnedAway(entry: InFlight): void {
    this.#congestion.turnedAway(entry);
    if (this.#inFlight.get(entry.record.seq) === entry) this.#again(entry.record);
    this.#pump();
  }

  /** Puts a message back, to be sent again; what was sent behind it may overtake it. */
  #again(record: SpoolRecord): void {
    this.#inFlight.delete(record.seq);
    this.#afresh.add(record.seq);
    const behind = this.#next.findIndex(({ seq }) => seq > record.seq);
    this.#next.splice(behind < 0 ? this.#next.length : behind, 0, record);
  }

  /** A QoS 0 message whose time was over before its turn came is not sent. */
  #gaveUp(message: WaitingMessage): boolean {
    if (!isExpired(message.expiresAt, this.#options.spool.now())) return false;
    this.#counters.expired++;
    this.#options.queue.done(message);
    this.#options.log.warn("a QoS 0 message expired while it waited for its turn and is not sent");
    return true;
  }
}
