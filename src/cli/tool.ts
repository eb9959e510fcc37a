/**
 * What the subcommands that talk to a running daemon have in common.
 *
 * @module
 */

import { BusError, Exit, type Exit as ExitCode, ExitError } from "../base/errors.ts";
import { BUS_DIR, checkInterfaceName, INTERFACE_NAME } from "../bus/socket_file.ts";
import { type Client, connect } from "../client/client.ts";
import { type Option, type Parsed, parseOptions, usage } from "./args.ts";
import { type Command, helpText } from "./help.ts";
import { print } from "./output.ts";
import { toolError } from "./tool_errors.ts";

/** A subcommand with what it does. */
export interface Tool {
  readonly command: Command;
  /** Whether it takes words that belong to no option. */
  readonly takesWords?: true;
  /** Whether what was baked in when the program was compiled concerns it. */
  readonly takesCeiling?: true;
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

/** What is said to who names a broker. */
export const DAEMON_PLACE =
  "the daemon has the connection to the broker, and --bus-dir and -n say which daemon";

/** The QoS of a message or subscription. */
export const QOS_OPTION: Option = { option: "qos", short: "q", value: "0|1", help: "the QoS [0]" };

/** Reads the command line of a tool and runs it, or prints its help. */
export async function runTool(
  { command, run, takesWords }: Tool,
  args: readonly string[],
): Promise<ExitCode> {
  const parsed = parseOptions(args, command.options, command.name, command.foreign);
  if (parsed.values.has("help")) {
    const [host] = command.foreign === undefined ? [] : parsed.words;
    if (host === undefined) return print(helpText(command));
    throw usage(`no option -h ${host}: -h prints the help; ${DAEMON_PLACE}`, command.name);
  }
  if (parsed.words.length > 0 && !takesWords) {
    throw usage(`unexpected argument ${parsed.words[0]}`, command.name);
  }
  return await run(parsed);
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
