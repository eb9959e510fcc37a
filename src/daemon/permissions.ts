import { socketPaths } from "../bus/socket_file.ts";
import { nameOf } from "../mqtt/tls.ts";
import { proxyFor } from "../mqtt/proxy.ts";
import type { Config } from "../config/resolve.ts";

/** What a program may do; everything else is refused. */
export interface PermissionSet {
  /** `HOST:PORT` or `*.DOMAIN:PORT`, and `unix:` with the absolute path of a socket. */
  readonly net: readonly string[];
  /** Absolute paths of files, and of folders with all that is below them. */
  readonly read: readonly string[];
  readonly write: readonly string[];
  /** Environment variables that can be read; all others look as if they were not set. */
  readonly env?: readonly string[];
}

/**
 * What a configuration needs: one endpoint, the proxy if there is one, the daemon's own socket, the credential files and the
 * spool's folder.
 *
 * @param activated systemd holds the socket: its paths are not needed.
 */
export function neededPermissions(config: Config, activated: boolean): PermissionSet {
  const proxy = proxyFor(config.host, config.proxy?.url, config.proxy?.noProxy);
  const { final, folder, fresh } = socketPaths(`${config.busDir}/${config.interfaceName}`);
  const own = [
    ...activated ? [] : [final, folder],
    ...config.spool.kind === "disk" ? [config.spool.dir] : [],
  ];
  return {
    net: [
      nameOf(config),
      ...proxy === undefined ? [] : [nameOf(proxy)],
      ...activated ? [] : [`unix:${final}`, `unix:${fresh}`],
    ],
    read: [...new Set([config.rootca, config.cert, config.key]), ...own],
    write: own,
  };
}

/** A set as rows for people: a kind of thing, and everything of that kind. */
export function describePermissions(
  { net, read, write, env = [] }: PermissionSet,
): readonly (readonly [kind: string, items: readonly string[]])[] {
  return [
    ["network", describeHosts(net)],
    ["Unix sockets", net.filter((entry) => !isHost(entry)).map((entry) => entry.slice(5))],
    ["reads", read],
    ["writes", write],
    ["environment", env],
  ];
}

/** The hosts of a list; those that differ in their region and port alone are one item. */
function describeHosts(net: readonly string[]): string[] {
  const groups = new Map<string, { regions: Set<string>; ports: Set<string> }>();
  for (const host of net.filter(isHost)) {
    const [, name = "", port = ""] = /^(.*):(\d+)$/.exec(host) ?? [];
    const [, service, region, domain] =
      /^(.*\.iot(?:-fips)?)\.([a-z]+-[a-z0-9-]+)\.(amazonaws\.com(?:\.cn)?)$/.exec(name) ?? [];
    const key = region === undefined ? name : `${service}.<region>.${domain}`;
    const group = groups.get(key) ?? { regions: new Set(), ports: new Set() };
    groups.set(key, group);
    if (region !== undefined) group.regions.add(region);
    group.ports.add(port);
  }
  return [...groups].map(([name, { regions, ports }]) =>
    `${name}:${[...ports].join("/")}${regions.size === 0 ? "" : ` in ${[...regions].join(" ")}`}`
  );
}

/** What of a set is not granted. */
export function missingFrom(
  needed: PermissionSet,
  isGranted: (what: Deno.PermissionDescriptor) => boolean,
): PermissionSet {
  return {
    net: needed.net.filter((host) => !isGranted({ name: "net", host })),
    read: needed.read.filter((path) => !isGranted({ name: "read", path })),
    write: needed.write.filter((path) => !isGranted({ name: "write", path })),
  };
}

/**
 * Says in one line what is missing, what may be used instead, and how it would be allowed; `undefined` when nothing is missing.
 *
 * @param compiled What the program was compiled with; `undefined` when it runs from source.
 */
export function refusalOf(
  missing: PermissionSet,
  config: Config,
  compiled: PermissionSet | undefined,
): string | undefined {
  const hosts = missing.net.filter(isHost);
  const files = missing.read.filter((path) => !missing.write.includes(path));
  const what = [
    ...hosts.map((host) => `reach ${host}`),
    ...missing.net.filter((host) => !isHost(host)).map((host) => `use ${host.slice(5)}`),
    ...files.map((path) => `read ${path}`),
    ...missing.write.map((path) => `write ${path}`),
  ];
  if (what.length === 0) return undefined;
  const cannot = `Cannot ${what.join(", ")}`;
  if (compiled === undefined) {
    return `${cannot}: this program was started without the permission; deno task iotcored:dev runs it with the wide set`;
  }
  const instead = [
    ...hosts.length === 0 ? [] : [`reach ${list(describeHosts(compiled.net), ", ")}`],
    ...files.length === 0 ? [] : [`read what is below ${list(compiled.read)}`],
    ...missing.write.length === 0 ? [] : [`write below ${list(compiled.write)}`],
  ];
  const may = instead.length === 0 ? "" : ` and may ${instead.join(", ")};`;
  return `${cannot}: this program was compiled without the permission${
    may || ";"
  } this allows it: deno task compile -- ${compileOptions(missing, config).join(" ")}`;
}

function isHost(entry: string): boolean {
  return !entry.startsWith("unix:");
}

function list(entries: readonly string[], separator = " "): string {
  return entries.length === 0 ? "nothing" : entries.join(separator);
}

function compileOptions(missing: PermissionSet, config: Config): string[] {
  const { connectionCeiling, busDir, interfaceName, spool } = config;
  const endpoint = nameOf(config);
  const socket = missing.net.some((host) => !isHost(host)) ||
    missing.write.some((path) => path.startsWith(`${busDir}/`));
  const files = [config.rootca, config.cert, config.key];
  return [
    ...connectionCeiling > 1 ? [`--max-connections ${connectionCeiling}`] : [],
    ...missing.net.filter(isHost).map((host) =>
      `--${host === endpoint ? "endpoint" : "proxy"} ${host}`
    ),
    ...socket ? [`--bus-dir ${busDir} --interface-name ${interfaceName}`] : [],
    ...missing.read.filter((path) => files.includes(path)).map((path) => `--read ${path}`),
    ...spool.kind === "disk" && missing.write.includes(spool.dir) ? [`--spool ${spool.dir}`] : [],
  ];
}

/** The name under which the build puts the set before the program: Deno itself lists its permissions to nobody. */
export const GLOBAL = "IOTCORED_PERMISSIONS";

/** What this program was compiled with; `undefined` from source, where the flags of Deno decide. */
export function compiledPermissions(): PermissionSet | undefined {
  return (globalThis as { [GLOBAL]?: PermissionSet })[GLOBAL];
}
