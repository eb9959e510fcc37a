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
