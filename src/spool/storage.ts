import type { Bytes } from "../base/bytes.ts";

/** QoS levels of AWS IoT Core. */
export type Qos = 0 | 1;

/** A message as it is stored. */
export interface NewRecord {
  readonly topic: string;
  /** Owned by the storage from now on. */
  readonly payload: Bytes;
  readonly qos: Qos;
  /** Milliseconds since the Unix epoch. */
  readonly acceptedAt: number;
  /** Milliseconds since the Unix epoch; absent: never. */
  readonly expiresAt?: number;
}

/** A stored message. */
export interface SpoolRecord extends NewRecord {
  /** Its place in the order of acceptance: ascending with gaps, never used twice, also across restarts. */
  readonly seq: number;
  /** What it counts for, in bytes, as `sizeOf` in `policy.ts` says. */
  readonly size: number;
}

/** A message that is kept, but not sent. */
export interface Quarantined {
  readonly seq: number;
  readonly topic: string;
  readonly reason: string;
  readonly size: number;
}

/** How much is stored; quarantined messages count. */
export interface Usage {
  readonly messages: number;
  readonly bytes: number;
  /** The part of `bytes` that QoS 0 messages take which are not in quarantine. */
  readonly qos0Bytes: number;
}

/** What one transaction changes. */
export interface Changes {
  readonly append: readonly NewRecord[];
  /** Removing what is not there does nothing. */
  readonly remove: readonly number[];
}

/** The storage failed: a full disk, one that cannot be written, an I/O error. Nothing of the transaction took place. */
export class StorageError extends Error {
  override readonly name = "StorageError";
}

/** Where a spool keeps its messages. Every method but `close` throws {@linkcode StorageError}. */
export interface SpoolStorage {
  readonly kind: "memory" | "disk";
  /** The present figures, at no cost. */
  readonly usage: Usage;
  /** Changes all or nothing; on disk it is synced when this returns. Returns the `seq` of what was appended, in order. */
  commit(changes: Changes): number[];
  /** Messages after `afterSeq` in order, without those in quarantine: up to `limit`, and `maxBytes` but at least one. */
  read(afterSeq: number, limit: number, maxBytes: number): SpoolRecord[];
  /** QoS 0 messages after `afterSeq`, oldest first, without their contents. */
  readQos0(afterSeq: number, limit: number): { readonly seq: number; readonly size: number }[];
  /** When the oldest message was accepted that is not in quarantine, in ms since the Unix epoch. */
  oldestAcceptedAt(): number | undefined;
  /** Keeps a message without handing it out again. `reason` is cut to 255 bytes. */
  quarantine(seq: number, reason: string): void;
  /** Hands messages of the quarantine out again, as the newest ones. Returns how many there were. */
  release(seqs: readonly number[]): number;
  /** Everything in quarantine, oldest first. */
  quarantined(): readonly Quarantined[];
  /** Tells the storage that it does not hold what its counters say: it looks for damage and saves what it can. */
  distrust(why: string): void;
  /** Called after a damaged storage was replaced while it was in use: removed messages may be back, others gone. */
  onSalvaged: (() => void) | undefined;
  /** Gives everything back; the storage cannot be used any more. */
  close(): void;
}
