/**
 * The configuration: one table of every setting, from which it is read, watched, and documented.
 *
 * @module
 */

import { MAX_IN_FLIGHT } from "../aws/limits.ts";
import { type Level, LEVEL_NAMES, type LogFormat } from "../base/log.ts";
import { BUS_DIR, INTERFACE_NAME } from "../bus/socket_file.ts";
import {
  clientId,
  configKeepAlive,
  configVersion,
  credentialPath,
  endpoint,
  flag,
  integer,
  interfaceName,
  keepAlive,
  oneOf,
  path,
  proxyUrl,
  spool,
} from "./parsers.ts";

/** Where most config keys of the daemon stand in the config of the Greengrass nucleus. */
export const CONFIG_PREFIX = "services/aws.greengrass.NucleusLite/configuration/";

/** The most connections that a program can be made for. */
export const MAX_CEILING = 999;

/**
 * What a change needs: nothing (`live`), a new link (`link`), a new link after the broker was reached that way (`route`), or another
 * start of the daemon (`restart`).
 */
export type Applies = "live" | "link" | "route" | "restart";

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
  /** The value when it is given nowhere, as the option would have it. */
  readonly fallback?: string;
  /** What stands in its place in help and documents where the default depends on something. */
  readonly fallbackText?: string;
  /** Whether the daemon cannot start without it. */
  readonly required?: true;
  readonly applies: Applies;
  /** One line for the help. */
  readonly help: string;
  /** Reads and checks a value. @throws {RuleError} when it breaks a rule */
  readonly parse: (text: string) => T;
}

/** Every setting of the daemon, in the order of its help. */
export const SETTINGS = {
  endpoint: {
    option: "endpoint",
    short: "e",
    value: "HOST[:PORT]",
    key: "iotDataEndpoint",
    required: true,
    applies: "route",
    help: "the AWS IoT Core data endpoint",
    parse: endpoint,
  },
  id: {
    option: "id",
    short: "i",
    value: "NAME",
    key: "system/thingName",
    required: true,
    applies: "link",
    help: "the MQTT client id; further connections use NAME_1, NAME_2, ...",
    parse: clientId,
  },
  rootca: {
    option: "rootca",
    short: "r",
    value: "PATH",
    key: "system/rootCaPath",
    required: true,
    applies: "route",
    help: "PEM file with the root CA of the endpoint",
    parse: path,
  },
  cert: {
    option: "cert",
    short: "c",
    value: "PATH",
    key: "system/certificateFilePath",
    required: true,
    applies: "route",
    help: "PEM file with the device certificate",
    parse: credentialPath,
  },
  key: {
    option: "key",
    short: "k",
    value: "PATH",
    key: "system/privateKeyPath",
    required: true,
    applies: "route",
    help: "PEM file with the private key of the certificate",
    parse: credentialPath,
  },
  interfaceName: {
    option: "interface-name",
    short: "n",
    aliases: ["interface_name"],
    value: "NAME",
    fallback: INTERFACE_NAME,
    applies: "restart",
    help: "the name of the socket in the bus directory",
    parse: interfaceName,
  },
  busDir: {
    option: "bus-dir",
    value: "DIR",
    fallback: BUS_DIR,
    applies: "restart",
    help: "the folder of the core bus",
    parse: path,
  },
  port: {
    option: "port",
    value: "N",
    key: "mqtt/port",
    fallback: "8883",
    applies: "route",
    help: "the port of the endpoint; 443 switches ALPN on",
    parse: integer(1, 65_535),
  },
  mqttVersion: {
    option: "mqtt-version",
    value: "5|3.1.1",
    key: "mqtt/version",
    fromConfig: configVersion,
    fallback: "5",
    applies: "link",
    help: "the MQTT version to speak",
    parse: oneOf("5", "3.1.1"),
  },
  keepAliveS: {
    option: "keep-alive",
    value: "SECONDS",
    key: "mqtt/keepAliveTimeoutMs",
    fromConfig: configKeepAlive,
    fallback: "60",
    applies: "link",
    help: "the MQTT keep-alive",
    parse: keepAlive,
  },
  maxConnections: {
    option: "max-connections",
    value: "N",
    key: "mqtt/maxConnections",
    fallbackText: "the ceiling",
    applies: "live",
    help: "connections to use when subscriptions need more than one",
    parse: integer(1, MAX_CEILING),
  },
  maxInFlight: {
    option: "max-in-flight",
    value: "N",
    key: "mqtt/maxInFlightPublishes",
    fallback: String(MAX_IN_FLIGHT),
    applies: "live",
    help: "QoS 1 messages sent and not yet acknowledged",
    parse: integer(1, MAX_IN_FLIGHT),
  },
  spool: {
    option: "spool",
    value: "memory|DIR",
    fallbackText: "$STATE_DIRECTORY/spool under systemd, else memory",
    applies: "restart",
    help: "where accepted messages wait",
    parse: spool,
  },
  spoolMaxBytes: {
    option: "spool-max-bytes",
    value: "N",
    key: "mqtt/spooler/maxSizeInBytes",
    fallbackText: "2621440 in memory, 67108864 on disk",
    applies: "restart",
    help: "the most that the spool may hold",
    parse: integer(1_024, 2 ** 40, " bytes"),
  },
  keepQos0WhenOffline: {
    option: "keep-qos0-when-offline",
    key: "mqtt/spooler/keepQos0WhenOffline",
    fallback: "false",
    applies: "live",
    help: "spool QoS 0 messages while disconnected instead of refusing them",
    parse: flag,
  },
  proxy: {
    option: "proxy",
    value: "URL",
    key: "networkProxy/proxy/url",
    fallbackText: "$https_proxy",
    applies: "route",
    help: "an http:// or https:// proxy to connect through",
    parse: proxyUrl,
  },
  noProxy: {
    option: "no-proxy",
    value: "LIST",
    key: "networkProxy/noproxy",
    fallbackText: "$no_proxy",
    applies: "route",
    help: "hosts to reach without the proxy, with commas",
    parse: (given: string): string => given,
  },
  noRateLimit: {
    option: "no-rate-limit",
    fallback: "false",
    applies: "restart",
    help: "no limit on publishes; for brokers that are not AWS IoT Core",
    parse: flag,
  },
  logLevel: {
    option: "log-level",
    value: LEVEL_NAMES.join("|"),
    fallback: "info",
    applies: "restart",
    help: "what to log",
    parse: oneOf<Level>(...LEVEL_NAMES),
  },
  logFormat: {
    option: "log-format",
    value: "text|json|journald",
    fallback: "text",
    applies: "restart",
    help: "how to log",
    parse: oneOf<LogFormat>("text", "json", "journald"),
  },
} as const satisfies Record<string, Setting<unknown>>;

/** The name of a setting. */
export type SettingName = keyof typeof SETTINGS;

/** The type of a setting's value. */
export type SettingValue<N extends SettingName> = ReturnType<(typeof SETTINGS)[N]["parse"]>;
