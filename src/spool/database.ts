import { DatabaseSync, type StatementSync } from "node:sqlite";
import type { Bytes } from "../base/bytes.ts";
import { messageOf } from "../base/errors.ts";
import type { Link } from "./floor.ts";
import { APPLICATION_ID, judgeVersion, SCHEMA_VERSION } from "./header.ts";
import {
  decodeMeta,
  decodePrev,
  decodeRecord,
  encodeMeta,
  type Meta,
  PREV_SQL,
  type StoredRecord,
} from "./record.ts";
import { StorageError } from "./storage.ts";
import { PAGE_BYTES } from "./wal.ts";

/** The contents of the spool contradict themselves: it has to be salvaged. */
export class DamageError extends Error {
  override readonly name = "DamageError";
}

/** The spool was written by a later version of this program. */
export class NewerSchemaError extends Error {
  override readonly name = "NewerSchemaError";
}

/** Up to this size a spool is read as a whole when it is opened: it costs a few milliseconds. */
const VERIFY_PAGES = 1024;

/** When the log is moved into the database, in pages: a log that is short leaves a full disk a way out. */
const LOG_PAGES = 128;

/** Messages that are read at once: few, as each can be as long as AWS IoT Core allows, and not all may be wanted. */
const READ_ROWS = 8;

/** Every table has the same shape, so that a row is found without knowing where it was. */
const SCHEMA: readonly (readonly [string, string])[] = [
  ["message", table("message")],
  ["quarantine", table("quarantine")],
  ["meta", table("meta")],
  ["message_qos0", "CREATE INDEX message_qos0 ON message (seq) WHERE qos = 0"],
];

function table(name: string): string {
  return `CREATE TABLE ${name} (seq INTEGER PRIMARY KEY, qos INTEGER NOT NULL, record BLOB NOT NULL)`;
}

/** Messages of SQLite that mean damage rather than a disk that does not do what it should. */
const DAMAGE =
  /malformed|not a database|corrupt|no such (table|column|index)|constraint failed|too large to be represented|syntax error|unsupported file format/;

/** Whether a storage failed for want of room. */
export function isFull(error: Error): boolean {
  return error instanceof StorageError && /disk is full/.test(error.message);
}

/** Turns what SQLite threw into a {@linkcode DamageError} or a {@linkcode StorageError}. */
export function asStorageError(error: unknown): Error {
  if (
    error instanceof StorageError || error instanceof DamageError ||
    error instanceof NewerSchemaError
  ) return error;
  const text = messageOf(error);
  return DAMAGE.test(text) ? new DamageError(text) : new StorageError(text, { cause: error });
}

/** Messages that one statement adds: the statement itself costs as much as a message. */
const INSERT_ROWS = 8;

/** A new row of the messages: `seq`, `qos`, `record`. */
export type NewRow = readonly [number, number, Bytes];

/** A row of the tables. */
interface Row {
  readonly seq: number;
  readonly record: Bytes;
}

/** A message that was removed. */
export interface Removed {
  readonly qos: number;
  /** Of its blob, in bytes. */
  readonly length: number;
  readonly prev: number;
}

/** One open database with its statements. Methods throw what {@linkcode asStorageError} makes of SQLite's errors. */
export class Database {
  readonly #db: DatabaseSync;
  readonly #begin: StatementSync;
  readonly #commit: StatementSync;
  readonly #rollback: StatementSync;
  readonly #insert: StatementSync;
  readonly #insertMany: StatementSync;
  readonly #remove: StatementSync;
  readonly #removeRun: StatementSync;
  readonly #read: StatementSync;
  readonly #readQos0: StatementSync;
  readonly #firstLink: StatementSync;
  readonly #setMeta: StatementSync;
  readonly #insertQuarantine: StatementSync;
  readonly #removeQuarantine: StatementSync;

  private constructor(db: DatabaseSync) {
    this.#db = db;
    this.#begin = db.prepare("BEGIN IMMEDIATE");
    this.#commit = db.prepare("COMMIT");
    this.#rollback = db.prepare("ROLLBACK");
    const insert = "INSERT INTO message (seq, qos, record) VALUES (?, ?, ?)";
    this.#insert = db.prepare(insert);
    this.#insertMany = db.prepare(insert + ", (?, ?, ?)".repeat(INSERT_ROWS - 1));
    this.#remove = db.prepare(
      `DELETE FROM message WHERE seq = ? RETURNING qos, length(record) AS n, ${PREV_SQL} AS prev`,
    );
    this.#removeRun = db.prepare("DELETE FROM message WHERE seq BETWEEN ? AND ?");
    this.#read = db.prepare("SELECT seq, record FROM message WHERE seq > ? ORDER BY seq LIMIT ?");
    this.#readQos0 = db.prepare(
      "SELECT seq FROM message INDEXED BY message_qos0 WHERE qos = 0 AND seq > ? ORDER BY seq LIMIT ?",
    );
    this.#firstLink = db.prepare(
      `SELECT seq, ${PREV_SQL} AS prev FROM message ORDER BY seq LIMIT 1`,
    );
    this.#setMeta = db.prepare("UPDATE meta SET record = ? WHERE seq = 1");
    this.#insertQuarantine = db.prepare(
      "INSERT INTO quarantine (seq, qos, record) VALUES (?, ?, ?)",
    );
    this.#removeQuarantine = db.prepare("DELETE FROM quarantine WHERE seq = ?");
  }

  /**
   * Opens a spool and its counters. The file exists and nobody else uses it. When it is damaged, `beforeClose` is called
   * first: closing moves the write-ahead log into the database, and so changes what a salvage reads.
   */
  static open(path: string, beforeClose: () => void): { db: Database; meta: Meta } {
    return opening(path, beforeClose, (db) => {
      db.exec("PRAGMA locking_mode = EXCLUSIVE");
      const version = judgeVersion(Number(valueOf(db, "PRAGMA user_version")));
      if (version.is === "newer") {
        throw new NewerSchemaError(
          `schema must be at most ${SCHEMA_VERSION}, got ${version.version}`,
        );
      }
      if (version.is === "damaged") throw new DamageError(version.why);
      checkSchema(db);
      db.exec(`PRAGMA synchronous = FULL; PRAGMA cell_size_check = ON;
        PRAGMA wal_autocheckpoint = ${LOG_PAGES}`);
      const database = new Database(db);
      const meta = database.#readMeta();
      database.#verify(meta);
      return { db: database, meta };
    });
  }

  /** Makes the tables in an empty file, without any care for crashes: for files that get their name afterwards. */
  static create(path: string): Database {
    return opening(path, () => {}, (db) => {
      db.exec(`PRAGMA page_size = ${PAGE_BYTES}; PRAGMA locking_mode = EXCLUSIVE;
        PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;
        PRAGMA application_id = ${APPLICATION_ID}; PRAGMA user_version = ${SCHEMA_VERSION}`);
      for (const [, sql] of SCHEMA) db.exec(sql);
      db.exec("INSERT INTO meta (seq, qos, record) VALUES (1, 0, x'')");
      return new Database(db);
    });
  }

  /** Ends {@linkcode create}: what is opened next uses a write-ahead log. */
  finish(): void {
    guarded(() => {
      this.#db.exec("PRAGMA journal_mode = WAL");
      this.#db.close();
    });
  }

  /** Runs `change` in a transaction: all of it or nothing. */
  transaction<T>(change: () => T): T {
    return guarded(() => {
      this.#begin.run();
      try {
        const result = change();
        this.#commit.run();
        return result;
      } catch (error) {
        this.#rollBack();
        throw error;
      }
    });
  }

  /** Adds messages. */
  insert(rows: readonly NewRow[]): void {
    let done = 0;
    for (; done + INSERT_ROWS <= rows.length; done += INSERT_ROWS) {
      this.#insertMany.run(...rows.slice(done, done + INSERT_ROWS).flat());
    }
    for (const row of rows.slice(done)) this.#insert.run(...row);
  }

  /** Removes a message and says what it was, or `undefined` when there is none. */
  remove(seq: number): Removed | undefined {
    const row = this.#remove.get(seq);
    if (row === undefined) return undefined;
    const { qos, n, prev } = row;
    return { qos: Number(qos), length: Number(n), prev: prevOf(prev) };
  }

  /** Removes all messages from one number to another, at once and undescribed; they must be so many. */
  removeRun(first: number, last: number, count: number): void {
    const { changes } = this.#removeRun.run(first, last);
    if (Number(changes) !== count) throw new DamageError("messages that were read are missing");
  }

  /** Calls `visit` with the messages after `afterSeq` in order, until it returns `false` or there were `limit`. */
  read(afterSeq: number, limit: number, visit: (record: StoredRecord) => boolean): void {
    guarded(() => {
      let last = afterSeq;
      for (let left = limit; left > 0; left -= READ_ROWS) {
        // Not `iterate`: each of its iterators leaves kilobytes behind that only a full garbage collection finds.
        const rows = this.#read.all(last, Math.min(left, READ_ROWS));
        for (const row of rows) {
          const record = decodeRow(row);
          last = record.seq;
          if (!visit(record)) return;
        }
        if (rows.length < READ_ROWS) return;
      }
    });
  }

  /** The oldest message, without its contents. */
  firstLink(): Link | undefined {
    return guarded(() => {
      const row = this.#firstLink.get();
      return row === undefined ? undefined : { seq: Number(row.seq), prev: prevOf(row.prev) };
    });
  }

  /** The oldest message. */
  first(): StoredRecord | undefined {
    return guarded(() => {
      const row = this.#read.get(0, 1);
      return row === undefined ? undefined : decodeRow(row);
    });
  }

  /** One message. */
  get(seq: number): StoredRecord | undefined {
    return guarded(() => {
      const row = this.#read.get(seq - 1, 1);
      const record = row === undefined ? undefined : decodeRow(row);
      return record?.seq === seq ? record : undefined;
    });
  }

  /** Seqs of QoS 0 messages after `afterSeq`, oldest first. */
  qos0After(afterSeq: number, limit: number): number[] {
    return guarded(() => this.#readQos0.all(afterSeq, limit).map((row) => Number(row.seq)));
  }

  /** Adds a message to the quarantine. */
  insertQuarantine(seq: number, qos: number, blob: Bytes): void {
    this.#insertQuarantine.run(seq, qos, blob);
  }

  /** Removes a message from the quarantine. */
  removeQuarantine(seq: number): void {
    this.#removeQuarantine.run(seq);
  }

  /** Everything in quarantine, oldest first. */
  *quarantine(): Generator<StoredRecord> {
    for (const row of this.#db.prepare("SELECT seq, record FROM quarantine").iterate()) {
      yield decodeRow(row);
    }
  }

  /** Writes the counters. */
  setMeta(meta: Meta): void {
    this.#setMeta.run(encodeMeta(meta));
  }

  /** Moves the whole log into the database and gives its room free. */
  shrinkLog(): void {
    guarded(() => this.#db.exec("PRAGMA wal_checkpoint(TRUNCATE)"));
  }

  /** Pages of the file that hold nothing: it does not shrink by itself. */
  freePages(): number {
    return guarded(() => Number(valueOf(this.#db, "PRAGMA freelist_count")));
  }

  /** Copies everything but the counters into a database that was just made. */
  copyTo(draft: Database): void {
    guarded(() => {
      for (const name of ["message", "quarantine"]) {
        const insert = draft.prepare(`INSERT INTO ${name} (seq, qos, record) VALUES (?, ?, ?)`);
        const rows = this.#db.prepare(`SELECT seq, qos, record FROM ${name} ORDER BY seq`);
        for (const { seq, qos, record } of rows.iterate()) insert.run(seq!, qos!, record!);
      }
    });
  }

  /** Runs a statement of a salvage. */
  exec(sql: string): void {
    guarded(() => this.#db.exec(sql));
  }

  /** Prepares a statement of a salvage. */
  prepare(sql: string): StatementSync {
    return this.#db.prepare(sql);
  }

  /** Closes it, whatever state it is in. */
  close(): void {
    try {
      this.#db.close();
    } catch (error) {
      throw asStorageError(error);
    }
  }

  #readMeta(): Meta {
    const row = this.#db.prepare("SELECT record FROM meta WHERE seq = 1").get();
    const meta = row?.record instanceof Uint8Array ? decodeMeta(row.record as Bytes) : undefined;
    if (meta === undefined) throw new DamageError("the counters cannot be read");
    return meta;
  }

  /** Reads a small spool as a whole: it costs a few milliseconds and finds damage before anything is written. */
  #verify(meta: Meta): void {
    if (Number(valueOf(this.#db, "PRAGMA page_count")) > VERIFY_PAGES) return;
    const verdict = valueOf(this.#db, "PRAGMA integrity_check(1)");
    if (verdict !== "ok") throw new DamageError(String(verdict));
    let messages = 0;
    let last = 0;
    for (const row of this.#read.iterate(0, -1)) {
      last = decodeRow(row).seq;
      messages++;
    }
    for (const { seq } of this.quarantine()) {
      last = Math.max(last, seq);
      messages++;
    }
    if (messages !== meta.messages || last >= meta.nextSeq) {
      throw new DamageError(`${meta.messages} messages expected, ${messages} found`);
    }
  }

  /** SQLite has rolled back by itself after some errors; then there is nothing to do. */
  #rollBack(): void {
    try {
      this.#rollback.run();
    } catch (error) {
      if (!/no transaction is active/.test(messageOf(error))) throw error;
    }
  }
}

/** Opens a file and closes it again when `setUp` fails. */
function opening<T>(path: string, beforeClose: () => void, setUp: (db: DatabaseSync) => T): T {
  return guarded(() => {
    const db = new DatabaseSync(path);
    try {
      return setUp(db);
    } catch (error) {
      const known = asStorageError(error);
      try {
        if (known instanceof DamageError) beforeClose();
      } finally {
        db.close();
      }
      throw known;
    }
  });
}

/** A schema that differs in a letter may still be one to SQLite, but not ours. */
function checkSchema(db: DatabaseSync): void {
  const rows = db.prepare("SELECT name, sql FROM sqlite_schema ORDER BY rowid").all();
  const same = rows.length === SCHEMA.length &&
    rows.every((row, i) => row.name === SCHEMA[i]![0] && row.sql === SCHEMA[i]![1]);
  if (!same) throw new DamageError("the schema is not that of a spool");
}

function valueOf(db: DatabaseSync, sql: string): unknown {
  return Object.values(db.prepare(sql).get() ?? {})[0];
}

function prevOf(part: unknown): number {
  if (!(part instanceof Uint8Array) || part.length !== 8) throw new DamageError("a message is cut");
  return decodePrev(part as Bytes);
}

function decodeRow(row: object): StoredRecord {
  const { seq, record: blob } = row as Row;
  const record = blob instanceof Uint8Array ? decodeRecord(blob) : undefined;
  if (record === undefined || record.seq !== seq) {
    throw new DamageError("a message does not match its checksum");
  }
  return record;
}

function guarded<T>(run: () => T): T {
  try {
    return run();
  } catch (error) {
    throw asStorageError(error);
  }
}
