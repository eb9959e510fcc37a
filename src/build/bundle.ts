import { Exit, ExitError } from "../base/errors.ts";
import { COMMIT_GLOBAL } from "../base/version.ts";
import type { PermissionSet } from "../daemon/permissions.ts";
import { GLOBAL } from "../daemon/permissions.ts";
import { firstError, importMapFlags, runDeno } from "./deno.ts";
import { sourceCommit } from "./source.ts";

/** The one file that is embedded. */
export const ENTRY = "main.js";

/**
 * Joins the program and what it uses of its packages into one file. That leaves out type and test packages, which `deno compile`
 * would embed as a whole, and makes the start shorter. Not minified: a stack trace stays readable.
 *
 * @param permissions What the program tells of itself.
 * @throws {ExitError} 70
 */
export async function bundle(dir: string, permissions: PermissionSet): Promise<void> {
  const path = `${dir}/${ENTRY}`;
  const flags = ["-q", ...importMapFlags(), "--platform=deno", "--frozen"];
  const { code, stderr } = await runDeno(["bundle", ...flags, "-o", path, "main.ts"]);
  if (code !== 0) throw new ExitError(Exit.INTERNAL, `Cannot bundle: ${firstError(stderr)}`);
  const globals = { [GLOBAL]: permissions, [COMMIT_GLOBAL]: await sourceCommit() };
  await Deno.writeTextFile(path, finish(await Deno.readTextFile(path), globals));
  // The time is embedded: a fixed one makes equal sources give equal binaries.
  await Deno.utime(path, 0, 0);
}

/** What the bundler leaves to be done; `globals` are what the program knows of its build, by their names. */
export function finish(text: string, globals: Readonly<Record<string, unknown>>): string {
  const imports = text.match(IMPORTS) ?? [];
  const head = Object.entries(globals).map(([name, value]) =>
    `globalThis.${name} = ${JSON.stringify(value)};`
  );
  return ascii(
    [...imports, ...head, withoutOptional(portable(text.replace(IMPORTS, "")))].join("\n"),
  );
}

/** `import` lines, which the bundler leaves between statements: Deno's second engine wants them first. */
const IMPORTS = /^import [^\n]*;$/gm;

/** Takes the place of Deno's cache on this machine out of the names of modules. */
function portable(text: string): string {
  return text.replaceAll(/(?<=^\/\/ |^ {2}")[^\s"]*\/npm\/registry\.npmjs\.org\//gm, "npm:");
}

/** Packages that packages use when they are there: at run time nothing is looked for on the device, so they never are. */
function withoutOptional(text: string): string {
  return text.replaceAll(
    /\b__require\(("(?!node:)[^"]*")\)/g,
    "(() => { throw new Error($1 + ' is not a part of this program'); })()",
  );
}

/** A single character beyond ASCII makes V8 keep the whole source in two bytes each, 3 MB more. */
function ascii(text: string): string {
  return text.replaceAll(
    /[^\0-\x7f]/g,
    (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}
