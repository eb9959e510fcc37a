import type { Packet } from "../../deps.ts";

/** A packet that was seen. */
export interface Logged<P extends Packet = Packet> {
  /** When, in ms of `performance.now()`. */
  readonly at: number;
  /** As the broker sees it: `in` came from a device. */
  readonly direction: "in" | "out";
  /** Empty before CONNECT. */
  readonly clientId: string;
  /** Counts connections from 1. */
  readonly link: number;
  readonly packet: P;
}

/** The packet type of a command. */
export type PacketOf<C extends Packet["cmd"]> = Extract<Packet, { cmd: C }>;

/** Every packet in the order in which it came or went. */
export class PacketLog {
  readonly entries: Logged[] = [];

  /** @param enabled Off for benchmarks, where a log would only grow. */
  constructor(readonly enabled: boolean) {}

  /** Adds a packet. */
  add(direction: "in" | "out", clientId: string, link: number, packet: Packet): void {
    if (!this.enabled) return;
    this.entries.push({ at: performance.now(), direction, clientId, link, packet });
  }

  /** The packets of one kind in one direction, of one client or of all. */
  of<C extends Packet["cmd"]>(
    direction: "in" | "out",
    cmd: C,
    clientId?: string,
  ): Logged<PacketOf<C>>[] {
    return this.entries.filter((entry): entry is Logged<PacketOf<C>> =>
      entry.direction === direction && entry.packet.cmd === cmd &&
      (clientId === undefined || entry.clientId === clientId)
    );
  }
}
