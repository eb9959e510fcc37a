import type { Clock } from "../base/clock.ts";
import type { FaultHook } from "../base/fault.ts";
import type { Log } from "../base/log.ts";
import type { RateLimits } from "../aws/rate_window.ts";
import type { LinkEnd, OutgoingPublish, PublishResult } from "../mqtt/link.ts";
import { isExpired, sizeOf } from "../spool/policy.ts";
import type { Spool } from "../spool/spool.ts";
import type { SpoolRecord } from "../spool/storage.ts";
import { ACK_OVERDUE_MS, type PubackWaiters, PubackWatchdog } from "./puback.ts";
import type { Qos0Queue, WaitingMessage } from "./qos0_queue.ts";
import { SendThrottle } from "./send_throttle.ts";
import { STRIKES, Suspects } from "./suspects.ts";

/** Bytes that are read from the spool ahead of sending, at most. */
export const READ_AHEAD_BYTES = 1_048_576;

/** The longest message expiry of MQTT 5, in seconds [MQTT5-3.3.2.3.3]. */
export const MAX_EXPIRY_S = 0xffff_ffff;

/** How long sending pauses when the broker says that its quota is exceeded (0x97), in ms. */
const QUOTA_PAUSE_MS = 1_000;

/** PUBACK reason code "quota exceeded" [MQTT5-3.4.2.1]: the one refusal that time mends. */
const QUOTA_EXCEEDED = 0x97;

/** What a publisher needs of a connection that is up. */
export interface PublishLink {
  /** Bytes that the socket has not taken yet. */
  readonly buffered: number;
  /** `false`: it is no longer up, `done` is not called, and `down` follows. */
  publish(message: OutgoingPublish, done: (result: PublishResult | undefined) => void): boolean;
  /** Makes a new link; `down` and `up` follow. */
  reconnect(reason: string): void;
}

/** What `status` shows of sending, since the start. */
export interface SendCounters {
  readonly sent: number;
  readonly acknowledged: number;
  /** Answered by the broker with a reason code of 0x80 or above, and given up. */
  readonly refusedByBroker: number;
  /** QoS 0 messages given up because their time was over while they waited for the rate; the spool counts its own. */
  readonly expired: number;
  /** How long messages waited for the rate limit, in ms. */
  readonly throttledMs: number;
}

/** What {@linkcode Publisher} is made with. */
export interface PublisherOptions {
  readonly spool: Spool;
  readonly queue: Qos0Queue;
  readonly waiters: PubackWaiters;
  readonly clock: Clock;
  readonly log: Log;
  /** What the connection may carry, both directions together; `undefined`: no limit. */
  readonly limits: RateLimits | undefined;
  /** QoS 1 messages sent and not acknowledged, at most. */
  readonly maxInFlight: number;
  /** For tests that end the process there. */
  readonly fault?: FaultHook | undefined;
}

interface InFlight {
  readonly record: SpoolRecord;
  /** Milliseconds of the clock. */
  readonly sentAt: number;
  /** Acknowledged, and the removal from the spool is under way. */
  settled: boolean;
}

/** What is sent: everything that waits, or, when the daemon stops, only what is in flight and perhaps the rest of the spool. */
type Mode = { readonly type: "sending" } | {
  readonly type: "draining";
  readonly everything: boolean;
  readonly finish: () => void;
};

/** Pulls messages from the spool and the QoS 0 queue and sends them over connection 0, within the limits of AWS IoT Core. */
export class Publisher {
  readonly #options: PublisherOptions;
  readonly #counters = { sent: 0, acknowledged: 0, refusedByBroker: 0, expired: 0 };
  readonly #throttle: SendThrottle;
  readonly #suspects = new Suspects();
  readonly #watchdog: PubackWatchdog;
  /** Sent and not acknowledged, or acknowledged and not yet removed from the spool. */
  readonly #inFlight = new Map<number, InFlight>();
  /** Taken from the spool and not yet sent, in order. */
  #next: SpoolRecord[] = [];
  #mode: Mode = { type: "sending" };
  #link: PublishLink | undefined;
  #maxInFlight: number;
  #receiveMaximum = 0;
  /** The highest `seq` that was ever sent by this process: up to it, messages are duplicates. */
  #highestSent = 0;
  /** Answered with 0x97: sent again as if for the first time [MQTT5-4.4.0-2]. */
  readonly #turnedAway = new Set<number>();
  #spoolsTurn = true;
  #pumping = false;

  constructor(options: PublisherOptions) {
    this.#options = options;
    this.#maxInFlight = options.maxInFlight;
    this.#watchdog = new PubackWatchdog(
      options.clock,
      () => this.#oldestUnacknowledged()?.sentAt,
      () => this.#onOverdue(),
    );
    this.#throttle = new SendThrottle(options.clock, options.limits, () => this.#pump());
    options.spool.onAvailable = () => this.#pump();
    options.queue.onAvailable = () => this.#pump();
  }

  /** The figures of this moment. */
  get counters(): SendCounters {
    return { ...this.#counters, throttledMs: this.#throttle.throttledMs };
  }

  /** Messages sent and not acknowledged. */
  get inFlight(): number {
    return this.#inFlight.size;
  }

  /** Whether there is a connection to send over. */
  get online(): boolean {
    return this.#link !== undefined;
  }

  /** Uses a changed window. */
  update({ maxInFlight }: Pick<PublisherOptions, "maxInFlight">): void {
    this.#maxInFlight = maxInFlight;
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
   */
  up(link: PublishLink, receiveMaximum: number): void {
    this.#link = link;
    this.#receiveMaximum = receiveMaximum;
    this.#pump();
  }

  /** The connection is gone. */
  down(end: LinkEnd): void {
    if (this.#link === undefined) return;
    this.#link = undefined;
    this.#throttle.cancel();
    this.#watchdog.cancel();
    const unacknowledged = [...this.#inFlight.values()].filter(({ settled }) => !settled)
      .map(({ record }) => record.seq);
    this.#inFlight.clear();
    this.#next = [];
    if (end.by === "peer") this.#judge(unacknowledged, end.reason);
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
    this.#watchdog.cancel();
    this.#options.waiters.stop();
  }

  #finishWhenDrained(): void {
    if (this.#mode.type !== "draining") return;
    const { messages, quarantined } = this.#options.spool.stats();
    const left = this.#mode.everything ? messages - quarantined.length : this.#inFlight.size;
    if (this.#link === undefined || left + this.#options.queue.length === 0) this.#mode.finish();
  }

  #judge(unacknowledged: readonly number[], reason: string): void {
    const guilty = this.#suspects.closed(unacknowledged);
    if (guilty === undefined) return;
    this.#options.log.error(
      "a message is put in quarantine: the broker closed the connection for it",
      {
        times: STRIKES,
        seq: guilty,
        reason,
      },
    );
    const why = `closed the connection ${STRIKES} times as the only message in flight: ${reason}`;
    this.#options.spool.quarantine(guilty, why);
    this.#options.waiters.refused(guilty, `put in quarantine: it ${why}`);
  }

  /** Sends as much as the window, the rate and the socket allow, the two queues in turn. */
  #pump(): void {
    // The spool answers from within `take` and `settled`, and would come back here.
    if (this.#pumping) return;
    this.#pumping = true;
    try {
      while (this.#link !== undefined && !this.#throttle.waits) {
        const record = this.#nextRecord();
        const message = this.#heldBack() ? undefined : this.#nextQos0();
        if ((record ?? message) === undefined || this.#throttle.isBackedUp(this.#link.buffered)) {
          break;
        }
        if (record !== undefined && (this.#spoolsTurn || message === undefined)) {
          if (!this.#throttle.allows(record.size)) break;
          this.#spoolsTurn = false;
          this.#next.shift();
          this.#sendRecord(this.#link, record);
        } else if (message !== undefined) {
          if (!this.#throttle.allows(message.size)) break;
          this.#spoolsTurn = true;
          this.#options.queue.shift();
          this.#sendQos0(this.#link, message);
        } else break;
      }
    } finally {
      this.#pumping = false;
    }
    this.#finishWhenDrained();
  }

  /** Whether a suspect is under way, which has to be alone for its judgement. */
  #heldBack(): boolean {
    const { value: first } = this.#inFlight.keys().next();
    return first !== undefined && this.#suspects.mustGoAlone(first);
  }

  #nextQos0(): WaitingMessage | undefined {
    for (
      let message;
      (message = this.#options.queue.peek()) !== undefined;
      this.#options.queue.shift()
    ) {
      if (!this.#gaveUp(message.expiresAt)) return message;
    }
    return undefined;
  }

  /** The next message of the spool, if one may be in flight beside what is. */
  #nextRecord(): SpoolRecord | undefined {
    const free = Math.min(this.#maxInFlight, this.#receiveMaximum) - this.#inFlight.size;
    if (free <= 0 || (this.#mode.type === "draining" && !this.#mode.everything)) return undefined;
    const record = this.#nextTaken(free);
    if (record === undefined) return undefined;
    if (this.#inFlight.size > 0 && (this.#suspects.mustGoAlone(record.seq) || this.#heldBack())) {
      return undefined;
    }
    return record;
  }

  /** The next message of the spool whose time is not over; more of them are taken when there is none. */
  #nextTaken(free: number): SpoolRecord | undefined {
    while (true) {
      if (this.#next.length === 0) this.#next = this.#options.spool.take(free, READ_AHEAD_BYTES);
      const [record] = this.#next;
      if (record === undefined || !this.#options.spool.dropExpired(record)) return record;
      this.#next.shift();
      this.#suspects.cleared(record.seq);
    }
  }

  #sendQos0(link: PublishLink, { topic, payload, expiresAt }: WaitingMessage): void {
    this.#counters.sent++;
    link.publish({ topic, payload, qos: 0, ...this.#expiry(expiresAt) }, this.#onWritten);
  }

  /** One for all messages of QoS 0. */
  readonly #onWritten = (): void => this.#throttle.taken(this.#link?.buffered ?? 0);

  /** Seconds that are left of a message's time, as a property of its PUBLISH. */
  #expiry(expiresAt: number | undefined): { messageExpiry?: number } {
    if (expiresAt === undefined) return {};
    const leftMs = expiresAt - this.#options.clock.wallNow();
    // A clock that was set back makes it longer than it was, which may be more than MQTT can say.
    const seconds = Math.min(MAX_EXPIRY_S, Math.max(1, Math.ceil(leftMs / 1_000)));
    return { messageExpiry: seconds };
  }

  #sendRecord(link: PublishLink, record: SpoolRecord): void {
    const { seq, topic, payload, qos, expiresAt } = record;
    const dup = qos === 1 && seq <= this.#highestSent && !this.#turnedAway.delete(seq);
    this.#highestSent = Math.max(this.#highestSent, seq);
    const message: OutgoingPublish = {
      topic,
      payload,
      qos,
      dup,
      ...this.#expiry(expiresAt),
    };
    const entry: InFlight = { record, sentAt: this.#options.clock.now(), settled: false };
    this.#inFlight.set(seq, entry);
    this.#watchdog.sent();
    this.#counters.sent++;
    this.#options.fault?.("before send");
    link.publish(message, (result) => {
      if (result !== undefined && this.#link === link) this.#answered(entry, result);
    });
    this.#options.fault?.("after send");
  }

  #answered(entry: InFlight, result: PublishResult): void {
    const { record, sentAt } = entry;
    if (record.qos === 1) this.#throttle.acknowledged(sentAt);
    if (result.code === QUOTA_EXCEEDED) return this.#again(record, result.reason);
    this.#options.fault?.("before PUBACK");
    const { seq } = record;
    entry.settled = true;
    this.#suspects.cleared(seq);
    if (result.code >= 0x80) this.#refused(record, result);
    else if (record.qos === 1) this.#counters.acknowledged++;
    // The place in flight is free when the removal is on disk: after a crash no more than the window is sent twice.
    this.#options.spool.settled(seq, () => {
      if (this.#inFlight.get(seq) !== entry) return;
      this.#inFlight.delete(seq);
      this.#pump();
    });
    if (result.code < 0x80) this.#options.waiters.acknowledged(seq);
    else {this.#options.waiters.refused(
        seq,
        result.reason || `reason code 0x${result.code.toString(16)}`,
      );}
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

  #oldestUnacknowledged(): InFlight | undefined {
    for (const entry of this.#inFlight.values()) if (!entry.settled) return entry;
    return undefined;
  }

  /** A message has no PUBACK, though it was written long ago. */
  #onOverdue(): void {
    if (this.#link === undefined || this.#link.buffered > 0) return;
    const seconds = ACK_OVERDUE_MS / 1_000;
    this.#options.log.warn(
      "a message was not acknowledged in time; AWS IoT Core discards what is over its limits without an answer; " +
        "it is sent again over a new link",
      { seq: this.#oldestUnacknowledged()?.record.seq, seconds },
    );
    this.#link.reconnect(`no PUBACK within ${seconds} s`);
  }

  /** Sends a message a second time, after a pause; what was sent behind it may overtake it. */
  #again(record: SpoolRecord, reason: string): void {
    this.#inFlight.delete(record.seq);
    this.#turnedAway.add(record.seq);
    const behind = this.#next.findIndex(({ seq }) => seq > record.seq);
    this.#next.splice(behind < 0 ? this.#next.length : behind, 0, record);
    if (!this.#throttle.pause(QUOTA_PAUSE_MS)) return;
    this.#options.log.warn("the broker says that its quota is exceeded; sending pauses", {
      reason,
    });
  }

  /** A QoS 0 message whose time was over before its turn came is not sent. */
  #gaveUp(expiresAt: number | undefined): boolean {
    if (expiresAt === undefined) return false;
    if (!isExpired(expiresAt, this.#options.clock.wallNow())) return false;
    this.#counters.expired++;
    this.#options.log.warn("a QoS 0 message expired while it waited for its turn and is not sent");
    return true;
  }
}
