import { Exit, ExitError } from "../base/errors.ts";
import { run } from "./deno.ts";

/**
 * When the source was changed last: `$SOURCE_DATE_EPOCH`, or the time of the commit.
 *
 * @throws {ExitError} 66 when neither says it
 */
export async function sourceDate(): Promise<Date> {
  const given = Deno.env.get("SOURCE_DATE_EPOCH") || await git("log", "-1", "--format=%ct");
  if (given !== undefined && /^\d{1,10}$/.test(given)) return new Date(Number(given) * 1000);
  throw new ExitError(
    Exit.NOINPUT,
    "Cannot say when the source was changed: SOURCE_DATE_EPOCH must be seconds since 1970 where there is no git",
  );
}

/** The commit of the source, `-dirty` behind it when files differ from it; `unknown` where there is no git. */
export async function sourceCommit(): Promise<string> {
  return await git("describe", "--always", "--dirty", "--abbrev=12", "--exclude=*") ?? "unknown";
}

/** What a command of git prints; `undefined` when this is no clone, or git is missing. */
async function git(...args: string[]): Promise<string | undefined> {
  try {
    return (await run("git", args)).trim();
  } catch (error) {
    if (error instanceof ExitError) return undefined;
    throw error;
  }
}
