import type { Readable } from "node:stream";
import type { Bytes } from "../base/bytes.ts";
import type { Clock } from "../base/clock.ts";
import { nextTurn } from "../base/next_turn.ts";
import { PacketReader } from "./packet_reader.ts";
import type { ReadGate } from "./read_gate.ts";
import type { RawPacket } from "./server_packet.ts";

/** How long packets are handled before others have their turn, in ms. */
export const TURN_MS = 2;

/** Packets between two looks at the clock. */
const PACKETS_PER_LOOK = 16;

/** What {@linkcode Inbound} is made with. */
export interface InboundOptions {
  readonly stream: Readable;
  readonly gate: ReadGate;
  readonly clock: Pick<Clock, "now">;
  /** Gets each packet; what it throws is not caught. */
  readonly onPacket: (packet: RawPacket) => void;
  /** Wraps what is called from the stream and from turns, so that whatever is thrown there ends the link. */
  readonly guarded: (name: string, fn: () => void) => () => void;
}

/**
 * Reads packets from a stream, a bounded part in each turn of the event loop, and none while the gate is held: what is not read
 * stays in the stream, and at last with the broker.
 */
export class Inbound {
  /** Packets that have come. */
  packets = 0;
  readonly #options: InboundOptions;
  readonly #reader = new PacketReader();
  readonly #run: () => void;
  #state: "idle" | "due" | "discarding" = "idle";

  constructor(options: InboundOptions) {
    this.#options = options;
    this.#run = options.guarded("packets", () => {
      if (this.#state === "discarding") return;
      this.#state = "idle";
      this.#readOn();
    });
    options.stream.on("readable", this.#onReadable);
  }

  /** Whether the middle of a packet has been reached. */
  get inPacket(): boolean {
    return this.#reader.inPacket;
  }

  /** Handles nothing more. What comes is read and dropped, so that the end of the stream is seen. */
  discard(): void {
    this.#state = "discarding";
    const { gate, stream } = this.#options;
    gate.offRelease(this.#later);
    stream.off("readable", this.#onReadable);
    stream.resume();
  }

  readonly #onReadable = (): void => {
    if (this.#state === "idle") this.#run();
  };

  /** Not at once: who released is in the middle of something. */
  readonly #later = (): void => nextTurn(this.#run);

  #readOn(): void {
    const { clock, gate, onPacket } = this.#options;
    const until = clock.now() + TURN_MS;
    for (let n = 1; !this.#isOver; n++) {
      if (gate.held) return this.#wait();
      const packet = this.#next();
      if (packet === undefined) return;
      this.packets++;
      onPacket(packet);
      if (n % PACKETS_PER_LOOK === 0 && clock.now() >= until) return this.#yield();
    }
  }

  get #isOver(): boolean {
    return this.#state === "discarding";
  }

  #next(): RawPacket | undefined {
    for (;;) {
      const packet = this.#reader.next();
      if (packet !== undefined) return packet;
      const chunk: Bytes | null = this.#options.stream.read();
      if (chunk === null) return undefined;
      this.#reader.push(chunk);
    }
  }

  #wait(): void {
    this.#state = "due";
    this.#options.gate.onRelease(this.#later);
  }

  #yield(): void {
    this.#state = "due";
    this.#later();
  }
}
