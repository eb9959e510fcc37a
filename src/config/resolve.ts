import { Exit, ExitError } from "../base/errors.ts";
import { path as parsePath, RuleError, type SpoolPlace } from "./parsers.ts";
import {
  CONFIG_PREFIX,
  type Setting,
  type SettingName,
  SETTINGS,
  type SettingValue,
} from "./settings.ts";

/** The proxy to connect through, as text so that two can be compared. */
export interface ProxyConfig {
  /** An http:// or https:// URL, perhaps with a user and password, which never reach a log. */
  readonly url: string;
  /** Hosts to reach without it, as curl reads `no_proxy`. */
  readonly noProxy: string;
}

/** The settings that are a field of the configuration as they are. */
type PlainSetting = Exclude<
  SettingName,
  "endpoint" | "port" | "noRateLimit" | "proxy" | "noProxy"
>;

/** Everything the daemon is told: frozen, checked, and plain data. */
export type Config =
  & { readonly [N in PlainSetting]: SettingValue<N> }
  & {
    readonly host: string;
    readonly port: number;
    readonly proxy: ProxyConfig | undefined;
    readonly rateLimit: boolean;
    /** The most connections that {@linkcode Config.maxConnections} may be (iotcored-6). */
    readonly connectionCeiling: number;
  };

/** The part of the configuration that is needed to serve clients, connected or not. */
export type LocalConfig = Omit<
  Config,
  "host" | "port" | "id" | "rootca" | "cert" | "key" | "mqttVersion" | "keepAliveS" | "proxy"
>;

/** The texts of the command line, by setting. */
export type CliSettings = { readonly [N in SettingName]?: string };

/** The part of the environment that is read. */
export type Environment = Readonly<Record<string, string | undefined>>;

/** Where values come from that the command line does not give: the texts of config keys, as the config service has them. */
export type ConfigValues = ReadonlyMap<string, string>;

/** Bytes that each kind of spool may hold, unless told otherwise. */
export const SPOOL_DEFAULT_BYTES = { memory: 2_621_440, disk: 67_108_864 } as const;

/**
 * Resolves the configuration: command line, then (proxy only) environment, then config service, then default (iotcored-7).
 *
 * @param ceiling The most connections that this program may use (iotcored-6).
 * @throws {ExitError} 64 when a value of the command line is malformed, 78 when one is missing or malformed elsewhere
 */
export function resolveConfig(
  given: CliSettings,
  environment: Environment = {},
  values: ConfigValues = new Map(),
  ceiling = 1,
): Config {
  const local = resolveLocal(given, environment, values, ceiling);
  const need = <N extends SettingName>(name: N): SettingValue<N> =>
    needSetting(name, given, values);
  const endpoint = need("endpoint");
  const port = readSetting("port", given, values);
  return Object.freeze({
    ...local,
    host: endpoint.host,
    port: choosePort(given, endpoint.port, port) ?? need("port"),
    id: need("id"),
    rootca: need("rootca"),
    cert: need("cert"),
    key: need("key"),
    mqttVersion: need("mqttVersion"),
    keepAliveS: need("keepAliveS"),
    proxy: chooseProxy(given, environment, values),
  });
}

/**
 * Resolves what is needed to serve clients; without `values`, before the config service has said anything.
 *
 * @throws {ExitError} 64 and 78, as {@linkcode resolveConfig} does
 */
export function resolveLocal(
  given: CliSettings,
  environment: Environment = {},
  values: ConfigValues = new Map(),
  ceiling = 1,
): LocalConfig {
  checkCliSettings(given, ceiling);
  const read = <N extends SettingName>(name: N): SettingValue<N> | undefined =>
    readSetting(name, given, values);
  const need = <N extends SettingName>(name: N): SettingValue<N> =>
    needSetting(name, given, values);
  const spool = read("spool") ?? configuredSpool(values) ?? defaultSpool(environment);
  const maxConnections = read("maxConnections") ?? ceiling;
  return Object.freeze({
    interfaceName: need("interfaceName"),
    busDir: need("busDir"),
    maxConnections: checkCeiling(maxConnections, ceiling, given.maxConnections !== undefined),
    connectionCeiling: ceiling,
    maxInFlight: need("maxInFlight"),
    spool,
    spoolMaxBytes: read("spoolMaxBytes") ?? SPOOL_DEFAULT_BYTES[spool.kind],
    keepQos0WhenOffline: need("keepQos0WhenOffline"),
    rateLimit: !need("noRateLimit"),
    logLevel: need("logLevel"),
    logFormat: need("logFormat"),
  });
}

/**
 * Checks the command line alone, so that a mistake there is told before anything else is looked at.
 *
 * @throws {ExitError} 64
 */
export function checkCliSettings(given: CliSettings, ceiling: number): void {
  for (const name of Object.keys(given) as SettingName[]) readSetting(name, given, new Map());
  const maxConnections = readSetting("maxConnections", given, new Map());
  if (maxConnections !== undefined) checkCeiling(maxConnections, ceiling, true);
  const endpoint = readSetting("endpoint", given, new Map());
  choosePort(given, endpoint?.port, readSetting("port", given, new Map()));
}

/** The settings without which the daemon cannot start, as far as the command line does not give them. */
export function missingSettings(given: CliSettings): SettingName[] {
  return (Object.entries(SETTINGS) as [SettingName, Setting<unknown>][])
    .filter(([name, { required }]) => required && given[name] === undefined)
    .map(([name]) => name);
}

/** The full path of a setting's config key, or `undefined` when it has none. */
export function configKey(name: SettingName): string | undefined {
  const { key }: Setting<unknown> = SETTINGS[name];
  return key === undefined ? undefined : fullKey(key);
}

/** A config key with the place where it stands. */
export function fullKey(key: string): string {
  return key.startsWith("system/") ? key : CONFIG_PREFIX + key;
}

/** The config keys that make up `--spool`. */
export const SPOOL_KEYS = {
  storageType: fullKey("mqtt/spooler/storageType"),
  path: fullKey("mqtt/spooler/path"),
} as const;

/** How a setting is called in a message: its option and its key. */
export function nameOf(name: SettingName): string {
  const key = configKey(name);
  return `--${SETTINGS[name].option}${key === undefined ? "" : ` (config key ${key})`}`;
}

function missing(name: SettingName): ExitError {
  return new ExitError(
    Exit.CONFIG,
    `Cannot start: ${nameOf(name)} is required and was given nowhere`,
  );
}

function needSetting<N extends SettingName>(
  name: N,
  given: CliSettings,
  values: ConfigValues,
): SettingValue<N> {
  const value = readSetting(name, given, values);
  if (value !== undefined) return value;
  const { fallback, parse }: Setting<unknown> = SETTINGS[name];
  if (fallback === undefined) throw missing(name);
  return parse(fallback) as SettingValue<N>;
}

function readSetting<N extends SettingName>(
  name: N,
  given: CliSettings,
  values: ConfigValues,
): SettingValue<N> | undefined {
  const setting: Setting<unknown> = SETTINGS[name];
  const onCommandLine = given[name];
  const key = configKey(name);
  const inConfig = key === undefined ? undefined : values.get(key);
  const raw = onCommandLine ?? inConfig;
  if (raw === undefined) return undefined;
  try {
    // A proxy's URL may hold a password, which no message shows.
    if (name !== "noProxy" && name !== "proxy") checkEdges(raw);
    const told = onCommandLine ?? setting.fromConfig?.(raw) ?? raw;
    return setting.parse(told) as SettingValue<N>;
  } catch (error) {
    if (!(error instanceof RuleError)) throw error;
    throw malformed(name, raw, error.message, onCommandLine !== undefined);
  }
}

/** Blanks and quotes that a shell or an editor left around a value. @throws {RuleError} */
function checkEdges(raw: string): void {
  const bare = raw.trim().replace(/^(["'])(.*)\1$/s, "$2").trim();
  if (bare !== raw && bare !== "") {
    throw new RuleError(`must be without blanks and quotes around it; write ${bare}`);
  }
}

function malformed(
  name: SettingName,
  raw: string,
  rule: string,
  onCommandLine: boolean,
): ExitError {
  // A proxy URL may hold a password.
  const shown = name === "proxy" ? "" : `, got ${JSON.stringify(raw)}`;
  const what = onCommandLine ? `--${SETTINGS[name].option}` : nameOf(name);
  return new ExitError(
    onCommandLine ? Exit.USAGE : Exit.CONFIG,
    `Cannot use ${what}: it ${rule}${shown}`,
  );
}

/** The port is in `--port`, in the endpoint, or in the config, in that order; two that differ on one command line are a mistake. */
function choosePort(
  given: CliSettings,
  ofEndpoint: number | undefined,
  port: number | undefined,
): number | undefined {
  if (
    ofEndpoint === undefined || given.endpoint === undefined || given.port === undefined ||
    port === ofEndpoint
  ) {
    return given.port === undefined ? ofEndpoint ?? port : port;
  }
  throw new ExitError(
    Exit.USAGE,
    `Cannot use --port ${port}: --endpoint already says port ${ofEndpoint}`,
  );
}

function checkCeiling(wanted: number, ceiling: number, onCommandLine: boolean): number {
  if (wanted <= ceiling) return wanted;
  throw malformed(
    "maxConnections",
    String(wanted),
    `must be at most ${ceiling}, the ceiling that this program was built with (--connection-ceiling)`,
    onCommandLine,
  );
}

function configuredSpool(values: ConfigValues): SpoolPlace | undefined {
  const type = values.get(SPOOL_KEYS.storageType);
  const path = values.get(SPOOL_KEYS.path);
  if (type === undefined) return undefined;
  if (type === "Memory") return { kind: "memory" };
  if (type !== "Disk") {
    throw wrongSpool(SPOOL_KEYS.storageType, `must be Memory or Disk, got ${JSON.stringify(type)}`);
  }
  if (path === undefined) {
    throw wrongSpool(SPOOL_KEYS.path, `is required when ${SPOOL_KEYS.storageType} is Disk`);
  }
  try {
    return { kind: "disk", dir: parsePath(path) };
  } catch (error) {
    if (!(error instanceof RuleError)) throw error;
    throw wrongSpool(SPOOL_KEYS.path, `${error.message}, got ${JSON.stringify(path)}`);
  }
}

function wrongSpool(key: string, what: string): ExitError {
  return new ExitError(Exit.CONFIG, `Cannot use --spool (config key ${key}): it ${what}`);
}

function defaultSpool(environment: Environment): SpoolPlace {
  // systemd separates several state directories by colons.
  const [dir] = (environment.STATE_DIRECTORY ?? "").split(":");
  return dir ? { kind: "disk", dir: `${dir}/spool` } : { kind: "memory" };
}

function chooseProxy(
  given: CliSettings,
  environment: Environment,
  values: ConfigValues,
): ProxyConfig | undefined {
  const env = (name: string): string | undefined =>
    environment[name] || environment[name.toUpperCase()] || undefined;
  const fromEnvironment = given.proxy === undefined ? env("https_proxy") : undefined;
  const url = fromEnvironment === undefined
    ? configuredProxy(given, values)
    : proxyOf("https_proxy", fromEnvironment);
  if (url === undefined) return undefined;
  const noProxy = given.noProxy ?? env("no_proxy") ?? readSetting("noProxy", {}, values) ?? "";
  return Object.freeze({ url, noProxy });
}

/** An empty URL in the config is how Greengrass says that there is no proxy. */
function configuredProxy(given: CliSettings, values: ConfigValues): string | undefined {
  const key = configKey("proxy")!;
  const none = given.proxy === undefined && values.get(key) === "";
  return none ? undefined : readSetting("proxy", given, values);
}

function proxyOf(variable: string, text: string): string {
  try {
    return SETTINGS.proxy.parse(text);
  } catch (error) {
    if (!(error instanceof RuleError)) throw error;
    throw new ExitError(
      Exit.CONFIG,
      `Cannot use the environment variable ${variable}: it ${error.message}`,
    );
  }
}
