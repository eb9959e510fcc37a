import type { Clock, Timer } from "../base/clock.ts";
import { BusError, BusErrorCode } from "../base/errors.ts";
import type { Reply } from "../bus/methods.ts";

/** Where the answer to a publish goes: exactly one call. */
export type PublishReply = Pick<Reply, "respond" | "refuse"> & { readonly notify?: boolean };

/** How long a client with `ack=broker` waits for the PUBACK, in ms. */
export const BROKER_ACK_MS = 30_000;

/** A client that waits; times are in ms of the clock. */
interface Waiter {
  readonly reply: PublishReply;
  /** When TIMEOUT is the answer. */
  readonly until: number;
  /** When the message is no longer sent. */
  readonly expiresAt: number;
  timer: Timer;
}

/** Clients that want their answer after PUBACK, by the message they wait for. */
export class PubackWaiters {
  /** Whether the broker may have a message: it has no end of its own then. */
  isInFlight: (seq: number) => boolean = () => false;
  readonly #waiting = new Map<number, Waiter>();

  constructor(readonly clock: Clock) {}

  /**
   * Answers when the message was acknowledged, with REMOTE when it was refused or expired before it was sent, or with TIMEOUT; the
   * message stays spooled then.
   *
   * @param messageExpiry Seconds that the message has from now; `undefined`: for ever.
   */
  add(seq: number, reply: PublishReply, messageExpiry?: number): void {
    const now = this.clock.now();
    const expiresAt = now + (messageExpiry ?? Infinity) * 1_000;
    const until = now + BROKER_ACK_MS;
    const timer = this.#look(seq, Math.min(until, expiresAt));
    this.#waiting.set(seq, { reply, until, expiresAt, timer });
  }

  /** Nothing is in flight any more: what expired there is not sent again. */
  linkLost(): void {
    for (const seq of [...this.#waiting.keys()]) this.#onTime(seq);
  }

  /** The broker has the message. */
  acknowledged(seq: number): void {
    this.#take(seq)?.respond(null);
  }

  /** The broker does not want the message. */
  refused(seq: number, reason: string): void {
    this.#take(seq)?.refuse(
      new BusError(BusErrorCode.REMOTE, `the broker refused the message: ${reason}`, reason),
    );
  }

  /** The daemon stops: what they wait for stays spooled, or was given up with the spool. */
  stop(): void {
    for (const seq of [...this.#waiting.keys()]) {
      this.#take(seq)?.refuse(
        new BusError(BusErrorCode.NOCONN, "the daemon stops before the PUBACK came"),
      );
    }
  }

  #look(seq: number, at: number): Timer {
    return this.clock.after(at - this.clock.now(), () => this.#onTime(seq));
  }

  #onTime(seq: number): void {
    const waiter = this.#waiting.get(seq);
    if (waiter === undefined) return;
    const { until, expiresAt } = waiter;
    const now = this.clock.now();
    if (now >= expiresAt && !this.isInFlight(seq)) {
      const text = "the message expired before it could be sent";
      this.#take(seq)?.refuse(new BusError(BusErrorCode.REMOTE, text, "expired"));
    } else if (now >= until) {
      const text = `no PUBACK within ${BROKER_ACK_MS / 1_000} s; the message stays spooled`;
      this.#take(seq)?.refuse(new BusError(BusErrorCode.TIMEOUT, text));
    } else {
      waiter.timer.cancel();
      waiter.timer = this.#look(seq, now < expiresAt ? Math.min(until, expiresAt) : until);
    }
  }

  #take(seq: number): PublishReply | undefined {
    const waiting = this.#waiting.get(seq);
    this.#waiting.delete(seq);
    waiting?.timer.cancel();
    return waiting?.reply;
  }
}
