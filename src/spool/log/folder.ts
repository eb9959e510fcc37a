import { Exit, ExitError, messageOf } from "../../base/errors.ts";
import type { Log } from "../../base/log.ts";
import { StorageError } from "../storage.ts";
import { firstOf } from "./segment.ts";

const LOCK = "spool.lock";

/** The folder of what was damaged. */
export const DAMAGED = "damaged";

/** Preallocated, and the next segment. */
export const SPARE = "spare.log";

/** Damaged files that are kept at most, and their bytes. */
const MAX_DAMAGED_FILES = 3;
const MAX_DAMAGED_BYTES = 8 * 1_048_576;

/** ENOSPC and EDQUOT of Linux, for which Deno has no error class. */
const FULL = /\(os error (28|122)\)/;

/** What ends the program when the spool cannot be used at all. */
export function unusable(dir: string, why: string): ExitError {
  return new ExitError(Exit.CANTCREATE, `Cannot open the spool (--spool ${dir}): ${why}`);
}

/** What a failed call on the disk means for the spool; anything else is a fault of the program and is thrown as it is. */
export function asStorageError(error: unknown): StorageError {
  if (error instanceof StorageError) return error;
  if (!(error instanceof Error) || !/\(os error \d+\)/.test(error.message)) throw error;
  return new StorageError(messageOf(error), FULL.test(error.message));
}

/** The folder of a spool, locked; its files are 0600, and none is ever reached through a symbolic link. */
export class Folder implements Disposable {
  readonly #dir: string;
  readonly #handle: Deno.FsFile;
  readonly #lock: Deno.FsFile;

  /**
   * Makes the folder (0700) if it is missing.
   *
   * @param shared For a reader of a stopped daemon's spool, who changes nothing.
   * @throws {ExitError} 73 when it cannot be used, or a daemon uses it.
   */
  constructor(readonly dir: string, log: Log, shared = false) {
    this.#dir = dir.replace(/\/+$/, "") || "/";
    try {
      if (!shared) makePrivate(dir, log);
      this.#handle = Deno.openSync(dir, { read: true });
    } catch (error) {
      throw unusable(dir, folderProblem(dir, error));
    }
    try {
      this.#lock = this.#takeLock(shared);
    } catch (error) {
      this.#handle.close();
      throw error instanceof ExitError ? error : unusable(dir, messageOf(error));
    }
  }

  /** The path of a file in the folder. */
  path(name: string): string {
    return `${this.#dir}/${name}`;
  }

  /** The first numbers of the segments, ascending. */
  segments(): number[] {
    const firsts: number[] = [];
    for (const { name, isFile } of Deno.readDirSync(this.#dir)) {
      const first = firstOf(name);
      if (first === undefined) continue;
      if (!isFile) throw unusable(this.dir, `${name} must be a file`);
      firsts.push(first);
    }
    return firsts.sort((a, b) => a - b);
  }

  /** Opens a file of this length that an earlier run left, else makes an empty one. */
  async create(name: string, length: number): Promise<Deno.FsFile> {
    const path = this.path(name);
    const there = lstat(path);
    if (there?.isFile && there.size === length) {
      return await Deno.open(path, { read: true, write: true });
    }
    this.remove(name);
    // `createNew` follows no symbolic link.
    return await Deno.open(path, { read: true, write: true, createNew: true, mode: 0o600 });
  }

  /** Removes a file, if it is there. */
  remove(name: string): void {
    try {
      Deno.removeSync(this.path(name));
    } catch (error) {
      if (!(error instanceof Deno.errors.NotFound)) throw error;
    }
  }

  /** Makes the names of the folder durable. */
  async sync(): Promise<void> {
    await this.#handle.sync();
  }

  /** Whether the path leads to another folder than the open one, or nowhere. */
  isReplaced(): boolean {
    const ours = this.#handle.statSync();
    const there = lstat(`${this.#dir}/.`);
    return there?.ino !== ours.ino || there.dev !== ours.dev;
  }

  /** Puts a damaged segment, or a copy, where it can be looked at, and the oldest ones there out of the way. */
  keepDamaged(name: string, how: "move" | "copy"): void {
    const dir = this.path(DAMAGED);
    Deno.mkdirSync(dir, { recursive: true, mode: 0o700 });
    if (how === "move") Deno.renameSync(this.path(name), `${dir}/${name}`);
    else Deno.copyFileSync(this.path(name), `${dir}/${name}`);
    const kept = [...Deno.readDirSync(dir)].map((entry) => entry.name).sort().reverse();
    let bytes = 0;
    kept.forEach((one, n) => {
      bytes += Deno.statSync(`${dir}/${one}`).size;
      if (n >= MAX_DAMAGED_FILES || (n > 0 && bytes > MAX_DAMAGED_BYTES)) {
        Deno.removeSync(`${dir}/${one}`);
      }
    });
  }

  [Symbol.dispose](): void {
    this.#handle.close();
    this.#lock.close();
  }

  /** Takes the lock, which the system gives back when the process ends. */
  #takeLock(shared: boolean): Deno.FsFile {
    const path = this.path(LOCK);
    if (lstat(path)?.isSymlink) {
      throw unusable(this.dir, `${LOCK} must be a file, got a symbolic link`);
    }
    const options = shared
      ? { read: true }
      : { read: true, write: true, create: true, mode: 0o600 };
    const file = Deno.openSync(path, options);
    if (file.tryLockSync(!shared)) return file;
    file.close();
    throw unusable(this.dir, "another daemon uses it");
  }
}

function lstat(path: string): Deno.FileInfo | undefined {
  try {
    return Deno.lstatSync(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
}

function makePrivate(dir: string, log: Log): void {
  Deno.mkdirSync(dir, { recursive: true, mode: 0o700 });
  const { mode } = Deno.statSync(dir);
  if (mode === null || (mode & 0o077) === 0) return;
  const isOurs = (name: string): boolean =>
    [LOCK, SPARE, DAMAGED].includes(name) || firstOf(name) !== undefined;
  // A folder that serves others too, such as /tmp, is not ours to close; the files are 0600 all the same.
  if ([...Deno.readDirSync(dir)].every(({ name }) => isOurs(name))) Deno.chmodSync(dir, 0o700);
  else log.warn("the spool's folder is open to others and holds other files", { path: dir });
}

function folderProblem(dir: string, error: unknown): string {
  try {
    if (!Deno.statSync(dir).isDirectory) return "path must be a folder, got a file";
  } catch (statError) {
    if (statError instanceof Deno.errors.NotADirectory) return "path must be below a folder";
  }
  return messageOf(error);
}
