import { socketPaths } from "../bus/socket_file.ts";
import { nameOf } from "../mqtt/tls.ts";
import { proxyFor } from "../mqtt/proxy.ts";
import type { Config } from "../config/resolve.ts";

/** What a program may do. The inner box is what the daemon may, once its configuration is known; all else is refused. */
export interface Box {
  /** `host:port`, and `unix:` with the path of a socket. */
  readonly net: readonly string[];
  readonly read: readonly string[];
  readonly write: readonly string[];
}

/**
 * The inner box: one endpoint, the proxy if there is one, the daemon's own socket, the credential files and the spool's folder.
 *
 * @param activated systemd holds the socket: its paths are not needed.
 */
export function innerBox(config: Config, activated: boolean): Box {
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

/** Whether everything that `needed` allows is allowed by `box`, word by word. */
export function covers(box: Box, needed: Box): boolean {
  return (["net", "read", "write"] as const).every((kind) =>
    needed[kind].every((what) => box[kind].includes(what))
  );
}

/** The box as a worker takes it. */
export function workerPermissions({ net, read, write }: Box): Deno.PermissionOptionsObject {
  return {
    net: [...net],
    read: [...read],
    write: [...write],
    env: false,
    sys: false,
    run: false,
    ffi: false,
    import: false,
  };
}

/** What this thread itself is not allowed of a box, and so cannot pass on. */
export function missingFrom(
  box: Box,
  isGranted: (what: Deno.PermissionDescriptor) => boolean,
): Box {
  return {
    net: box.net.filter((host) => !isGranted({ name: "net", host })),
    read: box.read.filter((path) => !isGranted({ name: "read", path })),
    write: box.write.filter((path) => !isGranted({ name: "write", path })),
  };
}

/** Says what is missing and how it would be allowed, in one line; `undefined` when nothing is missing. */
export function missingText(missing: Box, config: Config, standalone: boolean): string | undefined {
  const files = missing.read.filter((path) => !missing.write.includes(path));
  const what = [
    ...missing.net.filter((host) => !host.startsWith("unix:")).map((host) => `reach ${host}`),
    ...missing.net.filter((host) => host.startsWith("unix:")).map((host) => `use ${host.slice(5)}`),
    ...files.map((path) => `read ${path}`),
    ...missing.write.map((path) => `write ${path}`),
  ];
  if (what.length === 0) return undefined;
  const how = standalone
    ? `compiled without the permission; this allows it: deno task compile -- ${
      compileOptions(missing, config).join(" ")
    }`
    : "started without the permission; -P=iotcored allows it, as deno task iotcored does";
  return `Cannot ${what.join(", ")}: this program was ${how}`;
}

function compileOptions(missing: Box, config: Config): string[] {
  const { connectionCeiling, busDir, interfaceName, spool } = config;
  const endpoint = nameOf(config);
  const socket = missing.net.some((host) => host.startsWith("unix:")) ||
    missing.write.some((path) => path.startsWith(`${busDir}/`));
  const files = [config.rootca, config.cert, config.key];
  return [
    ...connectionCeiling > 1 ? [`--max-connections ${connectionCeiling}`] : [],
    ...missing.net.filter((host) => !host.startsWith("unix:"))
      .map((host) => `--${host === endpoint ? "endpoint" : "proxy"} ${host}`),
    ...socket ? [`--bus-dir ${busDir} --interface-name ${interfaceName}`] : [],
    ...missing.read.filter((path) => files.includes(path)).map((path) => `--read ${path}`),
    ...spool.kind === "disk" && missing.write.includes(spool.dir) ? [`--spool ${spool.dir}`] : [],
  ];
}
