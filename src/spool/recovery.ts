import type { Clock } from "../base/clock.ts";
import { Exit, ExitError, messageOf } from "../base/errors.ts";
import type { Log } from "../base/log.ts";
import {
  asStorageError,
  DamageError,
  Database,
  NewerSchemaError,
  type NewRow,
} from "./database.ts";
import {
  completeDraft,
  createPrivate,
  hasSpool,
  makePrivate,
  putInPlace,
  removePrivate,
  replaceByDraft,
  type SpoolFiles,
  unusable,
} from "./files.ts";
import { inspectHeader, SCHEMA_VERSION } from "./header.ts";
import { PageFiles } from "./pages.ts";
import { type Meta, sizeOfRecord } from "./record.ts";
import {
  type Carved,
  carveTail,
  type Known,
  newSpoolId,
  salvage,
  type Salvaged,
} from "./salvage.ts";
import { inspectWal } from "./wal.ts";

/** What opening and salvaging need. */
export interface RecoveryOptions {
  readonly files: SpoolFiles;
  readonly clock: Clock;
  readonly log: Log;
}

/** An open spool with its counters. */
export interface Opened {
  readonly db: Database;
  readonly meta: Meta;
}

/**
 * Opens the spool, whatever a crash or a broken disk left of it; makes it if there is none. Throws {@linkcode ExitError}:
 * CONFIG when a later version wrote it, CANTCREATE when the folder cannot be used.
 */
export function openOrRecover(options: RecoveryOptions): Opened {
  const { files, log } = options;
  try {
    const kept = putInPlace(files, options.clock.wallNow());
    if (kept !== undefined) log.warn("a salvage that was interrupted is finished", { kept });
    makePrivate(files);
    if (!hasSpool(files)) create(files);
    return openAsItIs(options);
  } catch (error) {
    if (error instanceof NewerSchemaError) {
      const text = `Cannot open the spool (--spool ${files.dir}): ${error.message}`;
      throw new ExitError(Exit.CONFIG, text);
    }
    throw error instanceof ExitError ? error : unusable(files.dir, messageOf(error));
  }
}

/** Saves what can be found in the files of the spool into a complete new one beside it. */
export function buildFromRuins(files: SpoolFiles, known: Known): Salvaged {
  try {
    using pages = new PageFiles(files.main);
    createPrivate(files.draft);
    const draft = Database.create(files.draft);
    let salvaged: Salvaged;
    try {
      salvaged = salvage(pages, draft, known);
    } catch (error) {
      draft.close();
      throw error;
    }
    draft.finish();
    completeDraft(files);
    return salvaged;
  } catch (error) {
    removePrivate(files.draft);
    throw asStorageError(error);
  }
}

/** Puts what {@linkcode buildFromRuins} made in the place of the damaged spool, of which nothing is open any more. */
export function replaceDamaged(options: RecoveryOptions, why: string, salvaged: Salvaged): Opened {
  const kept = putInPlace(options.files, options.clock.wallNow());
  const { saved, lost } = salvaged;
  options.log.error("the spool was damaged: what could be read was saved into a new one", {
    why,
    saved,
    lost: lost ?? "unknown",
    kept,
  });
  return openFile(options.files);
}

/**
 * Writes a spool anew without its free pages: SQLite's own VACUUM needs a permission to attach databases that a daemon does
 * not have. The log of `db` has to be empty; it is closed unless this throws.
 */
export function rewrite(files: SpoolFiles, db: Database, meta: Meta): Opened {
  try {
    createPrivate(files.draft);
    const draft = Database.create(files.draft);
    try {
      db.copyTo(draft);
      draft.setMeta(meta);
    } catch (error) {
      draft.close();
      throw error;
    }
    draft.finish();
  } catch (error) {
    removePrivate(files.draft);
    throw asStorageError(error);
  }
  // In this order the old one goes on being used should it not come to the new one.
  replaceByDraft(files);
  db.close();
  return openFile(files);
}

function create(files: SpoolFiles): void {
  createPrivate(files.draft);
  const db = Database.create(files.draft);
  const counters = {
    nextSeq: 1,
    lastSeq: 0,
    floor: 1,
    messages: 0,
    bytes: 0,
    qos0Bytes: 0,
    commits: 0,
  };
  db.setMeta({ spoolId: newSpoolId(), schema: SCHEMA_VERSION, ...counters });
  db.finish();
  completeDraft(files);
  putInPlace(files, 0);
}

/** Opens the spool if it is well; else replaces it. */
function openAsItIs(options: RecoveryOptions): Opened {
  const { files } = options;
  let salvaged: Salvaged | undefined;
  const rescue = (): void => {
    salvaged = buildFromRuins(files, { floor: 0, nextSeq: 1 });
  };
  try {
    const tail = inspectFiles(files);
    const opened = Database.open(files.main, rescue);
    return tail.length === 0 ? opened : adopt(opened, tail, options.log);
  } catch (error) {
    if (!(error instanceof DamageError)) throw error;
    if (salvaged === undefined) rescue();
    return replaceDamaged(options, error.message, salvaged!);
  }
}

/** Opens a spool that was just made. */
function openFile(files: SpoolFiles): Opened {
  return Database.open(files.main, () => {});
}

/**
 * Looks at the files as SQLite does not: throws {@linkcode DamageError} when it would lose or misread something, and
 * returns what follows the last commit that it reads.
 */
function inspectFiles(files: SpoolFiles): Carved[] {
  using pages = new PageFiles(files.main);
  const log = inspectWal(pages.log);
  const header = inspectHeader(pages.header(), pages.fileBytes, log.committedFrames > 0);
  if (header.is === "newer") {
    throw new NewerSchemaError(`schema must be at most ${SCHEMA_VERSION}, got ${header.version}`);
  }
  if (header.is === "damaged") throw new DamageError(header.why);
  if (log.state === "damaged") throw new DamageError("the write-ahead log has a wrong frame");
  return log.state === "doubtful" ? carveTail(pages, log.committedFrames) : [];
}

/** Takes in the messages of a last transaction that may have been committed before it was damaged. */
function adopt(opened: Opened, tail: Carved[], log: Log): Opened {
  const { db, meta } = opened;
  const fresh = tail.filter(([{ spoolId, seq, quarantined }]) =>
    spoolId === meta.spoolId && seq >= meta.nextSeq && !quarantined
  );
  if (fresh.length === 0) return opened;
  let { nextSeq, messages, bytes, qos0Bytes } = meta;
  for (const [record] of fresh) {
    const size = sizeOfRecord(record);
    nextSeq = record.seq + 1;
    messages++;
    bytes += size;
    if (record.qos === 0) qos0Bytes += size;
  }
  const grown = {
    ...meta,
    nextSeq,
    lastSeq: nextSeq - 1,
    messages,
    bytes,
    qos0Bytes,
    commits: meta.commits + 1,
  };
  db.transaction(() => {
    db.insert(fresh.map(([{ seq, qos }, blob]): NewRow => [seq, qos, blob]));
    db.setMeta(grown);
  });
  log.warn("the spool's last commit was cut off: its messages were taken in", {
    messages: fresh.length,
  });
  return { db, meta: grown };
}
