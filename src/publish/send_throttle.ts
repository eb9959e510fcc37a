import type { Clock, Timer } from "../base/clock.ts";
import { type RateLimits, RateWindow } from "../aws/rate_window.ts";
import type { AccountRate } from "./account_rate.ts";

/** The part of the limits that arriving messages may use up at most: a flood must not keep this side from sending. */
const ARRIVING_SHARE = 0.9;

/**
 * The part of the limit that goes at once; what is more is spread over the window. A whole window's messages in one burst, held up
 * on the way by a little more than the window's margin, would fall into one second of the broker with those of the next window,
 * and half of them would be discarded.
 */
const AT_ONCE_SHARE = 0.5;

/** Into how many equal parts the window is cut to spread messages over it. */
const PARTS = 20;

/** How long before a message is sent its share of the rate may have been taken, in ms. */
const SAME_TURN_MS = 2;

/** Bytes on their way into the socket at which nothing more is sent: where the rate is not limited, the network limits it. */
export const MAX_UNWRITTEN_BYTES = 1_048_576;

/** How long until it is looked again whether the socket has taken them, in ms; writing them tells sooner. */
const UNWRITTEN_MS = 50;

/** When the next message may go: within the rates of the connection and of the account, and no faster than the socket takes. */
export class SendThrottle {
  readonly #clock: Clock;
  readonly #goOn: () => void;
  readonly #account: Pick<AccountRate, "delay" | "sent">;
  readonly #rate: RateWindow | undefined;
  readonly #arriving: RateWindow | undefined;
  readonly #part: RateWindow | undefined;
  readonly #atOnce: number = 0;
  /** What the window is longer than the second of the limit. */
  readonly #marginMs: number = 0;
  /** When the latest message was sent that has its PUBACK. */
  #ackedUpTo = -Infinity;
  #timer: Timer | undefined;
  /** What is waited for. */
  #reason: "rate limit" | "account" | "socket" | undefined;
  #throttledSince: number | undefined;
  #throttledMs = 0;

  /**
   * @param limits Of both directions together; `undefined`: none.
   * @param account What the account takes beyond that.
   * @param goOn Called when a wait is over.
   */
  constructor(
    clock: Clock,
    limits: RateLimits | undefined,
    account: Pick<AccountRate, "delay" | "sent">,
    goOn: () => void,
  ) {
    this.#clock = clock;
    this.#account = account;
    this.#goOn = goOn;
    if (limits === undefined) return;
    this.#rate = new RateWindow(limits);
    this.#arriving = new RateWindow({
      count: Math.max(1, Math.floor(limits.count * ARRIVING_SHARE)),
      bytes: limits.bytes * ARRIVING_SHARE,
      windowMs: limits.windowMs,
    });
    this.#marginMs = Math.max(0, limits.windowMs - 1_000);
    this.#atOnce = limits.count * AT_ONCE_SHARE;
    const count = Math.ceil(limits.count / PARTS);
    this.#part = new RateWindow({
      count,
      bytes: Number.MAX_SAFE_INTEGER,
      windowMs: limits.windowMs * count / limits.count,
    });
  }

  /** Whether nothing may be sent for now; `goOn` follows. */
  get waits(): boolean {
    return this.#timer !== undefined;
  }

  /** Which rate is waited for. */
  get waitsFor(): "rate limit" | "account" | undefined {
    return this.#reason === "socket" ? undefined : this.#reason;
  }

  /** How long messages have waited for the rate, in ms. */
  get throttledMs(): number {
    return this.#throttledMs;
  }

  /** Takes a message's share of the rate, or begins to wait for it. */
  allows(bytes: number): boolean {
    const now = this.#clock.now();
    const account = this.#account.delay(now);
    const wait = Math.max(account, this.#rateDelay(now, bytes));
    if (wait <= 0) {
      this.#account.sent(now);
      this.#rate?.take(now, bytes);
      this.#part?.take(now, 0);
      return true;
    }
    this.#throttledSince = now;
    this.#wait(wait, wait > account ? "rate limit" : "account");
    return false;
  }

  #rateDelay(now: number, bytes: number): number {
    if (this.#rate === undefined || this.#part === undefined) return 0;
    const spread = this.#rate.held(now) >= this.#atOnce ? this.#part.delay(now, 0) : 0;
    return Math.max(spread, this.#rate.delay(now, bytes));
  }

  /**
   * The broker has a message that was sent at `sentAt`. However long it was under way, the broker may have seen it only just now:
   * it counts until a second from now at least, as does what was sent after it, and what was sent before it and may have been
   * held up with it.
   */
  acknowledged(sentAt: number): void {
    if (this.#rate === undefined) return;
    const at = this.#clock.now() - this.#marginMs;
    const before = Math.max(this.#ackedUpTo, sentAt - (at - sentAt));
    this.#ackedUpTo = Math.max(this.#ackedUpTo, sentAt);
    if (at > sentAt) this.#rate.defer(Math.min(before, sentAt - SAME_TURN_MS), at);
  }

  /** A message arrived, which AWS IoT Core counts as well. */
  arrived(bytes: number): void {
    if (this.#rate === undefined || this.#arriving === undefined) return;
    const now = this.#clock.now();
    if (this.#arriving.delay(now, bytes) > 0) return;
    this.#arriving.take(now, bytes);
    this.#rate.take(now, bytes);
  }

  /** Begins to wait when the socket takes less than it is given; `unwritten`: bytes on their way into it. */
  isBackedUp(unwritten: number): boolean {
    if (unwritten < MAX_UNWRITTEN_BYTES) return false;
    this.#wait(UNWRITTEN_MS, "socket");
    return true;
  }

  /** The socket took something: goes on when it was waited for, and half of it is gone. */
  taken(unwritten: number): void {
    if (this.#reason !== "socket" || unwritten >= MAX_UNWRITTEN_BYTES / 2) return;
    this.cancel();
    this.#goOn();
  }

  /** What the account takes has changed: a wait for it ends accordingly. */
  recheck(): void {
    if (this.#reason === "account") {
      this.#wait(this.#account.delay(this.#clock.now()), this.#reason);
    }
  }

  /** Ends the wait, without `goOn`. */
  cancel(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    this.#reason = undefined;
    if (this.#throttledSince === undefined) return;
    this.#throttledMs += this.#clock.now() - this.#throttledSince;
    this.#throttledSince = undefined;
  }

  #wait(ms: number, reason: "rate limit" | "account" | "socket"): void {
    this.#reason = reason;
    this.#timer?.cancel();
    this.#timer = this.#clock.after(ms, () => {
      this.cancel();
      this.#goOn();
    });
  }
}
