import { Exit, ExitError } from "../base/errors.ts";
import type { Config } from "../config/resolve.ts";
import {
  compiledPermissions,
  describePermissions,
  missingFrom,
  neededPermissions,
  refusalOf,
} from "../daemon/permissions.ts";

/**
 * Checks that this program may do what a configuration needs.
 *
 * @throws {ExitError} 78, with what is missing, what may be used instead, and how it would be allowed
 */
export function checkPermissions(config: Config, activated: boolean): void {
  const isGranted = (what: Deno.PermissionDescriptor): boolean =>
    Deno.permissions.querySync(what).state === "granted";
  const missing = missingFrom(neededPermissions(config, activated), isGranted);
  const text = refusalOf(missing, config, compiledPermissions());
  if (text !== undefined) throw new ExitError(Exit.CONFIG, text);
}

/** What this program may do, a line each, for a person. */
export function permissionsText(): string {
  const compiled = compiledPermissions();
  if (compiled === undefined) return "permissions   those of the task in deno.json\n";
  const rows = describePermissions(compiled).map(([kind, items]) =>
    `${kind.padEnd(14)}${items.length === 0 ? "nothing" : items.join("\n" + " ".repeat(14))}\n`
  );
  return `${rows.join("")}all else      refused\n`;
}
