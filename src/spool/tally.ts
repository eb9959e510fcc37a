import type { Quarantined, Usage } from "./storage.ts";

/** Counted as QoS 1: what is in quarantine is not evicted. */
export const KEPT = 1;

/** The counters of a transaction under way. */
export class Tally {
  messages: number;
  bytes: number;
  qos0Bytes: number;
  /** Removed messages: seq -> prev. */
  readonly gone = new Map<number, number>();

  constructor(usage: Usage, public quarantined: readonly Quarantined[]) {
    ({ messages: this.messages, bytes: this.bytes, qos0Bytes: this.qos0Bytes } = usage);
  }

  /** Counts messages that come or go (negative). */
  add(qos: number, messages: number, bytes: number): void {
    this.messages += messages;
    this.bytes += bytes;
    if (qos === 0) this.qos0Bytes += bytes;
  }
}
