import { setImmediate } from "node:timers";
import type { Clock, Timer } from "../base/clock.ts";
import type { BusError } from "../base/errors.ts";
import type { Changes, NewRecord } from "./storage.ts";

/** On a slow disk a message waits this part of a sync for others to share the next one, and so long at most, in ms. */
const GATHER_PART = 10;
const MIN_GATHER_MS = 1;
const MAX_GATHER_MS = 5;

/** How long a removal waits at most for messages to share their sync, in ms, and how many do. */
export const MAX_REMOVAL_MS = 1_000;
export const MAX_REMOVALS = 100;

/** How many messages are removed or released in one commit; only who drops a whole quarantine has more. */
const MAX_SETTLED = 4_096;

/**
 * Called once per appended message: with its `seq` when it is stored (on disk: synced), else with NOMEM (full) or
 * FAILURE (the storage failed) and -1.
 */
export type AppendDone = (error: BusError | undefined, seq: number) => void;

/** Calls `fn` at the end of the present turn of the event loop. */
export type Turn = (fn: () => void) => void;

/** The turn of the machine. */
export const systemTurn: Turn = (fn) => void setImmediate(fn);

/** What one commit is about. */
export interface Batch extends Changes {
  readonly quarantine: readonly { readonly seq: number; readonly reason: string }[];
  readonly release: readonly number[];
  /** One for each record. */
  readonly dones: readonly AppendDone[];
  /** What the new messages count for, in bytes. */
  readonly bytes: number;
  /** QoS 0 messages that make room for them, with their sizes; they are among those to remove. */
  readonly evictions: ReadonlyMap<number, number>;
  /** Messages that are over, among those to remove. */
  readonly settled: readonly number[];
}

type NewMessages = Pick<Batch, "append" | "evictions" | "dones" | "bytes">;

const NOTHING_NEW: NewMessages = { append: [], evictions: new Map(), dones: [], bytes: 0 };

/**
 * What waits for a commit, and when that comes: for a message at the end of the turn, or a little later on a slow disk, whose clients
 * come back when they are answered; for removals alone when there are 100 of them, or after a second.
 */
export class CommitQueue {
  #append: NewRecord[] = [];
  #dones: AppendDone[] = [];
  #bytes = 0;
  #evictions = new Map<number, number>();
  #evictedBytes = 0;
  /** Until they are committed: seq -> size. */
  readonly #removals = new Map<number, number>();
  #removedBytes = 0;
  readonly #quarantine = new Map<number, { readonly reason: string; readonly size: number }>();
  readonly #release = new Set<number>();
  #timer: Timer | undefined;
  #isSoon = false;
  #gatherMs = 0;

  constructor(
    private readonly clock: Clock,
    private readonly turn: Turn,
    private readonly maxRemovals: number,
    private readonly commit: () => void,
  ) {}

  /** By how many bytes the spool grows with all of this. */
  get growth(): number {
    return this.#bytes - this.#evictedBytes - this.#removedBytes;
  }

  /** Removals that are not committed. */
  get removals(): number {
    return this.#removals.size;
  }

  /** Bytes of messages that go into quarantine with the next commits. */
  get quarantineBytes(): number {
    let bytes = 0;
    for (const { size } of this.#quarantine.values()) bytes += size;
    return bytes;
  }

  /** Whether a stored message is not to be handed out. */
  isGoing(seq: number): boolean {
    return this.#removals.has(seq) || this.#evictions.has(seq) || this.#quarantine.has(seq);
  }

  /** Adds a message of `size` bytes. */
  add(record: NewRecord, size: number, done: AppendDone): void {
    this.#append.push(record);
    this.#dones.push(done);
    this.#bytes += size;
    this.soon();
  }

  /** Adds messages that go for a new one. */
  evict(chosen: ReadonlyMap<number, number>): void {
    for (const [seq, size] of chosen) {
      this.#evictions.set(seq, size);
      this.#evictedBytes += size;
    }
  }

  /** Adds a message that is over. */
  remove(seq: number, size: number): void {
    if (this.#removals.has(seq)) return;
    this.#removals.set(seq, size);
    this.#removedBytes += size;
    if (this.#removals.size >= this.maxRemovals) this.soon();
    else this.#timer ??= this.clock.after(MAX_REMOVAL_MS, this.#due);
  }

  /** Adds a message that is kept, but not sent. */
  quarantine(seq: number, size: number, reason: string): void {
    this.#quarantine.set(seq, { reason, size });
    this.soon();
  }

  /** Adds messages that are to be sent after all. */
  release(seqs: readonly number[]): void {
    for (const seq of seqs) this.#release.add(seq);
    this.soon();
  }

  /** Has what waits committed at the end of the turn, or a little later. */
  soon(): void {
    if (this.#isSoon) return;
    this.#isSoon = true;
    const due = (): void => {
      this.#isSoon = false;
      this.#due();
    };
    if (this.#gatherMs < MIN_GATHER_MS) this.turn(due);
    else this.clock.after(this.#gatherMs, due);
  }

  /** A commit took so many ms. */
  took(ms: number): void {
    this.#gatherMs = Math.min(MAX_GATHER_MS, ms / GATHER_PART);
  }

  /** Has what failed committed later. */
  later(ms: number): void {
    this.#timer ??= this.clock.after(ms, this.#due);
  }

  /** Takes what waits for a commit; all but the new messages stays here until it is {@linkcode committed}. */
  take(what: "everything" | "the rest"): Batch | undefined {
    this.cancel();
    const settled = [...this.#removals.keys()].slice(0, MAX_SETTLED);
    const { append, evictions, dones, bytes } = what === "everything"
      ? this.#takeNew()
      : NOTHING_NEW;
    const batch: Batch = {
      append,
      remove: [...settled, ...evictions.keys()],
      quarantine: [...this.#quarantine].map(([seq, { reason }]) => ({ seq, reason })),
      release: [...this.#release].slice(0, MAX_SETTLED),
      dones,
      bytes,
      evictions,
      settled,
    };
    const { remove, quarantine, release } = batch;
    const isEmpty = append.length + remove.length + quarantine.length + release.length === 0;
    return isEmpty ? undefined : batch;
  }

  /** What was taken is stored. */
  committed({ settled, quarantine, release }: Batch): void {
    for (const seq of settled) {
      this.#removedBytes -= this.#removals.get(seq)!;
      this.#removals.delete(seq);
    }
    for (const { seq } of quarantine) this.#quarantine.delete(seq);
    for (const seq of release) this.#release.delete(seq);
    if (this.#removals.size >= this.maxRemovals || this.#release.size > 0) this.soon();
  }

  #takeNew(): NewMessages {
    const taken = {
      append: this.#append,
      evictions: this.#evictions,
      dones: this.#dones,
      bytes: this.#bytes - this.#evictedBytes,
    };
    this.#append = [];
    this.#dones = [];
    this.#bytes = this.#evictedBytes = 0;
    this.#evictions = new Map();
    return taken;
  }

  /** Forgets when the next commit is due. */
  cancel(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
  }

  readonly #due = (): void => {
    this.cancel();
    this.commit();
  };
}
