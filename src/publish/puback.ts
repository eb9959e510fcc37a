import type { Clock, Timer } from "../base/clock.ts";
import { BusError, Code } from "../base/errors.ts";
import type { Reply } from "../bus/methods.ts";

/** Where the answer to a publish goes: exactly one call. */
export type PublishReply = Pick<Reply, "respond" | "refuse"> & { readonly notify?: boolean };

/** How long a client with `ack=broker` waits for the PUBACK, in ms. */
export const BROKER_ACK_MS = 30_000;

/** Clients that want their answer after PUBACK, by the message they wait for. */
export class PubackWaiters {
  readonly #waiting = new Map<number, { readonly reply: PublishReply; readonly timer: Timer }>();

  constructor(readonly clock: Clock) {}

  /** Answers when the message was acknowledged, or with TIMEOUT; the message stays spooled then. */
  add(seq: number, reply: PublishReply): void {
    const timer = this.clock.after(BROKER_ACK_MS, () => {
      this.#waiting.delete(seq);
      const text = `no PUBACK within ${BROKER_ACK_MS / 1_000} s; the message stays spooled`;
      reply.refuse(new BusError(Code.TIMEOUT, text));
    });
    this.#waiting.set(seq, { reply, timer });
  }

  /** The broker has the message. */
  acknowledged(seq: number): void {
    this.#take(seq)?.respond(null);
  }

  /** The broker does not want the message. */
  refused(seq: number, reason: string): void {
    this.#take(seq)?.refuse(
      new BusError(Code.REMOTE, `the broker refused the message: ${reason}`, reason),
    );
  }

  /** The daemon stops: what they wait for stays spooled, or was given up with the spool. */
  stop(): void {
    for (const seq of [...this.#waiting.keys()]) {
      this.#take(seq)?.refuse(new BusError(Code.NOCONN, "the daemon stops before the PUBACK came"));
    }
  }

  #take(seq: number): PublishReply | undefined {
    const waiting = this.#waiting.get(seq);
    this.#waiting.delete(seq);
    waiting?.timer.cancel();
    return waiting?.reply;
  }
}

/** How long a message may be without its PUBACK before its link counts as broken, in ms. */
export const ACK_OVERDUE_MS = 60_000;

/**
 * Notices a PUBACK that does not come. AWS IoT Core discards what is over its rate without a word, and MQTT 5 forbids to send a
 * message again on the same link [MQTT-4.4.0-1], so a new link is what helps.
 */
export class PubackWatchdog {
  readonly #clock: Clock;
  readonly #oldestSentAt: () => number | undefined;
  readonly #onOverdue: () => void;
  #timer: Timer | undefined;

  /** @param oldestSentAt When the oldest message without a PUBACK was sent, if there is one; asked now and then. */
  constructor(clock: Clock, oldestSentAt: () => number | undefined, onOverdue: () => void) {
    this.#clock = clock;
    this.#oldestSentAt = oldestSentAt;
    this.#onOverdue = onOverdue;
  }

  /** A message was sent. */
  sent(): void {
    this.#timer ??= this.#clock.after(ACK_OVERDUE_MS, () => this.#look());
  }

  /** The link is gone. */
  cancel(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
  }

  #look(): void {
    this.#timer = undefined;
    const sentAt = this.#oldestSentAt();
    if (sentAt === undefined) return;
    const left = sentAt + ACK_OVERDUE_MS - this.#clock.now();
    this.#timer = this.#clock.after(left > 0 ? left : ACK_OVERDUE_MS, () => this.#look());
    if (left <= 0) this.#onOverdue();
  }
}
