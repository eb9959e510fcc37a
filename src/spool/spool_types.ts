import type { Bytes } from "../base/bytes.ts";
import type { Clock } from "../base/clock.ts";
import type { BusError } from "../base/errors.ts";
import type { FaultHook } from "../base/fault.ts";
import type { Log } from "../base/log.ts";
import type { Turn } from "./group_timer.ts";
import type { Qos, Quarantined, SpoolStorage } from "./storage.ts";

/** What `Spool` needs. */
export interface SpoolOptions {
  readonly storage: SpoolStorage;
  /** The most that is kept, in bytes as `sizeOf` counts them. */
  readonly maxBytes: number;
  readonly clock: Clock;
  readonly log: Log;
  /** Calls `fn` at the end of the present turn of the event loop. */
  readonly turn?: Turn;
  /** For tests that end the process there. */
  readonly fault?: FaultHook | undefined;
}

/** A message for the spool. */
export interface SpoolMessage {
  readonly topic: string;
  /** Copied: the caller may reuse its buffer at once. */
  readonly payload: Bytes;
  readonly qos: Qos;
  /** Seconds until the message is no longer worth sending, from now on; absent: for ever. */
  readonly messageExpiry?: number;
}

/**
 * Called once per appended message: with its `seq` when it is stored (on disk: synced), else with NOMEM (full) or
 * FAILURE (the storage failed) and -1.
 */
export type AppendDone = (error: BusError | undefined, seq: number) => void;

/** What `status` shows of the spool. */
export interface SpoolStats {
  readonly storage: "memory" | "disk";
  /** Everything stored, with what is in flight and in quarantine. */
  readonly messages: number;
  readonly bytes: number;
  readonly maxBytes: number;
  /** Age of the oldest message that is to be sent; 0 when there is none. */
  readonly oldestAgeMs: number;
  /** QoS 0 messages that made room for others. */
  readonly evicted: number;
  readonly expired: number;
  /** Messages that were answered with NOMEM. */
  readonly refused: number;
  /** Messages that were answered with FAILURE. */
  readonly failed: number;
  readonly quarantined: readonly Quarantined[];
}
