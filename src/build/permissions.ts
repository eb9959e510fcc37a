import settings from "../../deno.json" with { type: "json" };
import type { PermissionSet } from "../daemon/permissions.ts";
import { type BuildOptions, ENDPOINT_PORTS } from "./options.ts";

/** The set of `deno.json` that `task iotcored` runs with, and from which every compiled program has its own. */
const { net, read, write, env } = settings.permissions.iotcored;

/** What the set of `deno.json` has for the default socket; the options of the build move it. */
const BUS_DIR = "/run/greengrass";
const INTERFACE_NAME = "aws_iot_mqtt";

/** Unless told of another host, Deno trusts some to import from; this one is none [RFC 6761, 6.4]. */
export const IMPORT = "none.invalid:443";

/** The permissions of a build: those of `deno.json`, but for what its options change. */
export function permissionsOf(options: BuildOptions): Required<PermissionSet> {
  const moved = (entry: string): string[] => moveSocket(entry, options);
  const written = [...write.flatMap(moved), ...options.spools];
  const folders = options.onlyRead.length > 0
    ? options.onlyRead
    : read.filter((path) => !write.includes(path));
  const hosts = options.endpoints.length > 0
    ? options.endpoints.flatMap(withPorts)
    : net.filter((entry) => !entry.startsWith("unix:"));
  const sockets = net.filter((entry) => entry.startsWith("unix:"));
  return {
    net: [...hosts, ...options.proxies, ...new Set(sockets.flatMap(moved))],
    read: [...new Set([...folders, ...options.read, ...written])],
    write: [...new Set(written)],
    env: env.allow,
  };
}

/** The places of a path of the default socket with other bus folders or interface names. */
function moveSocket(entry: string, { busDirs, interfaceNames }: BuildOptions): string[] {
  const [, unix = "", rest] = new RegExp(`^(unix:)?${BUS_DIR}(?=/|$)(.*)$`).exec(entry) ?? [];
  if (rest === undefined) return [entry];
  return busDirs.flatMap((dir) =>
    interfaceNames.map((name) => `${unix}${dir}${rest.replace(INTERFACE_NAME, name)}`)
  );
}

function withPorts(pattern: string): string[] {
  // To Deno a host without a port is that host with any.
  if (pattern.endsWith(":*")) return [pattern.slice(0, -2)];
  if (/:\d+$/.test(pattern)) return [pattern];
  return ENDPOINT_PORTS.map((port) => `${pattern}:${port}`);
}

/** A set as flags of Deno. No prompt: in a daemon it would wait for ever. */
export function permissionFlags({ net, read, write, env }: Required<PermissionSet>): string[] {
  return [
    "--no-prompt",
    `--allow-net=${net.join(",")}`,
    `--allow-read=${read.join(",")}`,
    `--allow-write=${write.join(",")}`,
    `--allow-env=${env.join(",")}`,
    "--ignore-env",
    `--allow-import=${IMPORT}`,
  ];
}
