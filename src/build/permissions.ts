import { socketPaths } from "../bus/socket_file.ts";
import { type BuildOptions, ENDPOINT_PORTS } from "./options.ts";

/** What a compiled program may do, before it has read its configuration: the outer box. Everything else is refused. */
export interface Box {
  readonly net: readonly string[];
  readonly read: readonly string[];
  readonly write: readonly string[];
  /** Environment variables that can be read; all others look as if they were not set. */
  readonly env: readonly string[];
}

/** Where nucleus lite and its classic sibling keep credentials: `rootPath`, the connection kit, the guides of both. */
export const CREDENTIAL_FOLDERS: readonly string[] = [
  "/etc/greengrass",
  "/ggcredentials",
  "/greengrass/v2",
  "/var/lib/greengrass",
];

/** `StateDirectory=` of the service unit. */
export const STATE_FOLDER = "/var/lib/iotcored";

/** `RuntimeDirectory=` of the service unit. */
export const RUNTIME_FOLDER = "/run/iotcored";

/** Where systemd listens for `sd_notify`. */
export const NOTIFY_SOCKET = "/run/systemd/notify";

/** The proxy's variables and systemd's. */
export const VARIABLES: readonly string[] = [
  "HTTPS_PROXY",
  "JOURNAL_STREAM",
  "LISTEN_FDNAMES",
  "LISTEN_FDS",
  "LISTEN_PID",
  "NOTIFY_SOCKET",
  "NO_PROXY",
  "RUNTIME_DIRECTORY",
  "STATE_DIRECTORY",
  "WATCHDOG_PID",
  "WATCHDOG_USEC",
  "https_proxy",
  "no_proxy",
];

/** Unless told of another host, Deno trusts some to import from; this one is none [RFC 6761, 6.4]. */
export const IMPORT = "none.invalid:443";

/** The outer box of a build. */
export function outerBox(options: BuildOptions): Box {
  const { busDir, interfaceName, spools } = options;
  const { final, fresh } = socketPaths(`${busDir}/${interfaceName}`);
  const sockets = [
    final,
    fresh,
    `${busDir}/gg_config`,
    NOTIFY_SOCKET,
    `${RUNTIME_FOLDER}/notify`,
  ];
  // Others' sockets in the bus folder cannot be reached all the same: that takes `net` on their exact path.
  const written = [busDir, STATE_FOLDER, RUNTIME_FOLDER, NOTIFY_SOCKET, ...spools];
  return {
    net: [
      ...options.endpoints.flatMap(withPorts),
      ...options.proxies,
      ...new Set(sockets.map((path) => `unix:${path}`)),
    ],
    read: [...new Set([...written, ...CREDENTIAL_FOLDERS, ...options.read])],
    write: [...new Set(written)],
    env: VARIABLES,
  };
}

function withPorts(pattern: string): string[] {
  if (/:\d+$/.test(pattern)) return [pattern];
  return ENDPOINT_PORTS.map((port) => `${pattern}:${port}`);
}

/** The box as flags of Deno. No prompt: in a daemon it would wait for ever. */
export function boxFlags({ net, read, write, env }: Box): string[] {
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
