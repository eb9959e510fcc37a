import { Exit, type Exit as ExitCode } from "../base/errors.ts";
import { usage } from "./args.ts";
import { helpText } from "./help.ts";
import { parseRunArgs, RUN } from "./run.ts";
import { runDaemon } from "./run_daemon.ts";
import { VERSION } from "./version.ts";

/**
 * Runs the subcommand that the arguments name; `run` when they name none.
 *
 * @throws {ExitError} whatever ends the program other than by request
 */
export async function runCommand(args: readonly string[]): Promise<ExitCode> {
  const [first] = args;
  if (first !== undefined && first !== "run" && !first.startsWith("-")) {
    throw usage(`unknown subcommand ${first}`);
  }
  const run = parseRunArgs(first === "run" ? args.slice(1) : args);
  if (run.instead === "help") return print(helpText(RUN));
  if (run.instead === "version") return print(`iotcored ${VERSION}\n`);
  return await runDaemon(run);
}

function print(text: string): ExitCode {
  Deno.stdout.writeSync(new TextEncoder().encode(text));
  return Exit.OK;
}
