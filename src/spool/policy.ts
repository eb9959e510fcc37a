import { fromUtf8, utf8 } from "../base/bytes.ts";
import { textLength } from "../base/bytes.ts";

/** What a message takes beside its topic and payload, in bytes: its row on disk, or its objects in memory. */
export const OVERHEAD_BYTES = 64;

/** Longest text that is kept with a quarantined message, in bytes of UTF-8. */
export const MAX_REASON_BYTES = 255;

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

/** Whether a message that may live until `expiresAt` (ms since the epoch) is over. */
export function isExpired(expiresAt: number | undefined, wallNow: number): boolean {
  return expiresAt !== undefined && expiresAt <= wallNow;
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
