import type { Clock, Timer } from "../base/clock.ts";
import type { Inbound } from "./inbound.ts";

/** What a {@linkcode KeepAlive} needs of its link. */
export interface KeepAliveOptions {
  readonly clock: Clock;
  /** Sends PINGREQ. */
  readonly ping: () => void;
  /** Bytes that arrived so far. */
  readonly bytesRead: () => number;
  /** How long the other side has taken nothing of what is to be sent, in ms; 0 when nothing waits. */
  readonly stuckMs: () => number;
  /** Whether reading is held back here. */
  readonly held: () => boolean;
  readonly inbound: Pick<Inbound, "packets" | "inPacket">;
  /** The link is dead, for a reason in one line. */
  readonly onDead: (reason: string) => void;
}

/** How long one packet may take in all while something of it comes, in times the keep-alive. */
const PACKET_KEEP_ALIVES = 6;

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
  /** Whole packets that had come at a look, and when that number was first seen, in ms of the clock. */
  #seen = { packets: -1, at: 0 };

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
    const { clock, ping, bytesRead, stuckMs } = this.#options;
    const ms = this.#ms;
    this.#pingedAt = clock.now();
    this.#bytesAtPing = bytesRead();
    this.#countPackets();
    const stuck = stuckMs();
    const wait = stuck === 0 ? ms / 2 : Math.min(ms / 2, Math.max(0, 1.5 * ms - stuck));
    this.#timer = clock.after(Math.ceil(wait), () => this.#look());
    ping();
  }

  #look(): void {
    if (this.#provenAt >= this.#pingedAt) return this.#rest();
    const reason = this.#deadReason();
    if (reason === undefined) this.#ping();
    else this.#options.onDead(reason);
  }

  /**
   * PINGRESP may be stuck behind messages on a slow link, or behind what is held back here: what arrives at all proves that the link
   * lives, unless one packet never ends, or nothing is taken in the other direction.
   */
  #deadReason(): string | undefined {
    const { bytesRead, clock, held, inbound, stuckMs } = this.#options;
    const ms = this.#ms;
    const deadMs = 1.5 * ms;
    if (stuckMs() >= deadMs) {
      return `nothing of what is to be sent was taken for ${deadMs / 1_000} s`;
    }
    this.#countPackets();
    const packetMs = PACKET_KEEP_ALIVES * ms;
    if (inbound.inPacket && clock.now() - this.#seen.at > packetMs) {
      return `a packet was not complete after ${packetMs / 1_000} s`;
    }
    const lives = held() || bytesRead() !== this.#bytesAtPing;
    return lives ? undefined : `nothing came for ${deadMs / 1_000} s`;
  }

  #countPackets(): void {
    const { clock, inbound: { packets } } = this.#options;
    if (packets !== this.#seen.packets) this.#seen = { packets, at: clock.now() };
  }
}
