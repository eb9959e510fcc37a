import type { Clock, Timer } from "../base/clock.ts";

/** What a {@linkcode KeepAlive} needs of its link. */
export interface KeepAliveOptions {
  readonly clock: Clock;
  /** Sends PINGREQ. */
  readonly ping: () => void;
  /** Bytes that arrived so far. */
  readonly bytesRead: () => number;
  /** Whether reading is held back, so that what does not arrive says nothing. */
  readonly isHeld: () => boolean;
  /** Ends the link when it is dead though something arrives; says whether it did. */
  readonly endIfBroken: () => boolean;
  /** Nothing arrived for half of the keep-alive since PINGREQ. */
  readonly onDead: () => void;
}

/**
 * Keeps a link alive, and finds out when it is dead [MQTT-3.1.2-22], [MQTT-3.1.2-24]. A ping is put off when something else was sent
 * and answered, which says as much: on a metered link, a ping a minute costs more than a message a minute.
 */
export class KeepAlive {
  readonly #options: KeepAliveOptions;
  #timer: Timer | undefined;
  #ms = 0;
  /** When the latest packet was sent that has its answer, in ms of the clock. */
  #provenAt = 0;
  #pingedAt = 0;
  #bytesAtPing = 0;

  constructor(options: KeepAliveOptions) {
    this.#options = options;
  }

  /** CONNACK came. @param ms The keep-alive that holds, in ms: CONNACK may have changed it [MQTT5-3.2.2.3.14]. */
  start(ms: number): void {
    this.#ms = ms;
    this.#provenAt = this.#options.clock.now();
    this.#rest();
  }

  /** The link is over. */
  stop(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
  }

  /** A packet that was sent at `sentAt`, in ms of the clock, has its answer. */
  answered(sentAt: number): void {
    this.#provenAt = Math.max(this.#provenAt, sentAt);
  }

  #rest(): void {
    const { clock } = this.#options;
    const left = this.#provenAt + this.#ms - clock.now();
    if (left <= 0) return this.#ping();
    this.#timer = clock.after(left, () => this.#rest());
  }

  #ping(): void {
    const { clock, ping, bytesRead } = this.#options;
    this.#pingedAt = clock.now();
    this.#bytesAtPing = bytesRead();
    this.#timer = clock.after(this.#ms / 2, () => this.#look());
    ping();
  }

  #look(): void {
    const { bytesRead, endIfBroken, isHeld, onDead } = this.#options;
    if (this.#provenAt >= this.#pingedAt) return this.#rest();
    if (endIfBroken()) return;
    // PINGRESP may be stuck behind messages on a slow link; what arrives at all proves that the link lives.
    if (isHeld() || bytesRead() !== this.#bytesAtPing) return this.#ping();
    onDead();
  }
}
