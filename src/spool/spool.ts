/**
 * The spool: keeps accepted messages until the broker has them, in a storage in memory or on disk.
 *
 * @module
 */

import type { Bytes } from "../base/bytes.ts";
import type { Clock, Timer } from "../base/clock.ts";
import { BusError, BusErrorCode } from "../base/errors.ts";
import type { FaultHook } from "../base/fault.ts";
import type { Log } from "../base/log.ts";
import {
  type AppendDone,
  type Batch,
  CommitQueue,
  MAX_REMOVALS,
  systemTurn,
  type Turn,
} from "./commit_queue.ts";
import { chooseEvictions, decide, isExpired, knownTime, rebased, sizeOf } from "./policy.ts";
import { ReadAhead } from "./read_ahead.ts";
import type { Qos, Quarantined, SpoolRecord, SpoolStorage, StorageError } from "./storage.ts";
import { whenDone } from "./when_done.ts";

export type { AppendDone } from "./commit_queue.ts";

/** The part of the spool's bytes that the quarantine may take. */
export const QUARANTINE_SHARE = 0.25;

/** How long after a storage error the removals are tried again, and reading is, in ms. */
const RETRY_MS = 1_000;

/** How often it is said that the storage fails, in ms. */
const SAY_AGAIN_MS = 60_000;

/** What {@linkcode Spool} needs. */
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

/**
 * The spool: accepts messages once they are stored, hands them out in the order of acceptance, and forgets them when they
 * are settled. One commit is under way at a time; what comes meanwhile shares the next one.
 */
export class Spool {
  /** Called when something can be taken again after {@linkcode take} gave nothing, or was appended. */
  onAvailable: (() => void) | undefined;

  readonly #storage: SpoolStorage;
  readonly #maxBytes: number;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #fault: FaultHook | undefined;
  readonly #queue: CommitQueue;
  readonly #ahead: ReadAhead;
  /** What the time of the spool is ahead of the monotonic clock, in ms. */
  readonly #epoch: number;
  /** When this spool was opened, in its time. */
  readonly #openedAt: number;

  /** What is being committed. */
  #running: Batch | undefined;
  /** Whether another commit is due after it. */
  #isDue = false;
  #idle = Promise.withResolvers<void>();
  /** What is in flight: seq -> size. */
  readonly #taken = new Map<number, number>();
  /** Called after the next commit: too many removals wait for it. */
  #waiting: (() => void)[] = [];
  #readRetry: Timer | undefined;
  #closing: Promise<void> | undefined;

  /** When it was said last that writing fails, and that reading does; `undefined` when it does not. */
  #saidWriting: number | undefined;
  #saidReading: number | undefined;

  #evicted = 0;
  #expired = 0;
  #refused = 0;
  #failed = 0;

  constructor({ storage, maxBytes, clock, log, turn, fault }: SpoolOptions) {
    this.#storage = storage;
    this.#maxBytes = maxBytes;
    this.#clock = clock;
    this.#log = log;
    this.#fault = fault;
    this.#epoch = Math.max(clock.wallNow(), storage.newestAt) - clock.now();
    this.#openedAt = this.now();
    const isDisk = storage.kind === "disk";
    // Memory has nothing to gain from waiting.
    const when = isDisk ? turn ?? systemTurn : (fn: () => void) => fn();
    this.#queue = new CommitQueue(clock, when, isDisk ? MAX_REMOVALS : 1, () => this.#commit());
    this.#ahead = new ReadAhead(storage, {
      isSpokenFor: (seq) => this.#isSpokenFor(seq),
      onMore: () => this.#onRead(),
      onFailed: (error) => this.#onReadFailed(error),
    });
  }

  /**
   * The spool's time, in ms since the epoch: it goes on with the monotonic clock, whatever the wall clock is set to, and begins
   * with the wall clock, or the newest message when that is later.
   */
  now(): number {
    return this.#epoch + this.#clock.now();
  }

  /** Stores a message and calls `done`: at once with the memory spool, else after the commit that holds it. */
  append(message: SpoolMessage, done: AppendDone): void {
    if (this.#closing !== undefined) {
      return done(new BusError(BusErrorCode.FAILURE, "Cannot store: spool is closed"), -1);
    }
    this.#fault?.("before append");
    const { topic, payload, qos, messageExpiry } = message;
    const size = sizeOf(topic, payload.length);
    if (!this.#makeRoom(size)) {
      this.#refused++;
      const text = `Cannot store: spool must hold ${this.#maxBytes} bytes at most`;
      return done(new BusError(BusErrorCode.NOMEM, text), -1);
    }
    const acceptedAt = this.now();
    const record = { topic, payload: payload.slice(), qos, acceptedAt };
    const expiring = messageExpiry === undefined
      ? record
      : { ...record, expiresAt: acceptedAt + messageExpiry * 1000 };
    this.#queue.add(expiring, size, done);
    this.#fault?.("after append");
  }

  /** Like {@linkcode append}, as a promise of the `seq`; rejects with a {@linkcode BusError}. */
  appended(message: SpoolMessage): Promise<number> {
    return new Promise((resolve, reject) => {
      this.append(message, (error, seq) => error === undefined ? resolve(seq) : reject(error));
    });
  }

  /**
   * The next messages, oldest first: up to `limit`, and `maxBytes` but at least one. Each is handed out once until
   * {@linkcode rewind}. Nothing when there is none, or none has been read yet: `onAvailable` follows.
   */
  take(limit: number, maxBytes: number): SpoolRecord[] {
    const records: SpoolRecord[] = [];
    if (this.#closing !== undefined || this.#readRetry !== undefined) return records;
    let bytes = 0;
    let expired = 0;
    const now = this.now();
    while (records.length < limit) {
      const next = this.#ahead.peek();
      if (next === undefined) break;
      const record = rebased(next, this.#openedAt);
      const isUnwanted = this.#isSpokenFor(record.seq);
      const isOver = !isUnwanted && isExpired(record.expiresAt, now);
      if (!isUnwanted && !isOver) {
        bytes += record.size;
        if (records.length > 0 && bytes > maxBytes) break;
        this.#taken.set(record.seq, record.size);
        records.push(record);
      } else if (isOver) {
        this.#queue.remove(record.seq, record.size);
        expired++;
      }
      this.#ahead.shift();
    }
    if (expired > 0) this.#countExpired(expired);
    return records;
  }

  /** Whether a message that was taken has expired since; then it is removed, counted and logged like any other. */
  dropExpired(record: SpoolRecord): boolean {
    if (!isExpired(record.expiresAt, this.now())) return false;
    if (!this.#taken.delete(record.seq)) return true;
    this.#queue.remove(record.seq, record.size);
    this.#countExpired(1);
    return true;
  }

  /** Hands everything out again that was taken and not settled, oldest first, before anything new. */
  rewind(): void {
    this.#taken.clear();
    this.#ahead.rewind(0);
  }

  /**
   * Removes a message that was taken: the broker has it. `done` is called at once; but when 100 removals are not on the disk yet, after
   * the next commit: no more of them than that are sent again after a crash, beside what is in flight.
   */
  settled(seq: number, done?: () => void): void {
    const size = this.#taken.get(seq);
    if (size === undefined || this.#closing !== undefined) return done?.();
    this.#taken.delete(seq);
    this.#queue.remove(seq, size);
    if (done === undefined) return;
    if (this.#queue.removals <= MAX_REMOVALS) done();
    else this.#waiting.push(done);
  }

  /**
   * Keeps a message that was taken, without handing it out again until it is {@linkcode release}d. `false`: quarantine is full; the message
   * is removed as if it were settled, so that it takes no room from others.
   */
  quarantine(seq: number, reason: string): boolean {
    const size = this.#taken.get(seq) ?? 0;
    if (!this.canQuarantine(size)) {
      this.settled(seq);
      return false;
    }
    this.#taken.delete(seq);
    this.#queue.quarantine(seq, size, reason);
    return true;
  }

  /** Whether quarantine has room for a message of so many bytes. */
  canQuarantine(size: number): boolean {
    const kept = this.#storage.quarantined().reduce((sum, one) => sum + one.size, 0);
    return kept + this.#queue.quarantineBytes + size <= this.#maxBytes * QUARANTINE_SHARE;
  }

  /** Hands messages out again that were put in quarantine, in the order of their acceptance. */
  release(seqs: readonly number[]): void {
    this.#queue.release(seqs);
  }

  /** Removes messages that are in quarantine. */
  drop(seqs: readonly number[]): void {
    const wanted = new Set(seqs);
    for (const { seq, size } of this.#storage.quarantined()) {
      if (wanted.has(seq)) this.#queue.remove(seq, size);
    }
  }

  /** What `status` shows. */
  stats(): SpoolStats {
    const { kind, usage } = this.#storage;
    const accepted = this.#storage.oldestAcceptedAt();
    const oldest = accepted === undefined ? undefined : knownTime(accepted, this.#openedAt);
    return {
      storage: kind,
      messages: usage.messages,
      bytes: usage.bytes,
      maxBytes: this.#maxBytes,
      oldestAgeMs: oldest === undefined ? 0 : Math.max(0, this.now() - oldest),
      evicted: this.#evicted,
      expired: this.#expired,
      refused: this.#refused,
      failed: this.#failed,
      quarantined: this.#storage.quarantined(),
    };
  }

  /** Commits what waits. Resolves when everything appended before was answered. */
  async flush(): Promise<void> {
    while (this.#running !== undefined) await this.#idle.promise;
    this.#commit();
    while (this.#running !== undefined) await this.#idle.promise;
  }

  /** Commits what waits and closes the storage. */
  close(): Promise<void> {
    return this.#closing ??= this.#close();
  }

  async #close(): Promise<void> {
    await this.flush();
    this.#queue.cancel();
    this.#readRetry?.cancel();
    await this.#storage[Symbol.asyncDispose]();
  }

  /** Whether a message of `size` bytes can be appended; chooses the QoS 0 messages that go for it. */
  #makeRoom(size: number): boolean {
    const { bytes: stored, qos0Bytes } = this.#storage.usage;
    const bytes = stored + (this.#running?.bytes ?? 0) + this.#queue.growth;
    const decision = decide({ bytes, qos0Bytes, maxBytes: this.#maxBytes }, size);
    if (typeof decision === "string") return decision === "accept";
    const chosen = chooseEvictions(
      (after, limit) => this.#storage.readQos0(after, limit),
      decision.evict,
      (seq) => this.#isSpokenFor(seq),
    );
    if (chosen !== undefined) this.#queue.evict(chosen);
    return chosen !== undefined;
  }

  #isSpokenFor(seq: number): boolean {
    return this.#taken.has(seq) || this.#queue.isGoing(seq) ||
      (this.#running?.evictions.has(seq) ?? false);
  }

  #countExpired(expired: number): void {
    this.#expired += expired;
    this.#log.warn("messages expired in the spool and are not sent", { expired });
  }

  /** @param what Without the new messages when these could not be stored. */
  #commit(what: "everything" | "the rest" = "everything"): void {
    this.#isDue = this.#running !== undefined;
    const batch = this.#isDue ? undefined : this.#queue.take(what);
    if (batch === undefined) return;
    this.#running = batch;
    if (batch.append.length > 0) this.#fault?.("before commit");
    if (batch.settled.length > 0) this.#fault?.("before remove");
    const started = this.#clock.now();
    whenDone(
      () => this.#storage.commit(batch),
      (seqs) => {
        this.#queue.took(this.#clock.now() - started);
        this.#onCommitted(batch, seqs);
      },
      (error) => this.#onCommitFailed(batch, error),
    );
  }

  #onCommitted(batch: Batch, seqs: readonly number[]): void {
    const { append, settled, evictions, release, dones } = batch;
    if (append.length > 0) this.#fault?.("after commit");
    if (settled.length > 0) this.#fault?.("after remove");
    if (append.length > 0 && this.#saidWriting !== undefined) {
      this.#log.info("the spool can be written again");
      this.#saidWriting = undefined;
    }
    this.#evicted += evictions.size;
    this.#queue.committed(batch);
    this.#finish();
    this.#ahead.drop(evictions);
    this.#ahead.stored(append.map((record, n) => ({
      ...record,
      seq: seqs[n]!,
      size: sizeOf(record.topic, record.payload.length),
    })));
    if (release.length > 0) this.#ahead.rewind(Math.min(...release) - 1);
    dones.forEach((done, n) => done(undefined, seqs[n]!));
    this.#next(append.length + release.length > 0);
  }

  #onCommitFailed(batch: Batch, error: StorageError): void {
    const { append, evictions, dones, remove, quarantine } = batch;
    this.#sayWriting(error);
    this.#finish();
    // They were passed over while they were to go.
    if (evictions.size > 0) this.#ahead.rewind(Math.min(...evictions.keys()) - 1);
    if (error.full) this.#refused += dones.length;
    else this.#failed += dones.length;
    const code = error.full ? BusErrorCode.NOMEM : BusErrorCode.FAILURE;
    for (const done of dones) done(new BusError(code, `Cannot store: ${error.message}`), -1);
    // What is left may need no more room than there is.
    const isRest = remove.length - evictions.size + quarantine.length > 0;
    if (append.length > 0 && isRest) this.#commit("the rest");
    else if (isRest) this.#queue.later(RETRY_MS);
    this.#next(evictions.size > 0);
  }

  /** A commit is over. */
  #finish(): void {
    this.#running = undefined;
    const { resolve } = this.#idle;
    this.#idle = Promise.withResolvers<void>();
    resolve();
  }

  /** Goes on after a commit. */
  #next(isMore: boolean): void {
    if (this.#isDue) this.#queue.soon();
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const done of waiting) done();
    if (isMore) this.onAvailable?.();
  }

  #sayWriting({ message }: StorageError): void {
    const now = this.#clock.now();
    if (this.#saidWriting !== undefined && now - this.#saidWriting < SAY_AGAIN_MS) return;
    this.#saidWriting = now;
    this.#log.error("cannot write to the spool", { error: message });
  }

  #onRead(): void {
    if (this.#saidReading !== undefined) this.#log.info("the spool can be read again");
    this.#saidReading = undefined;
    this.onAvailable?.();
  }

  #onReadFailed({ message }: StorageError): void {
    const now = this.#clock.now();
    if (this.#saidReading === undefined || now - this.#saidReading >= SAY_AGAIN_MS) {
      this.#log.error("cannot read the spool", { error: message });
      this.#saidReading = now;
    }
    this.#readRetry ??= this.#clock.after(RETRY_MS, () => {
      this.#readRetry = undefined;
      this.onAvailable?.();
    });
  }
}
