import type { RateLimits } from "../aws/rate_window.ts";
import type { Clock, Timer } from "../base/clock.ts";
import type { Log } from "../base/log.ts";
import type { AccountRate } from "./account_rate.ts";
import { type CongestionCounters, CongestionWindow, type Sent } from "./congestion_window.ts";

/** Messages a second that are no less than unlimited, where no limit is configured. */
const UNLIMITED_PER_SECOND = 10_000;

/** How long until missing PUBACKs are looked for again, while messages are still being written to the socket, in ms. */
const UNWRITTEN_MS = 1_000;

/** What a {@linkcode CongestionControl} is made with. */
export interface CongestionOptions<T> {
  readonly clock: Clock;
  readonly log: Log;
  /** A number in [0, 1). */
  readonly random: () => number;
  /** What the connection may carry; `undefined`: no limit. */
  readonly limits: RateLimits | undefined;
  /** Bytes that the socket has not taken yet; `undefined` without a link. */
  readonly unwritten: () => number | undefined;
  /** Sends messages again, under other packet ids; their PUBACKs may still come. Places in the window may be free, too. */
  readonly again: (messages: readonly T[]) => void;
  /** Makes another link. */
  readonly renew: (reason: string) => void;
}

/** How sending is doing. */
export interface CongestionView extends CongestionCounters {
  /** QoS 1 messages that may be unanswered. */
  readonly window: number;
  /** Messages a second while slowed down. */
  readonly perSecond: number | undefined;
}

/** A {@linkcode CongestionWindow} with a clock: looks for missing PUBACKs, and says in the log when sending is slowed down. */
export class CongestionControl<T extends Sent> {
  readonly #options: CongestionOptions<T>;
  readonly #window: CongestionWindow<T>;
  #timer: Timer | undefined;
  /** When it fires, in ms of the clock. */
  #lookAt = Infinity;
  /** Since when the log says that sending is slowed down, in ms of the clock. */
  #saidSince: number | undefined;

  constructor(options: CongestionOptions<T>) {
    const { limits } = options;
    this.#options = options;
    this.#window = new CongestionWindow(
      limits === undefined ? UNLIMITED_PER_SECOND : limits.count * 1_000 / limits.windowMs,
    );
  }

  /** The figures of this moment. */
  get view(): CongestionView {
    const { counters, size, rate } = this.#window;
    return { ...counters, window: size, perSecond: rate.perSecond };
  }

  /** What the account takes, for whoever spaces messages. */
  get rate(): AccountRate {
    return this.#window.rate;
  }

  /** How many more messages of QoS 1 may be sent now, as far as answers are concerned. */
  get free(): number {
    return this.#window.free;
  }

  /** {@linkcode CongestionWindow.linked}. */
  up(most: number, receiveMaximum: number): void {
    this.#window.linked(most, receiveMaximum);
  }

  /** There is no link. */
  down(): void {
    this.#arm(Infinity);
  }

  /** Uses a changed window. */
  limit(most: number): void {
    this.#window.limit(most);
  }

  /** A message of QoS 1 goes. */
  sent(message: T): void {
    const overdueAt = this.#window.sent(message);
    if (overdueAt < this.#lookAt) this.#arm(overdueAt);
  }

  /** The broker has a message, or will never take it. */
  acknowledged(message: T): void {
    this.#window.acknowledged(message, this.#options.clock.now());
    this.#say("");
  }

  /** The broker says that the quota is exceeded (0x97). */
  turnedAway(message: T): void {
    this.#window.turnedAway(message, this.#options.clock.now());
    this.#say("it answers 0x97 (quota exceeded)");
  }

  #arm(at: number): void {
    const { clock } = this.#options;
    this.#timer?.cancel();
    this.#lookAt = at;
    this.#timer = at === Infinity
      ? undefined
      : clock.after(Math.max(0, at - clock.now()), () => this.#look());
  }

  #look(): void {
    const { clock, random, unwritten, again, renew } = this.#options;
    // What was not written yet cannot be answered.
    if ((unwritten() ?? 0) > 0) return this.#arm(clock.now() + UNWRITTEN_MS);
    const due = this.#window.look(clock.now(), random());
    this.#arm(this.#window.dueAt ?? Infinity);
    this.#say("messages have no PUBACK, as those that are over the account's rate");
    again(due.again);
    if (due.renew) renew("the broker acknowledges too little");
  }

  /** One line when slowing begins and one when it ends, however much is lost between them. */
  #say(why: string): void {
    const { clock, log } = this.#options;
    const { since, perSecond } = this.#window.rate;
    if ((since === undefined) === (this.#saidSince === undefined)) return;
    if (this.#saidSince === undefined) {
      log.warn(`sending is slowed down: the broker does not take what is sent; ${why}`, {
        per_second: perSecond?.toFixed(2),
      });
    } else {
      const seconds = Math.round((clock.now() - this.#saidSince) / 1_000);
      log.info("sending is no longer slowed down", { seconds });
    }
    this.#saidSince = since;
  }
}
