import { fromUtf8, utf8 } from "../base/bytes.ts";
import { textLength } from "../base/bytes.ts";
import { EARLIEST_MS } from "../base/version.ts";
import type { SpoolStorage } from "./storage.ts";

/** What a message takes beside its topic and payload, in bytes: its row on disk, or its objects in memory. */
export const OVERHEAD_BYTES = 64;

/** Longest text that is kept with a quarantined message, in bytes of UTF-8. */
export const MAX_REASON_BYTES = 255;

/** How many messages are looked at in one step for eviction. */
const EVICTION_STEP = 64;

/** What to do with a new message; `evict` is how many bytes of QoS 0 messages have to go first. */
export type Decision = "accept" | "refuse" | { readonly evict: number };

/** How full a spool is, in bytes as {@linkcode sizeOf} counts them. */
export interface Fill {
  readonly bytes: number;
  /** The part of `bytes` that QoS 0 messages take. */
  readonly qos0Bytes: number;
  readonly maxBytes: number;
}

/** What a message counts for in a spool, in bytes. */
export function sizeOf(topic: string, payloadBytes: number): number {
  return textLength(topic) + payloadBytes + OVERHEAD_BYTES;
}

/** Whether a message of `size` bytes fits, fits after QoS 0 messages were evicted, or has to be refused with NOMEM. */
export function decide(fill: Fill, size: number): Decision {
  const missing = fill.bytes + size - fill.maxBytes;
  if (missing <= 0) return "accept";
  return missing <= fill.qos0Bytes ? { evict: missing } : "refuse";
}

/** Whether a message that may live until `expiresAt` (ms on the clock of `now`) is over. */
export function isExpired(expiresAt: number | undefined, now: number): boolean {
  return expiresAt !== undefined && expiresAt <= now;
}

/**
 * The time of acceptance, as far as it is known: one before {@linkcode EARLIEST_MS} is of a clock that was not set then, and nobody
 * knows how long ago that was. It counts from `openedAt`, when the spool was opened, if the clock was right by then.
 */
export function knownTime(acceptedAt: number, openedAt: number): number {
  return acceptedAt < EARLIEST_MS && openedAt >= EARLIEST_MS ? openedAt : acceptedAt;
}

/** A message with its times by {@linkcode knownTime}: it has its whole time from then. */
export function rebased<R extends { readonly acceptedAt: number; readonly expiresAt?: number }>(
  record: R,
  openedAt: number,
): R {
  const acceptedAt = knownTime(record.acceptedAt, openedAt);
  if (acceptedAt === record.acceptedAt || record.expiresAt === undefined) return record;
  return { ...record, acceptedAt, expiresAt: record.expiresAt + acceptedAt - record.acceptedAt };
}

/**
 * The oldest QoS 0 messages that together free `needed` bytes, by `seq` with their sizes; `undefined` when there are not
 * enough beside those that are `spared`.
 */
export function chooseEvictions(
  readQos0: SpoolStorage["readQos0"],
  needed: number,
  spared: (seq: number) => boolean,
): Map<number, number> | undefined {
  const chosen = new Map<number, number>();
  let freed = 0;
  for (let after = 0;;) {
    const step = readQos0(after, EVICTION_STEP);
    if (step.length === 0) return undefined;
    for (const { seq, size } of step) {
      after = seq;
      if (spared(seq)) continue;
      chosen.set(seq, size);
      freed += size;
      if (freed >= needed) return chosen;
    }
  }
}

/** The longest start of a text that is at most 255 bytes of UTF-8. */
export function cutReason(reason: string): string {
  const bytes = utf8(reason);
  for (let end = Math.min(bytes.length, MAX_REASON_BYTES); end > 0; end--) {
    const text = fromUtf8(bytes.subarray(0, end));
    if (text !== undefined) return text;
  }
  return "";
}
