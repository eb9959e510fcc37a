import type { Config } from "./resolve.ts";
import { type Applies, type Setting, type SettingName, SETTINGS } from "./settings.ts";

/** A field of the configuration. */
export type ConfigField = keyof Config;

/** The settings that are not a field of their own name. */
const FIELDS: Partial<Record<SettingName, readonly ConfigField[]>> = {
  endpoint: ["host", "port"],
  noProxy: ["proxy"],
  noRateLimit: ["rateLimit"],
};

/** What a change of each field needs, from the table of settings. */
const APPLIES: ReadonlyMap<ConfigField, Applies> = new Map(
  (Object.entries(SETTINGS) as [SettingName, Setting<unknown>][]).flatMap(([name, { applies }]) =>
    (FIELDS[name] ?? [name as ConfigField]).map((field) => [field, applies] as const)
  ),
);

/** What differs between two configurations. */
export interface ConfigChange {
  /** The wanted configuration, but for what waits for a restart. */
  readonly next: Config;
  /** What differs from it now. */
  readonly fields: readonly ConfigField[];
  /** What is wanted otherwise, and only another start applies. */
  readonly restart: readonly ConfigField[];
  /** Whether a new link is needed. */
  readonly link: boolean;
  /** Whether the broker is reached in another way, or with other credentials. */
  readonly route: boolean;
  /** Whether other credential files are to be used. */
  readonly credentials: boolean;
}

/** What to do about a wanted configuration while another is in use. */
export function nextConfig(current: Config, wanted: Config): ConfigChange {
  const all = changedFields(current, wanted);
  const restart = all.filter((field) => APPLIES.get(field) === "restart");
  const fields = all.filter((field) => !restart.includes(field));
  const kept = Object.fromEntries(restart.map((field) => [field, current[field]]));
  const route = fields.some((field) => APPLIES.get(field) === "route");
  return {
    next: Object.freeze({ ...wanted, ...kept }),
    fields,
    restart,
    link: route || fields.some((field) => APPLIES.get(field) === "link"),
    route,
    credentials: fields.some((field) => ["rootca", "cert", "key"].includes(field)),
  };
}

/** The fields in which two configurations differ. */
export function changedFields(one: Config, other: Config): ConfigField[] {
  return (Object.keys(other) as ConfigField[]).filter((field) =>
    // Plain data whose keys stand in the same order.
    JSON.stringify(one[field]) !== JSON.stringify(other[field])
  );
}
