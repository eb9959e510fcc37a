import type { Clock } from "../base/clock.ts";
import type { Log } from "../base/log.ts";
import {
  asStorageError,
  DamageError,
  type Database,
  isFull,
  type NewRow,
  type Removed,
} from "./database.ts";
import { lockFolder, prepareFolder, spoolFiles, unusable } from "./files.ts";
import { Floor } from "./floor.ts";
import { cutReason } from "./policy.ts";
import { encodeRecord, type Meta, sizeOfBlob, sizeOfRecord, type StoredRecord } from "./record.ts";
import {
  buildFromRuins,
  openOrRecover,
  type RecoveryOptions,
  replaceDamaged,
  rewrite,
} from "./recovery.ts";
import { Reserve } from "./reserve.ts";
import {
  type Changes,
  type NewRecord,
  type Quarantined,
  type SpoolRecord,
  type SpoolStorage,
  StorageError,
  type Usage,
} from "./storage.ts";
import { KEPT, Tally } from "./tally.ts";

/** After a salvage failed, for a full disk say, the next one is not tried before this, in ms. */
const SALVAGE_PAUSE_MS = 10_000;

/** After a full disk, how long nothing is stored before it is tried again, in ms: each try may write the reserve. */
const GROW_PAUSE_MS = 1_000;

/** What is kept free for a full disk, in bytes: twice the log, and so what moving it into the database may need. */
export const RESERVE_BYTES = 1_048_576;

/** When a full disk holds up to so many bytes of messages, the spool's file is worth writing anew for the pages it frees. */
const COMPACT_BYTES = 262_144;
const COMPACT_PAGES = 64;

/** So many messages that were read are remembered at most, until they are removed: more than are ever in flight. */
const KNOWN_MESSAGES = 1_024;

/** What {@linkcode openDiskStorage} needs. */
export interface DiskStorageOptions {
  /** The folder; made if it is missing. */
  readonly dir: string;
  readonly clock: Clock;
  readonly log: Log;
  /** A number in [0, 1). */
  readonly random?: () => number;
  /** Room that is taken up in advance, so that a full disk can still be drained, in bytes. */
  readonly reserveBytes?: number;
}

/**
 * Opens the spool of a folder, and makes, finishes or salvages it as needed. Throws {@linkcode ExitError}: CANTCREATE when
 * another daemon has it or the folder cannot be used, CONFIG when a later version wrote it.
 */
export function openDiskStorage(options: DiskStorageOptions): SpoolStorage {
  const { dir, clock, log, random = Math.random, reserveBytes = RESERVE_BYTES } = options;
  const files = spoolFiles(dir);
  prepareFolder(files, log);
  const lock = lockFolder(files);
  try {
    const reserve = new Reserve(files.reserve, reserveBytes);
    return new SqliteStorage({ files, clock, log }, lock, reserve, random);
  } catch (error) {
    lock.close();
    throw error instanceof StorageError ? unusable(dir, error.message) : error;
  }
}

/** A spool in a SQLite database: write-ahead log, synced at each commit. */
class SqliteStorage implements SpoolStorage {
  readonly kind = "disk";
  onSalvaged: (() => void) | undefined;

  readonly #options: RecoveryOptions;
  readonly #lock: Deno.FsFile;
  readonly #reserve: Reserve;
  #growAfter = -Infinity;
  #db: Database;
  #meta: Meta;
  #nextSeq: number;
  #floor: Floor;
  /** The last message that was appended. */
  #lastSeq: number;
  /** Messages that were read, by `seq`: what is soon removed. */
  readonly #known = new Map<number, Removed>();
  #salvageAfter = -Infinity;
  #quarantined: readonly Quarantined[] = [];
  #closed = false;

  constructor(
    options: RecoveryOptions,
    lock: Deno.FsFile,
    reserve: Reserve,
    random: () => number,
  ) {
    this.#options = options;
    this.#lock = lock;
    this.#reserve = reserve;
    const { db, meta } = openOrRecover(options);
    this.#db = db;
    this.#meta = meta;
    this.#floor = new Floor(meta.floor);
    this.#lastSeq = meta.lastSeq;
    // A transaction that a crash cut off may have left messages in the log with the numbers that would come next.
    this.#nextSeq = meta.nextSeq + 1024 * (1 + Math.floor(random() * 1024));
    try {
      this.#guarded(() => this.#loadQuarantine());
      if (!reserve.restore()) {
        const error = reserve.problem;
        options.log.warn("the spool takes nothing: its disk has no room in reserve", { error });
      }
    } catch (error) {
      this.#db.close();
      throw error;
    }
  }

  get usage(): Usage {
    return this.#meta;
  }

  commit(changes: Changes): number[] {
    const grows = changes.append.length > 0;
    return this.#guarded(() => this.#withRoom(grows, () => this.#commit(changes)));
  }

  read(afterSeq: number, limit: number, maxBytes: number): SpoolRecord[] {
    return this.#guarded(() => {
      const found: SpoolRecord[] = [];
      let bytes = 0;
      let last = afterSeq;
      this.#db.read(afterSeq, limit, (record) => {
        if (record.seq <= last) throw new DamageError("messages are out of order");
        last = record.seq;
        const size = sizeOfBlob(record.length);
        bytes += size;
        if (found.length > 0 && bytes > maxBytes) return false;
        found.push(asSpoolRecord(record, size));
        this.#remember(record);
        return true;
      });
      return found;
    });
  }

  readQos0(afterSeq: number, limit: number): { seq: number; size: number }[] {
    return this.#guarded(() =>
      this.#db.qos0After(afterSeq, limit).map((seq) => {
        const record = this.#db.get(seq);
        if (record?.qos !== 0) throw new DamageError("the index names a wrong message");
        return { seq, size: sizeOfBlob(record.length) };
      })
    );
  }

  oldestAcceptedAt(): number | undefined {
    return this.#guarded(() => this.#db.first()?.acceptedAt);
  }

  quarantine(seq: number, reason: string): void {
    this.#guarded(() => this.#withRoom(false, () => this.#quarantine(seq, cutReason(reason))));
  }

  release(seqs: readonly number[]): number {
    const wanted = new Set(seqs);
    return this.#guarded(() => {
      const kept = [...this.#db.quarantine()].filter(({ seq }) => wanted.has(seq));
      this.#withRoom(
        true,
        () => this.#commit({ append: kept.map(asNewRecord), remove: kept.map(({ seq }) => seq) }),
      );
      return kept.length;
    });
  }

  quarantined(): readonly Quarantined[] {
    return this.#quarantined;
  }

  distrust(why: string): void {
    this.#guarded(() => this.#salvage(why));
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    try {
      this.#db.close();
    } catch (error) {
      this.#options.log.error("cannot close the spool", { error: String(error) });
    } finally {
      this.#lock.close();
    }
  }

  #commit({ append, remove }: Changes): number[] {
    const seqs = append.map(() => this.#nextSeq++);
    const lastSeq = seqs.at(-1) ?? this.#lastSeq;
    this.#change(lastSeq, (tally) => {
      this.#removeAll(remove, tally);
      let prev = this.#lastSeq;
      const rows = append.map((record, index): NewRow => {
        const seq = seqs[index]!;
        const place = { spoolId: this.#meta.spoolId, seq, prev, floor: this.#floor.value };
        const blob = encodeRecord(record, place);
        tally.add(record.qos, 1, sizeOfBlob(blob.length));
        prev = seq;
        return [seq, record.qos, blob];
      });
      this.#db.insert(rows);
    });
    this.#lastSeq = lastSeq;
    return seqs;
  }

  #quarantine(seq: number, reason: string): void {
    const record = this.#db.get(seq);
    if (record === undefined) return;
    const { qos, topic, spoolId, prev } = record;
    const place = { spoolId, seq, prev, floor: this.#floor.value };
    const blob = encodeRecord(asNewRecord(record), place, reason);
    this.#change(this.#lastSeq, (tally) => {
      const size = this.#removeOne(seq, tally);
      this.#db.insertQuarantine(seq, qos, blob);
      tally.add(KEPT, 1, size);
      tally.quarantined = [...tally.quarantined, { seq, topic, reason, size }]
        .sort((a, b) => a.seq - b.seq);
    });
  }

  #remember({ seq, qos, length, prev }: StoredRecord): void {
    if (this.#known.size >= KNOWN_MESSAGES) this.#known.clear();
    this.#known.set(seq, { qos, length, prev });
  }

  /** Removes messages: those that were read in runs of one statement, as they mostly come in order. */
  #removeAll(seqs: readonly number[], tally: Tally): void {
    for (let i = 0; i < seqs.length;) {
      const first = seqs[i]!;
      let next = first;
      for (let known; seqs[i] === next && (known = this.#known.get(next)) !== undefined; i++) {
        this.#known.delete(next);
        gone(next++, known, tally);
      }
      if (next > first) this.#db.removeRun(first, next - 1, next - first);
      else this.#removeOne(seqs[i++]!, tally);
    }
  }

  /** Removes a message, wherever it is, and returns what it counted for. */
  #removeOne(seq: number, tally: Tally): number {
    this.#known.delete(seq);
    const row = this.#db.remove(seq);
    if (row !== undefined) return gone(seq, row, tally);
    const kept = tally.quarantined.find((one) => one.seq === seq);
    if (kept === undefined) return 0;
    this.#db.removeQuarantine(seq);
    tally.add(KEPT, -1, -kept.size);
    tally.quarantined = tally.quarantined.filter((one) => one !== kept);
    return kept.size;
  }

  /** One transaction, with the counters; what is in memory follows when it is committed. */
  #change(lastSeq: number, change: (tally: Tally) => void): void {
    const tally = new Tally(this.#meta, this.#quarantined);
    const meta = this.#db.transaction(() => {
      change(tally);
      const { messages, bytes, qos0Bytes } = tally;
      const { spoolId, schema, commits } = this.#meta;
      const next: Meta = {
        spoolId,
        schema,
        nextSeq: this.#nextSeq,
        lastSeq,
        floor: tally.gone.size > 0 ? this.#floorAfter(tally) : this.#floor.value,
        commits: commits + 1,
        messages,
        bytes,
        qos0Bytes,
      };
      this.#db.setMeta(next);
      return next;
    });
    this.#meta = meta;
    this.#quarantined = tally.quarantined;
    this.#floor.commit(tally.gone, meta.floor);
  }

  #floorAfter({ gone, messages, quarantined }: Tally): number {
    const empty = messages === quarantined.length;
    return this.#floor.after(gone, this.#db.firstLink(), empty ? this.#nextSeq : undefined);
  }

  /** Reads what is kept in memory beside the counters. */
  #loadQuarantine(): void {
    this.#quarantined = [...this.#db.quarantine()].map(asQuarantined);
  }

  /** Runs a transaction; on a full disk once more with the reserve, which is for removals only. */
  #withRoom<T>(grows: boolean, run: () => T): T {
    if (grows && !this.#mayGrow()) throw new StorageError("disk is full");
    try {
      return run();
    } catch (caught) {
      const error = asStorageError(caught);
      if (!isFull(error)) throw error;
    }
    this.#reserve.release();
    this.#db.shrinkLog();
    if (!grows) return run();
    this.#growAfter = this.#options.clock.now() + GROW_PAUSE_MS;
    if (!this.#makeRoom()) throw new StorageError("disk is full");
    const result = run();
    this.#growAfter = -Infinity;
    return result;
  }

  /** Whether the reserve is there, or could be taken up again, and the disk was not found full a moment ago. */
  #mayGrow(): boolean {
    const now = this.#options.clock.now();
    if (now < this.#growAfter) return false;
    if (this.#reserve.held) return true;
    this.#growAfter = now + GROW_PAUSE_MS;
    this.#db.shrinkLog();
    if (!this.#makeRoom()) return false;
    this.#growAfter = -Infinity;
    return true;
  }

  /** Gives back what messages took which are gone, unless too much is left to be moved, and takes up the reserve. */
  #makeRoom(): boolean {
    if (this.#meta.bytes <= COMPACT_BYTES && this.#db.freePages() >= COMPACT_PAGES) {
      this.#db = rewrite(this.#options.files, this.#db, this.#meta).db;
    }
    return this.#reserve.restore();
  }

  /** Runs an operation; when it meets damage, salvages and runs it once more. Throws only {@linkcode StorageError}. */
  #guarded<T>(run: () => T): T {
    if (this.#closed) throw new StorageError("storage is closed");
    try {
      return run();
    } catch (caught) {
      const error = asStorageError(caught);
      if (!(error instanceof DamageError)) throw error;
      this.#salvage(error.message);
    }
    try {
      return run();
    } catch (caught) {
      const error = asStorageError(caught);
      throw error instanceof StorageError ? error : new StorageError(error.message);
    }
  }

  /** Replaces the damaged database while the daemon goes on. */
  #salvage(why: string): void {
    const { clock, files } = this.#options;
    if (clock.now() < this.#salvageAfter) throw new StorageError(`storage is damaged: ${why}`);
    this.#salvageAfter = clock.now() + SALVAGE_PAUSE_MS;
    const salvaged = buildFromRuins(files, {
      floor: this.#floor.value,
      nextSeq: this.#nextSeq,
      messages: this.#meta.messages,
      isGone: (seq) => this.#floor.isGone(seq),
    });
    this.#closeDamaged();
    const { db, meta } = replaceDamaged(this.#options, why, salvaged);
    this.#db = db;
    this.#meta = meta;
    this.#known.clear();
    this.#nextSeq = Math.max(this.#nextSeq, meta.nextSeq);
    this.#lastSeq = Math.max(this.#lastSeq, meta.lastSeq);
    this.#loadQuarantine();
    this.#salvageAfter = -Infinity;
    this.onSalvaged?.();
  }

  #closeDamaged(): void {
    try {
      this.#db.close();
    } catch (error) {
      // What matters is saved; the file itself is kept as it is.
      this.#options.log.warn("cannot close the damaged spool", { error: String(error) });
    }
  }
}

/** Counts a message that was removed, and returns what it counted for. */
function gone(seq: number, { qos, length, prev }: Removed, tally: Tally): number {
  const size = sizeOfBlob(length);
  tally.add(qos, -1, -size);
  tally.gone.set(seq, prev);
  return size;
}

function asNewRecord(record: StoredRecord): NewRecord {
  const { topic, payload, qos, acceptedAt, expiresAt } = record;
  return expiresAt === 0
    ? { topic, payload, qos, acceptedAt }
    : { topic, payload, qos, acceptedAt, expiresAt };
}

function asSpoolRecord(record: StoredRecord, size: number): SpoolRecord {
  return { ...asNewRecord(record), seq: record.seq, size };
}

function asQuarantined(record: StoredRecord): Quarantined {
  const { seq, topic, reason } = record;
  return { seq, topic, reason, size: sizeOfRecord(record) };
}
