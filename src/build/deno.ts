import { Exit, ExitError } from "../base/errors.ts";

/** The folder of the project. */
export const ROOT: string = new URL("../../", import.meta.url).pathname;

/** What a run of Deno gave. */
export interface Ran {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs this same Deno, in the project's folder unless told otherwise. */
export async function runDeno(
  args: readonly string[],
  env: Record<string, string> = {},
  cwd: string = ROOT,
): Promise<Ran> {
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: [...args],
    cwd,
    env: { ...env, NO_COLOR: "1", DENO_NO_UPDATE_CHECK: "1" },
    stdin: "null",
  }).output();
  const decoder = new TextDecoder();
  return { code, stdout: decoder.decode(stdout), stderr: decoder.decode(stderr) };
}

/**
 * Runs a program of the system in the project's folder; returns what it prints.
 *
 * @throws {ExitError} 69 when it is missing, 70 when it fails
 */
export async function run(
  program: string,
  args: readonly string[],
  env: Record<string, string> = {},
): Promise<string> {
  const command = new Deno.Command(program, { args: [...args], cwd: ROOT, env, stdin: "null" });
  try {
    const { success, stdout, stderr } = await command.output();
    const decoder = new TextDecoder();
    if (success) return decoder.decode(stdout);
    const why = decoder.decode(stderr).trim();
    throw new ExitError(Exit.INTERNAL, `Cannot run ${program} ${args[0]}: ${why}`);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
    throw new ExitError(Exit.UNAVAILABLE, `Cannot run ${program}: it is not on this machine`);
  }
}

/** The flag that makes another Deno use the stand-ins of `.ci/npm-only`, if this one does; what a task picked counts for all that it starts. */
export function importMapFlags(): string[] {
  const parseArgs = new URL(import.meta.resolve("@std/cli/parse-args"));
  return parseArgs.protocol === "file:"
    ? [`--import-map=${new URL("import_map.json", parseArgs).pathname}`]
    : [];
}

/** The lines of an error of Deno that say what is wrong, as one. */
export function firstError(stderr: string): string {
  const [text = ""] = stderr.split(/\n\s*Stack backtrace:/);
  const lines = text.split("\n").map((line) => line.trim());
  const start = lines.findIndex((line) => line.startsWith("error:"));
  return lines.slice(Math.max(0, start)).map((line) => line.replace(/^(error:|\d+:)\s*/, ""))
    .filter((line) => line !== "" && line !== "Caused by:").join("; ");
}

/** A line on stdout, for a person to read. */
export function say(text: string): void {
  Deno.stdout.writeSync(new TextEncoder().encode(text + "\n"));
}

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
