import { Exit, ExitError } from "../base/errors.ts";
import { firstError, importMapFlags, runDeno } from "./deno.ts";

/** The one file that is embedded. */
export const ENTRY = "main.js";

/**
 * Joins the program and what it uses of its packages into one file. That leaves out type and test packages, which `deno compile`
 * would embed as a whole, and makes the start shorter. Not minified: a stack trace stays readable.
 *
 * @throws {ExitError} 70
 */
export async function bundle(dir: string): Promise<void> {
  const path = `${dir}/${ENTRY}`;
  const flags = ["-q", ...await importMapFlags(), "--platform=deno", "--frozen"];
  const { code, stderr } = await runDeno(["bundle", ...flags, "-o", path, "main.ts"]);
  if (code !== 0) throw new ExitError(Exit.INTERNAL, `Cannot bundle: ${firstError(stderr)}`);
  await Deno.writeTextFile(path, portable(await Deno.readTextFile(path)));
  // The time is embedded: a fixed one makes equal sources give equal binaries.
  await Deno.utime(path, 0, 0);
}

/** Takes the place of Deno's cache on this machine out of the names of modules. */
function portable(text: string): string {
  return text.replaceAll(/(?<=^\/\/ |^ {2}")[^\s"]*\/npm\/registry\.npmjs\.org\//gm, "npm:");
}
