import { Exit, ExitError, messageOf } from "../base/errors.ts";
import { utf8 } from "../base/bytes.ts";
import { MAX_SOCKET_PATH_BYTES } from "./limits.ts";

/** The paths that a server touches, for permission lists. */
export interface SocketPaths {
  /** The socket that clients connect to: `<bus-dir>/<interface>`. */
  readonly final: string;
  /** `<bus-dir>`. */
  readonly parent: string;
  /** `<bus-dir>/.<interface>`, 0700: nobody else reaches what is in it. */
  readonly folder: string;
  /** Locked while a daemon serves. */
  readonly lock: string;
  /** Where the socket is made before it is moved to its place. */
  readonly fresh: string;
}

/** A listening socket in its place. */
export interface SocketFile {
  readonly listener: Deno.UnixListener;
  /** After the listener was closed: removes the socket if it is still this one, and gives up the lock. */
  remove(): Promise<void>;
}

/** The folder of the core bus, unless told otherwise. */
export const BUS_DIR = "/run/greengrass";

/** The name of the daemon's interface, and of its socket, unless told otherwise. */
export const INTERFACE_NAME = "aws_iot_mqtt";

/** What the name of an interface must be. */
export const INTERFACE_NAME_RULE =
  'must be 1 to 50 of A-Z, a-z, 0-9, ".", "_" and "-", without a leading "." or ".."';

/** Whether a name keeps to {@linkcode INTERFACE_NAME_RULE}. */
export function isInterfaceName(name: string): boolean {
  return /^[A-Za-z0-9_-][A-Za-z0-9._-]{0,49}$/.test(name) && !name.includes("..");
}

/** Checks the name of an interface. @throws {ExitError} 64, naming `--interface-name` */
export function checkInterfaceName(name: string): void {
  if (isInterfaceName(name)) return;
  throw new ExitError(
    Exit.USAGE,
    `Cannot use --interface-name: it ${INTERFACE_NAME_RULE}, got ${
      JSON.stringify(name.slice(0, 60))
    }`,
  );
}

/** The paths that belong to the socket at `path`. */
export function socketPaths(path: string): SocketPaths {
  const slash = path.lastIndexOf("/");
  const parent = slash < 0 ? "." : path.slice(0, slash) || "/";
  const folder = `${path.slice(0, slash + 1)}.${path.slice(slash + 1)}`;
  return { final: path, parent, folder, lock: `${folder}/lock`, fresh: `${folder}/s` };
}

/**
 * Listens on a new socket at `path`, mode 0660 from the first moment that others can reach it. A dead socket is replaced.
 *
 * @throws {ExitError} CANTCREATE when another daemon is alive, something else is in its place, or the system refuses.
 */
export async function createSocket(path: string): Promise<SocketFile> {
  const paths = socketPaths(path);
  checkLength(paths);
  try {
    const lock = await takeLock(paths);
    try {
      await checkPlace(path);
      return await listen(paths, lock);
    } catch (error) {
      await releaseLock(paths, lock);
      throw error;
    }
  } catch (error) {
    if (error instanceof ExitError) throw error;
    throw cannotCreate(path, messageOf(error));
  }
}

function checkLength({ final, fresh }: SocketPaths): void {
  const length = utf8(final).length;
  const most = MAX_SOCKET_PATH_BYTES - (fresh.length - final.length);
  if (length > most) {
    throw cannotCreate(final, `its path must be at most ${most} bytes, got ${length}`);
  }
}

/** The socket is made where nobody else can reach it, so that its mode is right before anyone can. */
async function listen(paths: SocketPaths, lock: Deno.FsFile): Promise<SocketFile> {
  await removeIfThere(paths.fresh);
  const listener = Deno.listen({ transport: "unix", path: paths.fresh });
  try {
    await Deno.chmod(paths.fresh, 0o660);
    const { dev, ino } = await Deno.lstat(paths.fresh);
    await Deno.rename(paths.fresh, paths.final);
    return {
      listener,
      remove: async () => {
        const now = await lstatIfThere(paths.final);
        if (now?.dev === dev && now.ino === ino) await removeIfThere(paths.final);
        await releaseLock(paths, lock);
      },
    };
  } catch (error) {
    listener.close();
    await removeIfThere(paths.fresh);
    throw error;
  }
}

/** Throws unless the place is free or holds a dead socket. */
async function checkPlace(path: string): Promise<void> {
  const info = await lstatIfThere(path);
  if (info === undefined) return;
  if (!info.isSocket) {
    const kind = info.isSymlink ? "symbolic link" : info.isDirectory ? "directory" : "file";
    throw cannotCreate(path, `a ${kind} is in its place`);
  }
  try {
    (await Deno.connect({ transport: "unix", path })).close();
  } catch (error) {
    // Nobody listens any more. Anything else, such as a full queue, means that somebody does.
    if (error instanceof Deno.errors.ConnectionRefused || error instanceof Deno.errors.NotFound) {
      return;
    }
    throw cannotCreate(path, `another daemon is running or unreachable: ${messageOf(error)}`);
  }
  throw cannotCreate(path, "another daemon is running");
}

async function takeLock(paths: SocketPaths): Promise<Deno.FsFile> {
  // The previous owner removes folder and lock when it stops: then they have to be made once more.
  for (let attempt = 0; attempt < 10; attempt++) {
    await makePrivateFolder(paths);
    const lock = await openIfFolder(paths.lock);
    if (lock === undefined) continue;
    let taken = false;
    try {
      if (!await lock.tryLock(true)) throw cannotCreate(paths.final, "another daemon is running");
      const [mine, named] = [await lock.stat(), await lstatIfThere(paths.lock)];
      taken = mine.ino === named?.ino && mine.dev === named.dev;
      if (taken) return lock;
    } finally {
      if (!taken) lock.close();
    }
  }
  throw cannotCreate(paths.final, "another daemon is starting or stopping");
}

async function makePrivateFolder(paths: SocketPaths, parentMade = false): Promise<void> {
  const { final, folder, parent } = paths;
  try {
    await Deno.mkdir(folder, { mode: 0o700 });
  } catch (error) {
    if (error instanceof Deno.errors.NotFound && !parentMade) {
      // Only now, so that a daemon whose folder exists needs no permission to write beside its own paths.
      await Deno.mkdir(parent, { recursive: true, mode: 0o755 });
      return makePrivateFolder(paths, true);
    }
    if (!(error instanceof Deno.errors.AlreadyExists)) throw error;
    const info = await lstatIfThere(folder);
    if (info === undefined) return;
    if (!info.isDirectory) throw cannotCreate(final, `${folder} must be a directory of its own`);
    await Deno.chmod(folder, 0o700);
  }
}

async function openIfFolder(path: string): Promise<Deno.FsFile | undefined> {
  try {
    return await Deno.open(path, { write: true, create: true, mode: 0o600 });
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
}

async function releaseLock({ folder, lock: path }: SocketPaths, lock: Deno.FsFile): Promise<void> {
  // Removed while still locked: who opened it meanwhile finds out that it is not the named one any more.
  await removeIfThere(path);
  try {
    await Deno.remove(folder);
  } catch {
    // The next daemon has already put its lock there.
  }
  lock.close();
}

async function lstatIfThere(path: string): Promise<Deno.FileInfo | undefined> {
  try {
    return await Deno.lstat(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
}

async function removeIfThere(path: string): Promise<void> {
  try {
    await Deno.remove(path);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
}

function cannotCreate(path: string, why: string): ExitError {
  return new ExitError(Exit.CANTCREATE, `Cannot create socket ${path}: ${why}`);
}
