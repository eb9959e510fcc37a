import { Exit, ExitError } from "../base/errors.ts";
import { firstError, importMapFlags, runDeno } from "./deno.ts";

/** The files that are embedded, with what each is made from. The worker is a module of its own: it starts by its URL. */
export const ENTRIES = { "main.js": "main.ts", "worker.js": "src/daemon/worker.ts" } as const;

/**
 * Joins the program and what it uses of its packages into one file for each entry. That leaves out type and test packages,
 * which `deno compile` would embed as a whole, and makes the start shorter. Not minified: a stack trace stays readable.
 *
 * @throws {ExitError} 70
 */
export async function bundle(dir: string): Promise<void> {
  const flags = await importMapFlags();
  for (const [file, source] of Object.entries(ENTRIES)) {
    const path = `${dir}/${file}`;
    const args = ["bundle", "-q", ...flags, "--platform=deno", "--frozen", "-o", path, source];
    const { code, stderr } = await runDeno(args);
    if (code !== 0) {
      throw new ExitError(Exit.INTERNAL, `Cannot bundle ${source}: ${firstError(stderr)}`);
    }
    await Deno.writeTextFile(path, portable(await Deno.readTextFile(path)));
    // The time is embedded: a fixed one makes equal sources give equal binaries.
    await Deno.utime(path, 0, 0);
  }
}

/** Takes the place of Deno's cache on this machine out of the names of modules. */
function portable(text: string): string {
  return text.replaceAll(/(?<=^\/\/ |^ {2}")[^\s"]*\/npm\/registry\.npmjs\.org\//gm, "npm:");
}
