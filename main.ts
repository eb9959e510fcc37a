/**
 * The program: finds the subcommand, and turns what it throws into an exit code and one line on stderr.
 *
 * @module
 */

import { failureOf } from "./src/base/errors.ts";
import { runCommand } from "./src/cli/commands.ts";

if (import.meta.main) {
  try {
    Deno.exit(await runCommand(Deno.args));
  } catch (error) {
    const { exit, text, stack } = failureOf(error);
    const lines = [`iotcored: ${text}\n`, ...stack === undefined ? [] : [`${stack}\n`]];
    Deno.stderr.writeSync(new TextEncoder().encode(lines.join("")));
    Deno.exit(exit);
  }
}
