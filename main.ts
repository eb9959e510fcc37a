/**
 * The program: finds the subcommand, and turns what it throws into an exit code and one line on stderr.
 *
 * @module
 */

import { Exit, ExitError, messageOf } from "./src/base/errors.ts";
import { runCommand } from "./src/cli/commands.ts";

if (import.meta.main) {
  try {
    Deno.exit(await runCommand(Deno.args));
  } catch (error) {
    const refused = error instanceof Deno.errors.NotCapable;
    const known = error instanceof ExitError || refused;
    const text = known ? messageOf(error) : `unexpected error: ${messageOf(error)}`;
    Deno.stderr.writeSync(new TextEncoder().encode(`iotcored: ${text}\n`));
    if (!known && error instanceof Error && error.stack) {
      Deno.stderr.writeSync(new TextEncoder().encode(`${error.stack}\n`));
    }
    Deno.exit(error instanceof ExitError ? error.exit : refused ? Exit.CONFIG : Exit.INTERNAL);
  }
}
