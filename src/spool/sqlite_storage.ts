import type { Clock } from "../base/clock.ts";
import type { Log } from "../base/log.ts";
import { asStorageError, DamageError, type Database } from "./database.ts";
import { lockFolder, prepareFolder, spoolFiles, unusable } from "./files.ts";
import { cutReason } from "./policy.ts";
import { encodeRecord, type Meta, sizeOfBlob, sizeOfRecord, type StoredRecord } from "./record.ts";
import { buildFromRuins, openOrRecover, type RecoveryOptions, replaceDamaged } from "./recovery.ts";
import {
  type Changes,
  type NewRecord,
  type Quarantined,
  type SpoolRecord,
  type SpoolStorage,
  StorageError,
  type Usage,
} from "./storage.ts";

/** After a salvage failed, for a full disk say, the next one is not tried before this, in ms. */
const SALVAGE_PAUSE_MS = 10_000;

/** What {@linkcode openDiskStorage} needs. */
export interface DiskStorageOptions {
  /** The folder; made if it is missing. */
  readonly dir: string;
  readonly clock: Clock;
  readonly log: Log;
  /** A number in [0, 1). */
  readonly random?: () => number;
}

/**
 * Opens the spool of a folder, and makes, finishes or salvages it as needed. Throws {@linkcode ExitError}: CANTCREATE when
 * another daemon has it or the folder cannot be used, CONFIG when a later version wrote it.
 */
export function openDiskStorage(options: DiskStorageOptions): SpoolStorage {
  const { dir, clock, log, random = Math.random } = options;
  const files = spoolFiles(dir);
  prepareFolder(files, log);
  const lock = lockFolder(files);
  try {
    return new SqliteStorage({ files, clock, log }, lock, random);
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
  #db: Database;
  #meta: Meta;
  #nextSeq: number;
  /** The oldest message, or what comes after the youngest. */
  #floor = 0;
  #salvageAfter = -Infinity;
  #quarantined: Quarantined[] = [];
  #closed = false;

  constructor(options: RecoveryOptions, lock: Deno.FsFile, random: () => number) {
    this.#options = options;
    this.#lock = lock;
    const { db, meta } = openOrRecover(options);
    this.#db = db;
    this.#meta = meta;
    // A transaction that a crash cut off may have left messages in the log with the numbers that would come next.
    this.#nextSeq = meta.nextSeq + 1024 * (1 + Math.floor(random() * 1024));
    try {
      this.#guarded(() => this.#load());
    } catch (error) {
      this.#db.close();
      throw error;
    }
  }

  get usage(): Usage {
    return this.#meta;
  }

  commit(changes: Changes): number[] {
    return this.#guarded(() => this.#commit(changes));
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
    this.#guarded(() => this.#quarantine(seq, cutReason(reason)));
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
      this.#options.log.error("Cannot close the spool", { error: String(error) });
    } finally {
      this.#lock.close();
    }
  }

  #commit({ append, remove }: Changes): number[] {
    const before = this.#meta;
    let { messages, bytes, qos0Bytes } = before;
    let removedKept = false;
    const floor = this.#floor;
    const seqs = append.map(() => this.#nextSeq++);
    const meta = this.#db.transaction(() => {
      for (const seq of remove) {
        const removed = this.#removeOne(seq);
        if (removed === undefined) continue;
        messages--;
        bytes -= removed.size;
        if (removed.kept) removedKept = true;
        else if (removed.qos === 0) qos0Bytes -= removed.size;
      }
      append.forEach((record, index) => {
        const size = this.#insert(record, seqs[index]!, floor);
        messages++;
        bytes += size;
        if (record.qos === 0) qos0Bytes += size;
      });
      return this.#writeMeta({ messages, bytes, qos0Bytes });
    });
    this.#meta = meta;
    if (remove.length > 0) this.#floor = this.#findFloor();
    else if (before.messages === 0 && seqs.length > 0) this.#floor = seqs[0]!;
    if (removedKept) {
      this.#quarantined = this.#quarantined.filter(({ seq }) => !remove.includes(seq));
    }
    return seqs;
  }

  #insert(record: NewRecord, seq: number, floor: number): number {
    const blob = encodeRecord(record, { spoolId: this.#meta.spoolId, seq, floor });
    this.#db.insert(seq, record.qos, blob);
    return sizeOfBlob(blob.length);
  }

  #removeOne(seq: number): { size: number; qos: number; kept: boolean } | undefined {
    const row = this.#db.remove(seq);
    if (row !== undefined) return { size: sizeOfBlob(row.n), qos: row.qos, kept: false };
    const kept = this.#quarantined.find((one) => one.seq === seq);
    if (kept === undefined) return undefined;
    this.#db.removeQuarantine(seq);
    return { size: kept.size, qos: 1, kept: true };
  }

  #quarantine(seq: number, reason: string): void {
    const record = this.#db.get(seq);
    if (record === undefined) return;
    const { spoolId } = this.#meta;
    const blob = encodeRecord(asNewRecord(record), { spoolId, seq, floor: this.#floor }, reason);
    const size = sizeOfBlob(record.length);
    const { messages, bytes, qos0Bytes } = this.#meta;
    this.#meta = this.#db.transaction(() => {
      this.#db.remove(seq);
      this.#db.insertQuarantine(seq, record.qos, blob);
      const left = record.qos === 0 ? qos0Bytes - size : qos0Bytes;
      return this.#writeMeta({ messages, bytes, qos0Bytes: left });
    });
    this.#floor = this.#findFloor();
    this.#quarantined = [...this.#quarantined, { seq, topic: record.topic, reason, size }]
      .sort((a, b) => a.seq - b.seq);
  }

  /** The floor that is written is the one of the commit before: frames of this one may come to nothing. */
  #writeMeta(usage: Usage): Meta {
    const { spoolId, schema, commits } = this.#meta;
    const meta = {
      spoolId,
      schema,
      nextSeq: this.#nextSeq,
      floor: this.#floor,
      commits: commits + 1,
      ...usage,
    };
    this.#db.setMeta(meta);
    return meta;
  }

  #findFloor(): number {
    return this.#db.firstSeq() ?? this.#nextSeq;
  }

  /** Reads what is kept in memory beside the counters. */
  #load(): void {
    this.#floor = this.#findFloor();
    this.#quarantined = [...this.#db.quarantine()].map(asQuarantined);
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
      floor: this.#floor,
      nextSeq: this.#nextSeq,
      messages: this.#meta.messages,
    });
    this.#closeDamaged();
    const { db, meta } = replaceDamaged(this.#options, why, salvaged);
    this.#db = db;
    this.#meta = meta;
    this.#nextSeq = Math.max(this.#nextSeq, meta.nextSeq);
    this.#load();
    this.#salvageAfter = -Infinity;
    this.onSalvaged?.();
  }

  #closeDamaged(): void {
    try {
      this.#db.close();
    } catch (error) {
      // What matters is saved; the file itself is kept as it is.
      this.#options.log.warn("Cannot close the damaged spool", { error: String(error) });
    }
  }
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
