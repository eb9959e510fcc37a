import type { Bytes } from "../base/bytes.ts";

/** QoS levels of AWS IoT Core. */
export type Qos = 0 | 1;

/** A message as it is stored. */
export interface NewRecord {
  readonly topic: string;
  /** Owned by the storage from now on. */
  readonly payload: Bytes;
  readonly qos: Qos;
  /** Milliseconds of the spool's time, see `Spool.now`. */
  readonly acceptedAt: number;
  /** Milliseconds of the spool's time; absent: never. */
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

/** What one commit changes; a `seq` that is not there changes nothing. */
export interface Changes {
  readonly append: readonly NewRecord[];
  readonly remove: readonly number[];
  /** Kept, and not handed out any more; the reason is cut to 255 bytes. */
  readonly quarantine?: readonly { readonly seq: number; readonly reason: string }[];
  /** Out of quarantine: handed out again, in the order of their `seq`. */
  readonly release?: readonly number[];
}

/** The storage failed: a full disk, one that cannot be written, an I/O error. Nothing of the commit took place. */
export class StorageError extends Error {
  override readonly name = "StorageError";

  /** @param full Whether the disk, or the user's part of it, is full. */
  constructor(message: string, readonly full = false) {
    super(message);
  }
}

/** What is there at once, or comes later: memory has nothing to wait for. */
export type Awaitable<T> = T | Promise<T>;

/** Where a spool keeps its messages. Disposing of it commits nothing; what was committed stays. */
export interface SpoolStorage extends AsyncDisposable {
  readonly kind: "memory" | "disk";
  /** The figures after the last commit, without I/O. */
  readonly usage: Usage;
  /** The latest time that the storage knows of, in ms of the spool's time; 0 when it knows none. */
  readonly newestAt: number;
  /**
   * Changes all or nothing, and gives the `seq` of each message that was appended; on disk it is synced by then. One commit may be
   * under way at a time. Rejects with {@linkcode StorageError}.
   */
  commit(changes: Changes): Awaitable<readonly number[]>;
  /**
   * Committed messages after `afterSeq` in order, without those in quarantine: up to `limit`, and `maxBytes` but at least one. One
   * read may be under way at a time. Rejects with {@linkcode StorageError}.
   */
  read(afterSeq: number, limit: number, maxBytes: number): Awaitable<readonly SpoolRecord[]>;
  /** QoS 0 messages after `afterSeq`, oldest first, without their contents. */
  readQos0(
    afterSeq: number,
    limit: number,
  ): readonly { readonly seq: number; readonly size: number }[];
  /** When the oldest message was accepted that is not in quarantine, in ms of the spool's time. */
  oldestAcceptedAt(): number | undefined;
  /** Everything in quarantine, oldest first. */
  quarantined(): readonly Quarantined[];
}
