import type { Clock, Timer } from "../base/clock.ts";

/** What a {@linkcode KeepAlive} needs of its link. */
export interface KeepAliveOptions {
  readonly clock: Clock;
  /** The keep-alive that CONNECT announced, in ms. */
  readonly ms: number;
  /** Sends PINGREQ. */
  readonly ping: () => void;
  /** Bytes that arrived so far. */
  readonly bytesRead: () => number;
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
  /** When the latest packet was sent that has its answer, in ms of the clock. */
  #provenAt = 0;
  #pingedAt = 0;
  #bytesAtPing = 0;

  constructor(options: KeepAliveOptions) {
    this.#options = options;
  }

  /** CONNACK came. */
  start(): void {
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
    const { clock, ms } = this.#options;
    const left = this.#provenAt + ms - clock.now();
    if (left <= 0) return this.#ping();
    this.#timer = clock.after(left, () => this.#rest());
  }

  #ping(): void {
    const { clock, ms, ping, bytesRead } = this.#options;
    this.#pingedAt = clock.now();
    this.#bytesAtPing = bytesRead();
    this.#timer = clock.after(ms / 2, () => this.#look());
    ping();
  }

  #look(): void {
    if (this.#provenAt >= this.#pingedAt) return this.#rest();
    // PINGRESP may be stuck behind messages on a slow link; what arrives at all proves that the link lives.
    if (this.#options.bytesRead() !== this.#bytesAtPing) return this.#ping();
    this.#options.onDead();
  }
}
