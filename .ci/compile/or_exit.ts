import { ExitError } from "../../src/base/errors.ts";

/** Runs a task; what it throws on purpose becomes its message on stderr and an exit code, without a stack trace. */
export async function orExit(run: () => Promise<void>): Promise<void> {
  try {
    await run();
  } catch (error) {
    if (!(error instanceof ExitError)) throw error;
    Deno.stderr.writeSync(new TextEncoder().encode(error.message + "\n"));
    Deno.exit(error.exit);
  }
}
