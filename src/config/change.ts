import type { Config } from "./resolve.ts";

/** A field of the configuration. */
export type ConfigField = keyof Config;

/** What needs a new link to apply, all of what is told to the broker or decides how it is reached. */
const OF_THE_LINK: ReadonlySet<ConfigField> = new Set([
  "host",
  "port",
  "id",
  "rootca",
  "cert",
  "key",
  "mqttVersion",
  "keepAliveS",
  "proxy",
]);

/** What decides whether the broker can be reached at all, with TLS. */
const OF_THE_ROUTE: ReadonlySet<ConfigField> = new Set([
  "host",
  "port",
  "rootca",
  "cert",
  "key",
  "proxy",
]);

/** What is decided once, when the daemon starts. */
const OF_THE_START: ReadonlySet<ConfigField> = new Set(["spool", "spoolMaxBytes"]);

/** What differs between two configurations. */
export interface ConfigChange {
  readonly fields: readonly ConfigField[];
  /** Those that a new link applies. */
  readonly link: readonly ConfigField[];
  /** Whether the broker is reached in another way, or with other credentials. */
  readonly route: boolean;
  /** Those that only another start applies. */
  readonly restart: readonly ConfigField[];
  /** Whether other credential files are to be used. */
  readonly credentials: boolean;
}

/** Compares two configurations. */
export function compareConfigs(before: Config, after: Config): ConfigChange {
  const fields = (Object.keys(after) as ConfigField[]).filter((field) =>
    // Plain data whose keys stand in the same order.
    JSON.stringify(before[field]) !== JSON.stringify(after[field])
  );
  return {
    fields,
    link: fields.filter((field) => OF_THE_LINK.has(field)),
    route: fields.some((field) => OF_THE_ROUTE.has(field)),
    restart: fields.filter((field) => OF_THE_START.has(field)),
    credentials: fields.some((field) => field === "rootca" || field === "cert" || field === "key"),
  };
}
