import type { Bytes } from "../../base/bytes.ts";
import { Exit, ExitError, messageOf } from "../../base/errors.ts";
import type { Log } from "../../base/log.ts";
import { StorageError } from "../storage.ts";
import { firstOf } from "./segment.ts";

const LOCK = "spool.lock";
const DRAFT = "draft.log";
const DAMAGED = "damaged";

/** `createNew` follows no symbolic link. */
const PRIVATE = { read: true, write: true, createNew: true, mode: 0o600 };

/** Preallocated, and the next segment. */
export const SPARE = "spare.log";

/** Damaged files that are kept at most; each is a segment, of about a megabyte. */
const MAX_DAMAGED_FILES = 3;

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
  readonly #lock: Deno.FsFile | undefined;

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
      throw error instanceof ExitError ? error : unusable(dir, folderProblem(dir, error));
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
    return await Deno.open(path, PRIVATE);
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

  /** The bytes of a file, or a part of them. */
  async read(name: string, from = 0, length = Infinity): Promise<Bytes> {
    using file = await Deno.open(this.path(name), { read: true });
    return await readFrom(file, from, length);
  }

  /** Puts other bytes in the place of a file, all or nothing. */
  async replace(name: string, bytes: Bytes): Promise<void> {
    this.remove(DRAFT);
    {
      using file = await Deno.open(this.path(DRAFT), PRIVATE);
      for (let done = 0; done < bytes.length;) done += await file.write(bytes.subarray(done));
      await file.syncData();
    }
    Deno.renameSync(this.path(DRAFT), this.path(name));
    await this.sync();
  }

  /** Puts a damaged file where it can be looked at, in place of the oldest ones there; the path, or why not. */
  keepDamaged(name: string, how: "copy" | "move" = "copy"): string {
    const dir = this.path(DAMAGED);
    try {
      Deno.mkdirSync(dir, { recursive: true, mode: 0o700 });
      const put = how === "move" ? Deno.renameSync : Deno.copyFileSync;
      put(this.path(name), `${dir}/${name}`);
      const kept = [...Deno.readDirSync(dir)].map((entry) => entry.name).sort();
      for (const old of kept.slice(0, -MAX_DAMAGED_FILES)) Deno.removeSync(`${dir}/${old}`);
      return `${dir}/${name}`;
    } catch (error) {
      return `nothing: ${asStorageError(error).message}`;
    }
  }

  [Symbol.dispose](): void {
    this.#handle.close();
    this.#lock?.close();
  }

  /** Takes the lock, which the system gives back when the process ends; who only reads needs none where there is none. */
  #takeLock(shared: boolean): Deno.FsFile | undefined {
    const path = this.path(LOCK);
    const there = lstat(path);
    if (there?.isSymlink) throw unusable(this.dir, `${LOCK} must be a file, got a symbolic link`);
    if (shared && there === undefined) return undefined;
    const options = shared
      ? { read: true }
      : { read: true, write: true, create: true, mode: 0o600 };
    const file = Deno.openSync(path, options);
    if (file.tryLockSync(!shared)) return file;
    file.close();
    throw unusable(this.dir, "another daemon uses it");
  }
}

/** The bytes of an open file, or a part of them. */
export async function readFrom(file: Deno.FsFile, from = 0, length = Infinity): Promise<Bytes> {
  const { size } = await file.stat();
  const bytes = new Uint8Array(Math.max(0, Math.min(length, size - from)));
  await file.seek(from, Deno.SeekMode.Start);
  for (let done = 0; done < bytes.length;) {
    const read = await file.read(bytes.subarray(done));
    if (read === null) return bytes.subarray(0, done);
    done += read;
  }
  return bytes;
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
    [LOCK, SPARE, DRAFT, DAMAGED].includes(name) || firstOf(name) !== undefined;
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
