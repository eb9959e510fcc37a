import { Exit, ExitError } from "../base/errors.ts";
import type { Config } from "../config/resolve.ts";
import {
  missingFrom,
  neededPermissions,
  type PermissionSet,
  refusalOf,
} from "../daemon/permissions.ts";

/** The name under which the build puts the set before the program: Deno itself lists its permissions to nobody. */
export const GLOBAL = "IOTCORED_PERMISSIONS";

/** What this program was compiled with; `undefined` from source, where the flags of Deno decide. */
export function compiledPermissions(): PermissionSet | undefined {
  return (globalThis as { [GLOBAL]?: PermissionSet })[GLOBAL];
}

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
