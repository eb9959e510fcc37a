import { Exit, ExitError, messageOf } from "../base/errors.ts";
import type { Log } from "../base/log.ts";

/** The files of a disk spool. */
export interface SpoolFiles {
  readonly dir: string;
  /** The database; SQLite adds `-wal`. */
  readonly main: string;
  /** Held by whoever uses the spool. */
  readonly lock: string;
  /** Takes up room for when the disk is full. */
  readonly reserve: string;
  /** A new database that is not complete. */
  readonly draft: string;
  /** A complete new database that is to take the place of `main`. */
  readonly ready: string;
}

/** The files of the spool in a folder. */
export function spoolFiles(dir: string): SpoolFiles {
  const at = (name: string): string => `${dir.replace(/\/+$/, "") || "/"}/${name}`;
  return {
    dir,
    main: at("spool.db"),
    lock: at("spool.lock"),
    reserve: at("spool.reserve"),
    draft: at("spool-draft.db"),
    ready: at("spool-ready.db"),
  };
}

/** What ends the program when the spool cannot be used at all. */
export function unusable(dir: string, why: string): ExitError {
  return new ExitError(Exit.CANTCREATE, `Cannot open the spool (--spool ${dir}): ${why}`);
}

/** Makes the folder (0700) if it is missing; throws {@linkcode ExitError} when it is none. */
export function prepareFolder(files: SpoolFiles, log: Log): void {
  const { dir } = files;
  try {
    Deno.mkdirSync(dir, { recursive: true, mode: 0o700 });
    const { mode } = Deno.statSync(dir);
    if (mode === null || (mode & 0o077) === 0) return;
    // A folder that serves others too, such as /tmp, is not ours to close; the files are 0600 all the same.
    if ([...Deno.readDirSync(dir)].every(({ name }) => name.startsWith("spool"))) {
      Deno.chmodSync(dir, 0o700);
    } else log.warn("the spool's folder is open to others and holds other files", { path: dir });
  } catch (error) {
    throw unusable(dir, folderProblem(dir, error));
  }
}

function folderProblem(dir: string, error: unknown): string {
  try {
    if (!Deno.statSync(dir).isDirectory) return "path must be a folder, got a file";
  } catch (statError) {
    if (statError instanceof Deno.errors.NotADirectory) return "path must be below a folder";
  }
  return messageOf(error);
}

/** Takes the lock of the folder, which the system gives back when the process ends. */
export function lockFolder(files: SpoolFiles): Deno.FsFile {
  let file: Deno.FsFile;
  try {
    file = Deno.openSync(files.lock, { read: true, write: true, create: true, mode: 0o600 });
  } catch (error) {
    throw unusable(files.dir, messageOf(error));
  }
  try {
    if (file.tryLockSync(true)) return file;
  } catch (error) {
    file.close();
    throw unusable(files.dir, messageOf(error));
  }
  file.close();
  throw unusable(files.dir, "another daemon uses it");
}

/** Makes an empty file that only its owner can read, for SQLite to fill: its other files take over the mode. */
export function createPrivate(path: string): void {
  removePrivate(path);
  Deno.openSync(path, { write: true, createNew: true, mode: 0o600 }).close();
}

/** Removes a database that nobody has open, with what SQLite added. */
export function removePrivate(path: string): void {
  for (const old of [path, `${path}-wal`, `${path}-journal`]) removeIfThere(old);
}

/** Closes existing files of the spool to others. */
export function makePrivate(files: SpoolFiles): void {
  for (const path of [files.main, `${files.main}-wal`, files.lock, files.reserve]) {
    try {
      const { mode } = Deno.statSync(path);
      if (mode !== null && (mode & 0o177) !== 0) Deno.chmodSync(path, 0o600);
    } catch (error) {
      if (!(error instanceof Deno.errors.NotFound)) throw error;
    }
  }
}

/** Declares the draft complete: from now on a crash does not undo it. */
export function completeDraft(files: SpoolFiles): void {
  sync(files.draft, true);
  Deno.renameSync(files.draft, files.ready);
  sync(files.dir);
}

/** Puts the draft in the place of a database whose log is empty. */
export function replaceByDraft(files: SpoolFiles): void {
  sync(files.draft, true);
  Deno.renameSync(files.draft, files.main);
  sync(files.dir);
}

/**
 * Puts the complete new database in the place of the old one, which is kept under a name that says when. Does nothing
 * without a complete one, so it is safe to call again after a crash. Returns the name, if there was an old one.
 */
export function putInPlace(files: SpoolFiles, wallNow: number): string | undefined {
  if (!exists(files.ready)) return undefined;
  const aside = asideName(files, wallNow);
  const moved = renameIfThere(files.main, aside);
  const movedLog = renameIfThere(`${files.main}-wal`, `${aside}-wal`);
  removeIfThere(`${files.main}-shm`);
  Deno.renameSync(files.ready, files.main);
  sync(files.dir);
  return moved || movedLog ? aside : undefined;
}

function asideName(files: SpoolFiles, wallNow: number): string {
  const time = new Date(wallNow).toISOString().replace(/\.\d+Z$/, "Z").replaceAll(":", "-");
  for (let n = 1;; n++) {
    const name = files.main.replace(
      /spool\.db$/,
      `spool-damaged-${time}${n > 1 ? `-${n}` : ""}.db`,
    );
    if (!exists(name) && !exists(`${name}-wal`)) return name;
  }
}

function exists(path: string): boolean {
  try {
    Deno.lstatSync(path);
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

/** Whether a file is there at all. */
export function hasSpool(files: SpoolFiles): boolean {
  return exists(files.main) || exists(`${files.main}-wal`);
}

function renameIfThere(from: string, to: string): boolean {
  if (!exists(from)) return false;
  Deno.renameSync(from, to);
  return true;
}

function removeIfThere(path: string): void {
  try {
    Deno.removeSync(path);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
}

/** Syncs a file or a folder. */
function sync(path: string, write = false): void {
  const file = Deno.openSync(path, { read: true, write });
  try {
    file.syncSync();
  } finally {
    file.close();
  }
}
