/**
 * What every module uses: errors and exit codes here; clock, log, bytes and the like in the files beside it.
 *
 * @module
 */

/** Error codes of the core bus (`GglError` of nucleus lite); they travel as int32 in the `error` header. */
export const BusErrorCode = {
  OK: 0,
  FAILURE: 1,
  RETRY: 2,
  BUSY: 3,
  FATAL: 4,
  INVALID: 5,
  UNSUPPORTED: 6,
  PARSE: 7,
  RANGE: 8,
  NOMEM: 9,
  NOCONN: 10,
  NODATA: 11,
  NOENTRY: 12,
  CONFIG: 13,
  REMOTE: 14,
  EXPECTED: 15,
  TIMEOUT: 16,
  UNAUTHORIZED: 17,
  CONFLICT: 18,
} as const;

/** One of the values of {@linkcode BusErrorCode}. */
export type BusErrorCode = typeof BusErrorCode[keyof typeof BusErrorCode];

/** The name of a core-bus error code, such as `NOCONN`; `error 99` for a number that has none. */
export function codeName(code: number): string {
  const entry = Object.entries(BusErrorCode).find(([, value]) => value === code);
  return entry?.[0] ?? `error ${code}`;
}

/** A refusal that a client of the core bus is told about, by its code. */
export class BusError extends Error {
  /** Tells it from other errors. */
  override readonly name = "BusError";

  /**
   * Makes a refusal.
   *
   * @param code What the client gets in the `error` header.
   * @param message For the log; never holds a payload.
   * @param reason What a broker said, for the `reason` header of REMOTE.
   */
  constructor(readonly code: BusErrorCode, message: string, readonly reason?: string) {
    super(message);
  }
}

/** Exit codes of the program, from sysexits(3). */
export const Exit = {
  /** Stopped on request. */
  OK: 0,
  /** `status`: the daemon is not connected to the broker. */
  NOT_CONNECTED: 1,
  /** Tools: the time allowed was over first, as in `mosquitto_sub`. */
  TIMED_OUT: 27,
  /** The command line is wrong. */
  USAGE: 64,
  /** Tools: a message that AWS IoT Core does not take. */
  DATAERR: 65,
  /** Tools: the input cannot be read. */
  NOINPUT: 66,
  /** The config service cannot be reached; tools: there is no daemon. */
  UNAVAILABLE: 69,
  /** A fault of this program. */
  INTERNAL: 70,
  /** The socket cannot be created, or another daemon is alive. */
  CANTCREATE: 73,
  /** Tools: the output cannot be written. */
  IOERR: 74,
  /** Tools: not now, the same may succeed later. */
  TEMPFAIL: 75,
  /** Tools: the daemon does not speak as expected. */
  PROTOCOL: 76,
  /** The broker refused the credentials (iotcored-4); tools: the broker refused the request. */
  NOPERM: 77,
  /** Configuration is missing or malformed. */
  CONFIG: 78,
} as const;

/** One of the values of {@linkcode Exit}. */
export type Exit = typeof Exit[keyof typeof Exit];

/** Ends the program with an exit code and one line on stderr. */
export class ExitError extends Error {
  override readonly name = "ExitError";

  constructor(readonly exit: Exit, message: string) {
    super(message);
  }
}

/** The message of anything that was thrown, in one line. */
export function messageOf(error: unknown): string {
  const text = error instanceof Error ? error.message : String(error);
  const refused = error instanceof Error && error.name === "NotCapable"
    ? refusalText(text, Deno.build.standalone)
    : undefined;
  return refused ?? text.replaceAll(/\s*\n\s*/g, " ");
}

/** Whether an error says that this process, or the system, has no file descriptor left: EMFILE, ENFILE [open(2)]. */
export function isOutOfDescriptors(error: unknown): boolean {
  const code = error instanceof Error && "code" in error ? error.code : undefined;
  return code === "EMFILE" || code === "ENFILE";
}

/** The stack of anything that was thrown, in one line; `undefined` when it has none. */
export function stackOf(error: unknown): string | undefined {
  return error instanceof Error ? error.stack?.replaceAll(/\s*\n\s*/g, " | ") : undefined;
}

/** How something that was thrown ends the program. */
export interface Failure {
  readonly exit: Exit;
  /** What is wrong, in one line. */
  readonly text: string;
  /** Where a fault of this program is; what was thrown on purpose has none. */
  readonly stack: string | undefined;
}

/** What becomes of anything that was thrown: a missing permission is a matter of configuration. */
export function failureOf(error: unknown): Failure {
  const text = messageOf(error);
  if (error instanceof ExitError) return { exit: error.exit, text, stack: undefined };
  if (error instanceof Deno.errors.NotCapable) return { exit: Exit.CONFIG, text, stack: undefined };
  const stack = error instanceof Error ? error.stack : undefined;
  return { exit: Exit.INTERNAL, text: `unexpected error: ${text}`, stack };
}

/** The options of `deno task compile`, by what was refused. */
const COMPILE_OPTIONS: Readonly<Record<string, string>> = {
  net: "--endpoint",
  read: "--read",
  write: "--spool",
};

/**
 * Says what a permission of Deno is missing for, and how it would be allowed; `undefined` for a text that is no refusal.
 *
 * @param standalone Whether the program was compiled, and so has its permissions in it.
 */
export function refusalText(text: string, standalone: boolean): string | undefined {
  const [, kind = "", what = ""] = /^Requires (\w+) access(?: to "(.*?)")?/s.exec(text) ?? [];
  if (kind === "") return undefined;
  const shown = what === "" ? kind : `${kind} ${what}`;
  if (!standalone) {
    return `no permission for ${shown}: this program was started without it, see permissions in deno.json`;
  }
  const option = COMPILE_OPTIONS[kind];
  const how = option === undefined || what === "" || what.startsWith("unix:")
    ? "no option of deno task compile allows it"
    : `this allows it: deno task compile -- ${option} ${what}`;
  return `no permission for ${shown}: this program was compiled without it; ${how}`;
}
