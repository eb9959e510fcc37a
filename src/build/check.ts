/**
 * `deno task compile:check`: compiles into Deno itself in place of the base binary, reads what is embedded, prints it, and fails
 * when it is not what was asked for. What comes out holds the program, but does not run.
 *
 * @module
 */

import { Exit, ExitError } from "../base/errors.ts";
import { IMPORT, permissionsOf } from "./permissions.ts";
import { describePermissions, type PermissionSet } from "../daemon/permissions.ts";
import { bakedArgs, build, FEATURES, V8_FLAGS } from "./build.ts";
import { ENTRY } from "./bundle.ts";
import { orExit, ROOT, say } from "./deno.ts";
import { type BuildOptions, parseBuildArgs } from "./options.ts";
import { type Payload, readPayload } from "./payload.ts";

/** The most that may be added to Deno's runtime, in bytes. */
export const MAX_PAYLOAD_BYTES = 6_000_000;

/** npm packages that the program is made of; what is not listed here must not come in unnoticed. */
const PACKAGES: readonly string[] = [
  "abort-controller",
  "bl",
  "broker-factory",
  "debug",
  "event-target-shim",
  "fast-unique-numbers",
  "inherits",
  "ip-address",
  "lru-cache",
  "minimist",
  "mqtt",
  "mqtt-packet",
  "ms",
  "process",
  "process-nextick-args",
  "readable-stream",
  "rfdc",
  "safe-buffer",
  "smart-buffer",
  "socks",
  "string_decoder",
  "worker-timers",
  "worker-timers-broker",
  "ws",
];

/** Everything that is wrong with a payload, a line each. */
export function problems(payload: Payload, options: BuildOptions): string[] {
  const { metadata, files, bytes } = payload;
  const found: string[] = [];
  const expect = (what: string, got: unknown, wanted: unknown): void => {
    const [a, b] = [JSON.stringify(got), JSON.stringify(wanted)];
    if (a !== b) found.push(`${what} must be ${b}, got ${a}`);
  };
  expect("arguments", metadata.argv, bakedArgs(options));
  expect("permissions", sorted(metadata.permissions), sorted(expectedPermissions(options)));
  expect("unstable features", metadata.unstable_config.features, FEATURES);
  // Deno puts flags of its own before them.
  expect("V8 flags", metadata.v8_flags.slice(-V8_FLAGS.length), V8_FLAGS);
  expect("code cache", metadata.code_cache_key, null);
  expect("node_modules", metadata.node_modules, null);
  expect("entry", metadata.entrypoint_key, ENTRY);
  expect("files", [...files.keys()].sort(), [ENTRY]);
  expect("unlisted packages", packagesOf(payload).filter((name) => !PACKAGES.includes(name)), []);
  if (bytes >= MAX_PAYLOAD_BYTES) {
    found.push(`payload must be under ${MAX_PAYLOAD_BYTES} bytes, got ${bytes}`);
  }
  return found;
}

/** As Deno embeds them: a list allows what is in it, an empty list everything, `null` says nothing, which refuses. */
function expectedPermissions(options: BuildOptions): Record<string, unknown> {
  const { net, read, write, env } = permissionsOf(options);
  const kinds = ["env", "net", "ffi", "read", "run", "sys", "write", "import"];
  const nothing = Object.fromEntries(
    kinds.flatMap((kind) => [[`allow_${kind}`, null], [`deny_${kind}`, null]]),
  );
  return {
    ...nothing,
    ignore_read: null,
    allow_net: net,
    allow_read: read,
    allow_write: write,
    allow_env: env,
    ignore_env: [],
    allow_import: [IMPORT],
    prompt: false,
  };
}

function sorted(object: Readonly<Record<string, unknown>>): unknown {
  return Object.entries(object).sort(([a], [b]) => a < b ? -1 : 1);
}

/** The npm packages that the bundles name as the origin of their parts. */
export function packagesOf({ files }: Payload): string[] {
  const found = new Set<string>();
  for (const bytes of files.values()) {
    const text = new TextDecoder().decode(bytes);
    for (const [, name] of text.matchAll(/^(?:\/\/ | {2}")npm:((?:@[^/\s]+\/)?[^/\s]+)\//gm)) {
      found.add(name!);
    }
  }
  return [...found].sort();
}

/** A set as docs/security.md lists it, in Markdown; where its lines break is for `deno fmt` to say. */
export function permissionList(permissions: PermissionSet): string {
  return describePermissions(permissions).map(([kind, items]) =>
    `- ${kind}: ${items.map((item) => item.replace(/^\S+/, "`$&`")).join(", ")}`
  ).join("\n");
}

/** Compares what docs/security.md lists with the set of `deno.json`. @throws {ExitError} 70 */
export function checkPage(page: string): void {
  const list = permissionList(permissionsOf(parseBuildArgs([])));
  const squeezed = (text: string): string => text.replaceAll(/\s+/g, " ");
  if (squeezed(page).includes(squeezed(list))) return;
  throw new ExitError(
    Exit.INTERNAL,
    `docs/security.md must list the permissions of deno.json:\n${list}`,
  );
}

function describe(payload: Payload): void {
  const { metadata, files, bytes } = payload;
  say(`arguments    ${metadata.argv.join(" ")}`);
  say(`features     ${metadata.unstable_config.features.join(" ")}`);
  for (const [name, value] of Object.entries(metadata.permissions)) {
    if (value === null) continue;
    say(`${name.padEnd(12)} ${Array.isArray(value) ? value.join("\n             ") : value}`);
  }
  for (const [name, { length }] of files) say(`file         ${name}, ${length} bytes`);
  say(`packages     ${packagesOf(payload).join(" ")}`);
  say(`payload      ${bytes} bytes of at most ${MAX_PAYLOAD_BYTES}`);
}

async function check(args: readonly string[]): Promise<void> {
  const options = parseBuildArgs(args);
  const dir = await Deno.makeTempDir({ prefix: "iotcored-" });
  try {
    const output = `${dir}/iotcored`;
    await build(options, output, undefined, Deno.execPath());
    const payload = readPayload(await Deno.readFile(output));
    describe(payload);
    const wrong = problems(payload, options);
    checkPage(await Deno.readTextFile(`${ROOT}docs/security.md`));
    if (wrong.length > 0) throw new ExitError(Exit.INTERNAL, wrong.join("\n"));
    say(
      "compile check: arguments, permissions, the list of them in docs/security.md, features, files and size are as they must be",
    );
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

if (import.meta.main) await orExit(() => check(Deno.args));
