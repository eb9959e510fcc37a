import { resolve } from "node:path";
import { MAX_CLIENT_ID_BYTES, MAX_IN_FLIGHT, MAX_KEEP_ALIVE_S } from "../aws/limits.ts";
import type { LogFormat } from "../base/log.ts";
import { parseProxyUrl } from "../mqtt/proxy.ts";
import { LEVEL_NAMES } from "../base/log.ts";
import type { Level } from "../base/log.ts";

/** Where most config keys of the daemon stand in the config of the Greengrass nucleus. */
export const CONFIG_PREFIX = "services/aws.greengrass.NucleusLite/configuration/";

/** The folder of the core bus, unless told otherwise. */
export const BUS_DIR = "/run/greengrass";

/** Says what a value must be; `Cannot use ...` with option, key and value is put around it. */
export class RuleError extends Error {
  override readonly name = "RuleError";
}

/** One thing that can be configured: by an option, perhaps by a config key, perhaps with a default. */
export interface Setting<T> {
  /** The long option without its dashes; `false` values of flags cannot be given. */
  readonly option: string;
  /** The one-letter option. */
  readonly short?: string;
  /** Other long spellings. */
  readonly aliases?: readonly string[];
  /** What stands for the value in the help; a setting without one is a flag. */
  readonly value?: string;
  /** The config key, below {@linkcode CONFIG_PREFIX} unless it starts with `system/`. */
  readonly key?: string;
  /** Turns the text of a config value into what the option would have been given. @throws {RuleError} when it breaks a rule */
  readonly fromConfig?: (text: string) => string;
  /** One line for the help. */
  readonly help: string;
  /** Reads and checks a value. @throws {RuleError} when it breaks a rule */
  readonly parse: (text: string) => T;
}

/** The host and port of the broker; port `undefined` when only a host was given. */
export interface Endpoint {
  readonly host: string;
  readonly port: number | undefined;
}

/** Where accepted messages wait. */
export type SpoolPlace = { readonly kind: "memory" } | {
  readonly kind: "disk";
  readonly dir: string;
};

function integer(min: number, max: number, unit = ""): (text: string) => number {
  return (text) => {
    const number = Number(text);
    if (!/^[0-9]+$/.test(text) || number < min || number > max) {
      throw new RuleError(`must be a whole number from ${min} to ${max}${unit}`);
    }
    return number;
  };
}

function oneOf<T extends string>(...choices: readonly T[]): (text: string) => T {
  return (text) => {
    const choice = choices.find((choice) => choice === text);
    if (choice === undefined) throw new RuleError(`must be one of ${choices.join(", ")}`);
    return choice;
  };
}

function text(maxBytes: number): (text: string) => string {
  return (text) => {
    if (text === "") throw new RuleError("must not be empty");
    if (/\p{Cc}/u.test(text)) throw new RuleError("must not hold control characters");
    if (new TextEncoder().encode(text).length > maxBytes) {
      throw new RuleError(`must be at most ${maxBytes} bytes`);
    }
    return text;
  };
}

/** A path, absolute from then on. @throws {RuleError} */
export function path(given: string): string {
  return resolve(text(4_096)(given));
}

function endpoint(given: string): Endpoint {
  const match = /^(?:\[(?<v6>[0-9a-fA-F:.]+)\]|(?<name>[A-Za-z0-9._-]+))(?::(?<port>.*))?$/.exec(
    given,
  );
  const host = match?.groups?.v6 ?? match?.groups?.name;
  if (host === undefined || host.length > 253) {
    throw new RuleError("must be HOST or HOST:PORT, with a host name or address and no scheme");
  }
  const port = match?.groups?.port;
  return { host, port: port === undefined ? undefined : integer(1, 65_535)(port) };
}

function clientId(given: string): string {
  const id = text(MAX_CLIENT_ID_BYTES)(given);
  if (id.startsWith("$")) throw new RuleError("must not start with $ (AWS IoT Core quotas)");
  return id;
}

function interfaceName(given: string): string {
  if (!/^[A-Za-z0-9._-]{1,50}$/.test(given) || given.includes("..") || given === ".") {
    throw new RuleError(
      "must be 1 to 50 of the characters A-Z a-z 0-9 . _ - without two dots in a row",
    );
  }
  return given;
}

function spool(given: string): SpoolPlace {
  return given === "memory" ? { kind: "memory" } : { kind: "disk", dir: path(given) };
}

function flag(given: string): boolean {
  return oneOf("true", "false")(given) === "true";
}

function proxyUrl(given: string): string {
  try {
    parseProxyUrl(given);
    return given;
  } catch (error) {
    if (error instanceof TypeError) {
      throw new RuleError(`is no proxy that can be used: ${error.message}`);
    }
    throw error;
  }
}

/** AWS IoT Core counts less than 30 s as 30 s; other brokers take less ("AWS IoT Core quotas"). */
const keepAlive = integer(1, MAX_KEEP_ALIVE_S, " seconds");
const keepAliveMs = integer(1_000, MAX_KEEP_ALIVE_S * 1_000, " ms");

/** The MQTT versions as the config of Greengrass spells them; as the option spells them they are understood too. */
const CONFIG_VERSIONS: ReadonlyMap<string, string> = new Map([
  ["mqtt5", "5"],
  ["mqtt3", "3.1.1"],
  ["5", "5"],
  ["3.1.1", "3.1.1"],
]);

function configVersion(given: string): string {
  const version = CONFIG_VERSIONS.get(given);
  if (version === undefined) throw new RuleError("must be mqtt5 or mqtt3");
  return version;
}

/** Every setting of the daemon, in the order of its help. */
export const SETTINGS = {
  endpoint: {
    option: "endpoint",
    short: "e",
    value: "HOST[:PORT]",
    key: "iotDataEndpoint",
    help: "the AWS IoT Core data endpoint",
    parse: endpoint,
  },
  id: {
    option: "id",
    short: "i",
    value: "NAME",
    key: "system/thingName",
    help: "the MQTT client id; further connections use NAME_1, NAME_2, ...",
    parse: clientId,
  },
  rootca: {
    option: "rootca",
    short: "r",
    value: "PATH",
    key: "system/rootCaPath",
    help: "PEM file with the root CA of the endpoint",
    parse: path,
  },
  cert: {
    option: "cert",
    short: "c",
    value: "PATH",
    key: "system/certificateFilePath",
    help: "PEM file with the device certificate",
    parse: path,
  },
  key: {
    option: "key",
    short: "k",
    value: "PATH",
    key: "system/privateKeyPath",
    help: "PEM file with the private key of the certificate",
    parse: path,
  },
  interfaceName: {
    option: "interface-name",
    short: "n",
    aliases: ["interface_name"],
    value: "NAME",
    help: "the name of the socket in the bus directory",
    parse: interfaceName,
  },
  busDir: {
    option: "bus-dir",
    value: "DIR",
    help: "the folder of the core bus",
    parse: path,
  },
  port: {
    option: "port",
    value: "N",
    key: "mqtt/port",
    help: "the port of the endpoint; 443 switches ALPN on",
    parse: integer(1, 65_535),
  },
  mqttVersion: {
    option: "mqtt-version",
    value: "5|3.1.1",
    key: "mqtt/version",
    fromConfig: configVersion,
    help: "the MQTT version to speak",
    parse: oneOf("5", "3.1.1"),
  },
  keepAliveS: {
    option: "keep-alive",
    value: "SECONDS",
    key: "mqtt/keepAliveTimeoutMs",
    fromConfig: (text: string): string => String(Math.round(keepAliveMs(text) / 1_000)),
    help: "the MQTT keep-alive",
    parse: keepAlive,
  },
  maxConnections: {
    option: "max-connections",
    value: "N",
    key: "mqtt/maxConnections",
    help: "connections to use when subscriptions need more than one",
    parse: integer(1, 1_000),
  },
  maxInFlight: {
    option: "max-in-flight",
    value: "N",
    key: "mqtt/maxInFlightPublishes",
    help: "QoS 1 messages sent and not yet acknowledged",
    parse: integer(1, MAX_IN_FLIGHT),
  },
  spool: {
    option: "spool",
    value: "memory|DIR",
    help: "where accepted messages wait",
    parse: spool,
  },
  spoolMaxBytes: {
    option: "spool-max-bytes",
    value: "N",
    key: "mqtt/spooler/maxSizeInBytes",
    help: "the most that the spool may hold",
    parse: integer(1_024, 2 ** 40, " bytes"),
  },
  keepQos0WhenOffline: {
    option: "keep-qos0-when-offline",
    key: "mqtt/spooler/keepQos0WhenOffline",
    help: "spool QoS 0 messages while disconnected instead of refusing them",
    parse: flag,
  },
  proxy: {
    option: "proxy",
    value: "URL",
    key: "networkProxy/proxy/url",
    help: "an http:// or https:// proxy to connect through",
    parse: proxyUrl,
  },
  noProxy: {
    option: "no-proxy",
    value: "LIST",
    key: "networkProxy/noproxy",
    help: "hosts to reach without the proxy, with commas",
    parse: (given: string): string => given,
  },
  noRateLimit: {
    option: "no-rate-limit",
    help: "no limit on publishes; for brokers that are not AWS IoT Core",
    parse: flag,
  },
  logLevel: {
    option: "log-level",
    value: LEVEL_NAMES.join("|"),
    help: "what to log",
    parse: oneOf<Level>(...LEVEL_NAMES),
  },
  logFormat: {
    option: "log-format",
    value: "text|json",
    help: "how to log",
    parse: oneOf<LogFormat>("text", "json"),
  },
} as const satisfies Record<string, Setting<unknown>>;

/** The name of a setting. */
export type SettingName = keyof typeof SETTINGS;

/** The type of a setting's value. */
export type SettingValue<N extends SettingName> = ReturnType<(typeof SETTINGS)[N]["parse"]>;
