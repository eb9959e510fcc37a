/**
 * What the subcommands that talk to a running daemon have in common.
 *
 * @module
 */

import {
  BusError,
  Code,
  codeName,
  Exit,
  type Exit as ExitCode,
  ExitError,
  messageOf,
} from "../base/errors.ts";
import { NoServerError } from "../bus/client.ts";
import { BUS_DIR, checkInterfaceName, INTERFACE_NAME } from "../bus/socket_file.ts";
import { type Client, connect } from "../client/client.ts";
import { type Option, type Parsed, parseOptions, usage } from "./args.ts";
import { type Command, helpText } from "./help.ts";

/** A subcommand with what it does. */
export interface Tool {
  readonly command: Command;
  /** @throws {ExitError} */
  run(parsed: Parsed): Promise<ExitCode>;
}

/** Where the daemon is, and the help: of every tool. */
export const TOOL_OPTIONS: readonly Option[] = [
  { option: "bus-dir", value: "DIR", help: "the folder of the core bus [/run/greengrass]" },
  {
    option: "interface-name",
    short: "n",
    aliases: ["interface_name"],
    value: "NAME",
    help: "the name of the daemon's socket there [aws_iot_mqtt]",
  },
  { option: "help", short: "h", help: "print this help" },
];

/** The QoS of a message or subscription. */
export const QOS_OPTION: Option = { option: "qos", short: "q", value: "0|1", help: "the QoS [0]" };

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

/** Reads the command line of a tool and runs it, or prints its help. */
export async function runTool({ command, run }: Tool, args: readonly string[]): Promise<ExitCode> {
  const parsed = parseOptions(args, command.options, command.name);
  if (parsed.values.has("help")) return print(helpText(command));
  if (parsed.words.length > 0) throw usage(`unexpected argument ${parsed.words[0]}`, command.name);
  return await run(parsed);
}

/** Prints on stdout. */
export function print(text: string): ExitCode {
  const bytes = new TextEncoder().encode(text);
  try {
    for (let at = 0; at < bytes.length;) at += Deno.stdout.writeSync(bytes.subarray(at));
  } catch (error) {
    if (!(error instanceof Deno.errors.BrokenPipe)) throw cannotWrite(error);
  }
  return Exit.OK;
}

/** The path of the daemon's socket. Throws 64. */
export function socketOf(parsed: Parsed): string {
  const name = textOf(parsed, "interface-name") ?? INTERFACE_NAME;
  checkInterfaceName(name);
  return `${textOf(parsed, "bus-dir") ?? BUS_DIR}/${name}`;
}

/** The last value of an option. */
export function textOf(parsed: Parsed, option: string): string | undefined {
  return parsed.values.get(option)?.at(-1);
}

/** The value of an option that takes a whole number. Throws 64. */
export function numberOf(
  parsed: Parsed,
  option: string,
  min: number,
  max: number,
): number | undefined {
  const text = textOf(parsed, option);
  if (text === undefined) return undefined;
  const number = Number(text);
  if (/^[0-9]{1,15}$/.test(text) && number >= min && number <= max) return number;
  throw new ExitError(
    Exit.USAGE,
    `Cannot use --${option}: it must be a whole number from ${min} to ${max}, got ${
      JSON.stringify(text)
    }`,
  );
}

/** The QoS. Throws 64. */
export function qosOf(parsed: Parsed): 0 | 1 {
  return numberOf(parsed, "qos", 0, 1) === 1 ? 1 : 0;
}

/** Checks a topic or filter as the daemon will, which answers with no more than a code. Throws 64. */
export function checked(option: string, text: string, check: (text: string) => void): string {
  try {
    check(text);
    return text;
  } catch (error) {
    if (!(error instanceof BusError)) throw error;
    throw new ExitError(Exit.USAGE, `Cannot use --${option}: ${error.message}`);
  }
}

/** Connects to the daemon. Throws 69 or 77. */
export async function connectTool(socket: string): Promise<Client> {
  try {
    return await connect({ socket });
  } catch (error) {
    throw toolError(error, socket);
  }
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

const MEANINGS = new Map<Code, { readonly exit: ExitCode; readonly text: string }>([
  [Code.INVALID, { exit: Exit.DATAERR, text: "the daemon takes no such request" }],
  [Code.RANGE, { exit: Exit.DATAERR, text: "the message is larger than AWS IoT Core takes" }],
  [Code.NOCONN, { exit: Exit.TEMPFAIL, text: "the daemon is not connected to the broker" }],
  [Code.NOMEM, { exit: Exit.TEMPFAIL, text: "the daemon has no room for it now" }],
  [Code.TIMEOUT, { exit: Exit.TEMPFAIL, text: "no answer came in time" }],
  [Code.BUSY, { exit: Exit.TEMPFAIL, text: "the daemon is busy" }],
  [Code.RETRY, { exit: Exit.TEMPFAIL, text: "the daemon asks to try again" }],
  [Code.REMOTE, { exit: Exit.NOPERM, text: "the broker refused it" }],
  [Code.UNAUTHORIZED, { exit: Exit.NOPERM, text: "this is not allowed" }],
  [Code.NOENTRY, { exit: Exit.PROTOCOL, text: "what listens there does not know this method" }],
  [Code.UNSUPPORTED, { exit: Exit.PROTOCOL, text: "what listens there does not support this" }],
  [Code.PARSE, { exit: Exit.PROTOCOL, text: "what listens there speaks another protocol" }],
]);

/** The output cannot be written, for another reason than that nobody reads it. */
export function cannotWrite(error: unknown): ExitError {
  return new ExitError(Exit.IOERR, `Cannot write to standard output: ${messageOf(error)}`);
}

/** Calls `fn` at SIGINT or SIGTERM, until it is disposed. */
export function onInterrupt(fn: () => void): Disposable {
  const signals = ["SIGINT", "SIGTERM"] as const;
  for (const signal of signals) Deno.addSignalListener(signal, fn);
  return {
    [Symbol.dispose]: () => {
      for (const signal of signals) Deno.removeSignalListener(signal, fn);
    },
  };
}

/** One line on stderr. */
export function warn(text: string): void {
  Deno.stderr.writeSync(new TextEncoder().encode(`iotcored: ${text}\n`));
}
