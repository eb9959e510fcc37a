/**
 * The command line: finds the subcommand and runs it.
 *
 * @module
 */

import { type Exit as ExitCode, ExitError, messageOf } from "../base/errors.ts";
import type { LogFormat } from "../base/log.ts";
import { versionText } from "../base/version.ts";
import { meant, nearest } from "./nearest.ts";
import { parseOptions, usage } from "./args.ts";
import { COMPLETIONS, SHELLS } from "./completions.ts";
import { type Command, helpText, OFFLINE_OPTIONS, overviewText } from "./help.ts";
import { runTool, type Tool } from "./tool.ts";
import { print } from "./output.ts";

/** The subcommands beside the daemon; loaded when they are needed, so that each starts fast. */
const TOOLS: Readonly<Record<string, () => Promise<Tool>>> = {
  publish: async () => (await import("./publish.ts")).PUBLISH,
  subscribe: async () => (await import("./subscribe.ts")).SUBSCRIBE,
  status: async () => (await import("./status.ts")).STATUS,
  check: async () => (await import("./check.ts")).CHECK,
  reconnect: async () => (await import("./reconnect.ts")).RECONNECT,
  quarantine: async () => (await import("./quarantine.ts")).QUARANTINE,
  spool: async () => (await import("./spool.ts")).SPOOL,
};

const HELP: Command = {
  name: "help",
  summary: "Prints the help of a subcommand.",
  usage: ["help [SUBCOMMAND]"],
  options: OFFLINE_OPTIONS,
  words: ["run", ...Object.keys(TOOLS), "completions"],
  examples: [],
};

/**
 * Runs the subcommand that the arguments name; `run` when they name none.
 *
 * @throws {ExitError} whatever ends the program other than by request
 */
export async function runCommand(args: readonly string[]): Promise<ExitCode> {
  const [baked, given] = splitBaked(args);
  const [first, ...rest] = given;
  if (first === undefined || first.startsWith("-")) return await runRun([...baked, ...given]);
  if (first === "run") return await runRun([...baked, ...rest]);
  if (first === "help") return await help(rest);
  if (first === "completions") return await completions(rest);
  if (!Object.hasOwn(TOOLS, first)) throw unknownSubcommand(first);
  const tool = await TOOLS[first]!();
  return await runTool(tool, tool.takesCeiling ? [...baked, ...rest] : rest);
}

function unknownSubcommand(name: string): ExitError {
  const near = nearest(name, ["run", ...Object.keys(TOOLS), "completions", "help"]);
  return usage(`unknown subcommand ${name}${meant(near)}`);
}

/** A compiled program finds what was baked in before what the user gave; the daemon is concerned, and what checks its way. */
function splitBaked(args: readonly string[]): [baked: readonly string[], given: readonly string[]] {
  const end = args[0] === "--connection-ceiling" ? 2 : 0;
  return [args.slice(0, end), args.slice(end)];
}

async function runRun(args: readonly string[]): Promise<ExitCode> {
  const { holdingFailures } = await import("../process/failures.ts");
  return await holdingFailures(logFormatIn(args), () => runFrom(args));
}

/** The log's format by a command line that may hold mistakes, which are told in that format too. */
function logFormatIn(args: readonly string[]): LogFormat {
  const formats = [...args.join("\n").matchAll(/^--log-format[=\n](text|json|journald)$/gm)];
  return (formats.at(-1)?.[1] ?? "text") as LogFormat;
}

async function runFrom(args: readonly string[]): Promise<ExitCode> {
  const { parseRunArgs } = await import("./run.ts");
  const run = await suggesting(() => parseRunArgs(args));
  if (run.instead === "help") return await help([]);
  if (run.instead === "version") {
    const { permissionsText } = await import("../process/permitted.ts");
    return print(versionText() + (run.verbose ? permissionsText() : ""));
  }
  const { runDaemon } = await import("../process/run.ts");
  return await runDaemon(run);
}

/** Without a subcommand the daemon is meant: an option that only others know says which was forgotten. */
async function suggesting<T>(parse: () => T): Promise<T> {
  try {
    return parse();
  } catch (error) {
    const [, name] = error instanceof ExitError
      ? /^unknown option -{1,2}([^;\s]+)/.exec(error.message) ?? []
      : [];
    const owners = (await allCommands()).filter(({ options }) =>
      options.some(({ option, short }) => name === option || name === short)
    );
    if (owners.length === 0) throw error;
    const names = owners.map((command) => command.name).join(" or ");
    throw usage(`${messageOf(error).replace(/; .*/, "")} of iotcored run, but of ${names}`);
  }
}

async function help(args: readonly string[]): Promise<ExitCode> {
  const { values, words: [name, surplus] } = parseOptions(args, HELP.options, "help");
  if (values.has("help")) return print(helpText(HELP));
  if (surplus !== undefined) throw usage(`unexpected argument ${surplus}`, "help");
  const commands = await allCommands();
  if (name === undefined) return print(helpText(commands[0]!) + overviewText(commands));
  const command = commands.find((command) => command.name === name);
  if (command === undefined) throw unknownSubcommand(name);
  return print(helpText(command));
}

async function completions(args: readonly string[]): Promise<ExitCode> {
  const { values, words } = parseOptions(args, COMPLETIONS.options, "completions");
  if (values.has("help")) return print(helpText(COMPLETIONS));
  const [shell = "nothing", surplus] = words;
  if (surplus !== undefined) throw usage(`unexpected argument ${surplus}`, "completions");
  if (!Object.hasOwn(SHELLS, shell)) {
    throw usage(`completions needs ${Object.keys(SHELLS).join(", ")}, got ${shell}`, "completions");
  }
  return print(SHELLS[shell]!(await allCommands()));
}

/** Every subcommand, `run` first. */
export async function allCommands(): Promise<readonly Command[]> {
  const { RUN } = await import("./run.ts");
  const tools = await Promise.all(Object.values(TOOLS).map((load) => load()));
  return [RUN, ...tools.map(({ command }) => command), COMPLETIONS, HELP];
}
