import type { Clock, Timer } from "../base/clock.ts";
import { BusError, Code, messageOf } from "../base/errors.ts";
import type { FaultHook } from "../base/fault.ts";
import type { Log } from "../base/log.ts";
import { Batch } from "./batch.ts";
import { chooseEvictions } from "./eviction.ts";
import { GroupTimer, systemTurn } from "./group_timer.ts";
import { decide, isExpired, sizeOf } from "./policy.ts";
import { Removals } from "./removals.ts";
import type { AppendDone, SpoolMessage, SpoolOptions, SpoolStats } from "./spool_types.ts";
import { type SpoolRecord, type SpoolStorage, StorageError } from "./storage.ts";

export type { AppendDone, SpoolMessage, SpoolOptions, SpoolStats } from "./spool_types.ts";

/** What waits for a commit before it is committed at once, in bytes. */
export const MAX_GROUP_BYTES = 262_144;

/** The part of the spool's bytes that the quarantine may take. */
export const QUARANTINE_SHARE = 0.25;

/** How long after a storage error the removals are tried again, and reading is, in ms. */
const RETRY_MS = 1_000;

/**
 * The spool: accepts messages once they are stored, hands them out in the order of acceptance, and forgets them when they
 * are settled. Appends and removals of one turn, or of at most 5 ms, share one transaction and so one sync.
 */
export class Spool {
  /** Called when something can be taken again after {@linkcode take} gave nothing, or was appended. */
  onAvailable: (() => void) | undefined;

  readonly #storage: SpoolStorage;
  readonly #maxBytes: number;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #group: GroupTimer;
  readonly #fault: FaultHook | undefined;
  /** Storage in memory has nothing to gain from groups. */
  readonly #grouped: boolean;

  #batch = new Batch();
  readonly #removals = new Removals();

  /** Everything up to here was taken, is being removed, or is withheld. */
  #cursor = 0;
  /** What is in flight: seq -> size. */
  readonly #taken = new Map<number, number>();
  /** Could not be put in quarantine: not handed out by this process all the same. */
  readonly #withheld = new Map<number, string>();

  #retryTimer: Timer | undefined;
  #storing = true;
  #reading = true;
  #closed = false;

  #evicted = 0;
  #expired = 0;
  #refused = 0;
  #failed = 0;

  constructor(options: SpoolOptions) {
    this.#storage = options.storage;
    this.#maxBytes = options.maxBytes;
    this.#clock = options.clock;
    this.#log = options.log;
    this.#fault = options.fault;
    this.#group = new GroupTimer(options.clock, options.turn ?? systemTurn, () => this.#commit());
    this.#grouped = options.storage.kind === "disk";
    this.#storage.onSalvaged = () => this.#afterSalvage();
  }

  /** Stores a message and calls `done`: at once with the memory spool, else after the commit that holds it. */
  append(message: SpoolMessage, done: AppendDone): void {
    if (this.#closed) return done(new BusError(Code.FAILURE, "Cannot store: spool is closed"), -1);
    this.#fault?.("before append");
    const { topic, payload, qos, messageExpiry } = message;
    const size = sizeOf(topic, payload.length);
    if (!this.#makeRoom(size)) {
      this.#refused++;
      const text = `Cannot store: spool must hold ${this.#maxBytes} bytes at most`;
      return done(new BusError(Code.NOMEM, text), -1);
    }
    const acceptedAt = this.#clock.wallNow();
    const record = { topic, payload: payload.slice(), qos, acceptedAt };
    const expiring = messageExpiry === undefined
      ? record
      : { ...record, expiresAt: acceptedAt + messageExpiry * 1000 };
    this.#batch.add(expiring, size, done);
    this.#fault?.("after append");
    if (this.#batch.bytes >= MAX_GROUP_BYTES) this.#commit();
    else this.#schedule();
  }

  /** Like {@linkcode append}, as a promise of the `seq`; rejects with a {@linkcode BusError}. */
  appended(message: SpoolMessage): Promise<number> {
    return new Promise((resolve, reject) => {
      this.append(message, (error, seq) => error === undefined ? resolve(seq) : reject(error));
    });
  }

  /**
   * The next messages, oldest first: up to `limit`, and `maxBytes` but at least one. Each is handed out once until
   * {@linkcode rewind}. Nothing when there is none, or when the storage cannot be read: `onAvailable` follows.
   */
  take(limit: number, maxBytes: number): SpoolRecord[] {
    if (this.#closed || limit < 1) return [];
    try {
      const records = this.#takeFresh(limit, maxBytes);
      if (!this.#reading) this.#log.info("the spool can be read again");
      this.#reading = true;
      return records;
    } catch (error) {
      if (!(error instanceof StorageError)) throw error;
      if (this.#reading) this.#log.error("cannot read the spool", { error: error.message });
      this.#reading = false;
      this.#retryLater();
      return [];
    }
  }

  /** Whether a message that was taken has expired since; then it is removed, counted and logged like any other. */
  dropExpired(record: SpoolRecord): boolean {
    const { expiresAt } = record;
    if (expiresAt === undefined || !isExpired(expiresAt, this.#clock.wallNow())) return false;
    if (!this.#taken.delete(record.seq)) return true;
    this.#removals.add(record.seq, record.size);
    this.#countExpired(1);
    return true;
  }

  /** Hands everything out again that was taken and not settled, oldest first, before anything new. */
  rewind(): void {
    this.#cursor = 0;
    this.#taken.clear();
  }

  /**
   * Removes a message that was taken: the broker has it. `done` is called when that is committed, so that at most what is
   * in flight until then is sent again after a crash; also when it cannot be committed, which is tried again.
   */
  settled(seq: number, done?: () => void): void {
    const size = this.#taken.get(seq);
    if (size === undefined || this.#closed) return done?.();
    this.#taken.delete(seq);
    this.#removals.add(seq, size, done);
    this.#schedule();
  }

  /**
   * Keeps a message that was taken, without handing it out again; `false`: quarantine is full, and the message is removed as if it were
   * settled, so that it takes no room from others.
   */
  quarantine(seq: number, reason: string): boolean {
    const size = this.#taken.get(seq) ?? 0;
    const kept = this.#storage.quarantined().reduce((sum, one) => sum + one.size, 0);
    if (kept + size > this.#maxBytes * QUARANTINE_SHARE) {
      this.settled(seq);
      return false;
    }
    this.#taken.delete(seq);
    this.#withheld.set(seq, reason);
    this.#commit();
    return true;
  }

  /**
   * Hands messages of the quarantine out again. Returns how many there were.
   *
   * @throws {BusError} FAILURE when the storage fails: they stay in quarantine
   */
  release(seqs: readonly number[]): number {
    const released = this.#orFailure(() => this.#storage.release(seqs));
    if (released > 0) this.onAvailable?.();
    return released;
  }

  /**
   * Removes messages of the quarantine for good. Returns how many there were.
   *
   * @throws {BusError} FAILURE when the storage fails: they stay in quarantine
   */
  discard(seqs: readonly number[]): number {
    const wanted = new Set(seqs);
    const remove = this.#storage.quarantined().map(({ seq }) => seq).filter((seq) =>
      wanted.has(seq)
    );
    if (remove.length > 0) this.#orFailure(() => this.#storage.commit({ append: [], remove }));
    return remove.length;
  }

  /** What `status` shows. */
  stats(): SpoolStats {
    const { kind, usage } = this.#storage;
    return {
      storage: kind,
      messages: usage.messages,
      bytes: usage.bytes,
      maxBytes: this.#maxBytes,
      oldestAgeMs: this.#oldestAge(),
      evicted: this.#evicted,
      expired: this.#expired,
      refused: this.#refused,
      failed: this.#failed,
      quarantined: this.#storage.quarantined(),
    };
  }

  /** Commits what waits. Resolves when everything appended before was answered. */
  flush(): Promise<void> {
    this.#commit();
    return Promise.resolve();
  }

  /** Commits what waits and closes the storage. */
  close(): Promise<void> {
    if (this.#closed) return Promise.resolve();
    this.#commit();
    this.#closed = true;
    this.#group.cancel();
    this.#retryTimer?.cancel();
    this.#storage.close();
    return Promise.resolve();
  }

  /** Bytes that will be in use when the present batch is committed. */
  #bytesAhead(): number {
    const { bytes, evictedBytes } = this.#batch;
    return this.#storage.usage.bytes + bytes - evictedBytes - this.#removals.bytes;
  }

  /** Whether a message of `size` bytes can be appended; chooses the QoS 0 messages that go for it. */
  #makeRoom(size: number): boolean {
    const maxBytes = this.#maxBytes;
    let bytes = this.#bytesAhead();
    if (bytes + size <= maxBytes) return true;
    // Only what is committed can be evicted, and what was settled is room only then.
    this.#commit();
    bytes = this.#bytesAhead();
    const decision = decide(
      { bytes, qos0Bytes: this.#storage.usage.qos0Bytes, maxBytes },
      size,
    );
    if (decision === "accept") return true;
    return decision !== "refuse" && this.#evict(decision.evict);
  }

  /** Chooses QoS 0 messages that are not in flight to go with the next commit; `false` when they are not enough. */
  #evict(needed: number): boolean {
    try {
      const chosen = chooseEvictions(this.#storage, needed, (seq) => this.#isSpokenFor(seq));
      if (chosen === undefined) return false;
      this.#batch.evict(chosen);
      return true;
    } catch (error) {
      if (!(error instanceof StorageError)) throw error;
      this.#log.error("cannot evict from the spool", { error: error.message });
      return false;
    }
  }

  #isSpokenFor(seq: number): boolean {
    return this.#taken.has(seq) || this.#isGoing(seq);
  }

  /** Whether a stored message is not to be handed out. */
  #isGoing(seq: number): boolean {
    return this.#removals.has(seq) || this.#batch.evictions.has(seq) || this.#withheld.has(seq);
  }

  #takeFresh(limit: number, maxBytes: number): SpoolRecord[] {
    const wallNow = this.#clock.wallNow();
    let distrusted = false;
    while (true) {
      const records = this.#storage.read(this.#cursor, limit, maxBytes);
      if (records.length === 0) {
        const lost = this.#unaccountedFor();
        if (lost <= 0 || distrusted) return records;
        distrusted = true;
        this.#storage.distrust(`${lost} messages cannot be found`);
        continue;
      }
      const fresh = this.#advance(records, wallNow);
      if (fresh.length > 0) return fresh;
    }
  }

  /** Moves the cursor over records and keeps those to hand out. */
  #advance(records: SpoolRecord[], wallNow: number): SpoolRecord[] {
    let expired = 0;
    const fresh = records.filter((record) => {
      this.#cursor = record.seq;
      if (this.#isSpokenFor(record.seq)) return false;
      if (isExpired(record.expiresAt, wallNow)) {
        this.#removals.add(record.seq, record.size);
        expired++;
        return false;
      }
      this.#taken.set(record.seq, record.size);
      return true;
    });
    if (expired > 0) this.#countExpired(expired);
    return fresh;
  }

  #countExpired(expired: number): void {
    this.#expired += expired;
    this.#log.warn("messages expired in the spool and are not sent", { expired });
    this.#schedule();
  }

  /** How many messages the storage counts that were neither handed out nor are in quarantine, at the end of reading. */
  #unaccountedFor(): number {
    const stored = this.#storage.usage.messages - this.#storage.quarantined().length;
    let going = 0;
    for (const seq of this.#batch.evictions.keys()) if (!this.#taken.has(seq)) going++;
    return stored - this.#taken.size - this.#removals.size - this.#withheld.size - going;
  }

  #schedule(): void {
    if (this.#grouped) this.#group.schedule();
    else this.#commit();
  }

  #commit(): void {
    this.#group.cancel();
    if (this.#closed) return;
    this.#commitBatch();
    this.#commitQuarantine();
  }

  #commitBatch(): void {
    const { records: append, dones, evictions } = this.#batch;
    if (dones.length === 0 && this.#removals.size === 0) return;
    const removing = this.#removals.seqs();
    this.#batch = new Batch();
    const started = this.#clock.now();
    if (append.length > 0) this.#fault?.("before commit");
    if (removing.length > 0) this.#fault?.("before remove");
    let seqs: number[] = [];
    const error = this.#try(() => {
      seqs = this.#storage.commit({ append, remove: [...removing, ...evictions.keys()] });
      this.#evicted += evictions.size;
    });
    this.#group.took(started);
    if (error === undefined) this.#wrote(append.length > 0, removing);
    else this.#failedToWrite(error, append.length > 0, removing);
    this.#answer(dones, seqs, error);
  }

  #wrote(appended: boolean, removed: readonly number[]): void {
    if (appended) this.#fault?.("after commit");
    if (removed.length > 0) this.#fault?.("after remove");
    if (appended && !this.#storing) this.#log.info("the spool can be written again");
    this.#storing ||= appended;
    this.#removals.committed(removed);
  }

  #failedToWrite(error: StorageError, appending: boolean, removing: readonly number[]): void {
    if (this.#storing) this.#log.error("cannot write to the spool", { error: error.message });
    this.#storing = false;
    if (removing.length === 0) return;
    // A removal alone may need no more room than there is.
    const alone = (): unknown => this.#storage.commit({ append: [], remove: removing });
    if (appending && this.#try(alone) === undefined) return this.#removals.committed(removing);
    this.#retryLater();
    this.#removals.postponed();
  }

  #orFailure<T>(run: () => T): T {
    try {
      return run();
    } catch (error) {
      if (!(error instanceof StorageError)) throw error;
      throw new BusError(Code.FAILURE, `Cannot change the quarantine: ${error.message}`);
    }
  }

  /** Runs what may fail because of the storage, and returns that error. */
  #try(run: () => void): StorageError | undefined {
    try {
      run();
      return undefined;
    } catch (error) {
      if (error instanceof StorageError) return error;
      throw error;
    }
  }

  #answer(dones: AppendDone[], seqs: number[], error: StorageError | undefined): void {
    if (error === undefined) {
      for (let i = 0; i < dones.length; i++) dones[i]!(undefined, seqs[i]!);
      if (dones.length > 0) this.onAvailable?.();
      return;
    }
    this.#failed += dones.length;
    for (const done of dones) {
      done(new BusError(Code.FAILURE, `Cannot store the message: ${messageOf(error)}`), -1);
    }
  }

  #commitQuarantine(): void {
    for (const [seq, reason] of this.#withheld) {
      const error = this.#try(() => this.#storage.quarantine(seq, reason));
      if (error !== undefined) return this.#retryLater();
      this.#withheld.delete(seq);
    }
  }

  #retryLater(): void {
    this.#retryTimer ??= this.#clock.after(RETRY_MS, () => {
      this.#retryTimer = undefined;
      this.#commit();
      this.onAvailable?.();
    });
  }

  /** What could not be found behind the cursor may be back; what is in flight is not handed out again. */
  #afterSalvage(): void {
    this.#cursor = 0;
    this.#retryLater();
  }

  #oldestAge(): number {
    try {
      const oldest = this.#storage.oldestAcceptedAt();
      return oldest === undefined ? 0 : Math.max(0, this.#clock.wallNow() - oldest);
    } catch (error) {
      if (!(error instanceof StorageError)) throw error;
      this.#retryLater();
      return 0;
    }
  }
}
