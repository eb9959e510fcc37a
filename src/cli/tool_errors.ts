/**
 * What became of a tool, for people and for scripts: exit codes and their texts.
 *
 * @module
 */

import {
  BusError,
  BusErrorCode,
  codeName,
  Exit,
  type Exit as ExitCode,
  ExitError,
  messageOf,
} from "../base/errors.ts";
import { NoServerError } from "../bus/client.ts";

const EXITS: readonly (readonly [exit: ExitCode, meaning: string])[] = [
  [Exit.OK, "done, or stopped by a signal, or nobody reads the output any more"],
  [Exit.USAGE, "wrong usage"],
  [Exit.UNAVAILABLE, "no daemon listens there"],
  [Exit.INTERNAL, "a fault of the program or of the daemon"],
  [Exit.IOERR, "the output cannot be written"],
  [Exit.TEMPFAIL, "not now: no connection to the broker (QoS 0), a full spool, no answer in time"],
  [Exit.PROTOCOL, "what listens there does not speak as this daemon does"],
  [Exit.NOPERM, "no permission to use the socket, or the broker refused the request"],
];

/** The exit codes of a tool, as lines of its help: those that every tool has, and `more`. */
export function exitNotes(
  ...more: readonly (readonly [exit: ExitCode, meaning: string])[]
): string[] {
  const lines = [...EXITS, ...more].sort(([a], [b]) => a - b)
    .map(([exit, meaning]) => `  ${String(exit).padStart(2)}  ${meaning}`);
  return ["Exit codes:", ...lines];
}

/** What a refusal, or a daemon that is not there, means for the exit code; anything else is handed back. */
export function toolError(error: unknown, socket: string): unknown {
  if (error instanceof NoServerError) return noDaemon(error, socket);
  if (!(error instanceof BusError)) return error;
  const meaning = MEANINGS.get(error.code);
  const reason = error.reason === undefined ? "" : `: ${error.reason}`;
  const text = `${meaning?.text ?? "the request failed inside the daemon"}${reason} (${
    codeName(error.code)
  })`;
  return new ExitError(meaning?.exit ?? Exit.INTERNAL, text);
}

function noDaemon(error: NoServerError, socket: string): ExitError {
  const { cause } = error;
  if (cause instanceof Deno.errors.PermissionDenied) {
    return new ExitError(
      Exit.NOPERM,
      `Cannot use ${socket}: permission denied; it is open to the daemon's user and group alone`,
    );
  }
  if (cause instanceof Deno.errors.NotCapable) {
    return new ExitError(Exit.NOPERM, `Cannot use ${socket}: ${messageOf(cause)}`);
  }
  const text = cause === undefined
    ? `the daemon at ${socket} hung up before it answered`
    : `no daemon listens at ${socket}: ${messageOf(cause)}`;
  return new ExitError(Exit.UNAVAILABLE, text);
}

const MEANINGS = new Map<BusErrorCode, { readonly exit: ExitCode; readonly text: string }>([
  [BusErrorCode.INVALID, { exit: Exit.DATAERR, text: "the daemon takes no such request" }],
  [BusErrorCode.RANGE, {
    exit: Exit.DATAERR,
    text: "the message is larger than AWS IoT Core takes",
  }],
  [BusErrorCode.NOCONN, { exit: Exit.TEMPFAIL, text: "the daemon is not connected to the broker" }],
  [BusErrorCode.NOMEM, { exit: Exit.TEMPFAIL, text: "the daemon has no room for it now" }],
  [BusErrorCode.TIMEOUT, { exit: Exit.TEMPFAIL, text: "no answer came in time" }],
  [BusErrorCode.BUSY, { exit: Exit.TEMPFAIL, text: "the daemon is busy" }],
  [BusErrorCode.RETRY, { exit: Exit.TEMPFAIL, text: "the daemon asks to try again" }],
  [BusErrorCode.REMOTE, { exit: Exit.NOPERM, text: "the broker refused it" }],
  [BusErrorCode.UNAUTHORIZED, { exit: Exit.NOPERM, text: "this is not allowed" }],
  [BusErrorCode.NOENTRY, {
    exit: Exit.PROTOCOL,
    text: "what listens there does not know this method",
  }],
  [BusErrorCode.UNSUPPORTED, {
    exit: Exit.PROTOCOL,
    text: "what listens there does not support this",
  }],
  [BusErrorCode.PARSE, { exit: Exit.PROTOCOL, text: "what listens there speaks another protocol" }],
]);

/** The output cannot be written, for another reason than that nobody reads it. */
export function cannotWrite(error: unknown): ExitError {
  return new ExitError(Exit.IOERR, `Cannot write to standard output: ${messageOf(error)}`);
}
