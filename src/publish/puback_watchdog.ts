import type { Clock, Timer } from "../base/clock.ts";

/** How long a message may be without its PUBACK before its link counts as broken, in ms. */
export const ACK_OVERDUE_MS = 60_000;

/**
 * Notices a PUBACK that does not come. AWS IoT Core discards what is over its rate without a word, and MQTT 5 forbids to send a
 * message again on the same link [MQTT-4.4.0-1], so a new link is what helps.
 */
export class AckWatch {
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
