import { fromUtf8 } from "../base/bytes.ts";
import { Exit, ExitError } from "../base/errors.ts";
import type { Value } from "../wire/object.ts";
import { configKey, type Environment, type Given, SPOOL_KEYS } from "./resolve.ts";
import { type Setting, type SettingName, SETTINGS } from "./settings.ts";

/** A config key, and the setting that it is for. */
export interface WantedKey {
  /** The full path, such as `system/thingName`. */
  readonly key: string;
  readonly setting: SettingName;
}

/** The keys of all settings that neither the command line nor (the proxy) the environment gives, in the order of the help. */
export function wantedKeys(given: Given, environment: Environment): WantedKey[] {
  return (Object.keys(SETTINGS) as SettingName[])
    .filter((setting) => given[setting] === undefined && !isInEnvironment(setting, environment))
    .flatMap((setting) => keysOf(setting).map((key) => ({ key, setting })));
}

/**
 * The texts of values, as a command line would give them. What is null counts as not there.
 *
 * @throws {ExitError} 78 for a value of a type that the setting cannot have, naming option, key, rule and type
 */
export function textsOf(
  values: ReadonlyMap<string, Value>,
  wanted: readonly WantedKey[],
): Map<string, string> {
  const texts = new Map<string, string>();
  for (const { key, setting } of wanted) {
    const value = values.get(key);
    if (value !== undefined && value !== null) texts.set(key, textOf(value, key, setting));
  }
  return texts;
}

function keysOf(setting: SettingName): string[] {
  if (setting === "spool") return [SPOOL_KEYS.storageType, SPOOL_KEYS.path];
  const key = configKey(setting);
  return key === undefined ? [] : [key];
}

function isInEnvironment(setting: SettingName, environment: Environment): boolean {
  if (setting === "proxy") return Boolean(environment.https_proxy || environment.HTTPS_PROXY);
  if (setting === "noProxy") return Boolean(environment.no_proxy || environment.NO_PROXY);
  return false;
}

/** Whoever writes a config may put a number or a boolean in quotes, or a thing's name that is a number without them. */
function textOf(value: Exclude<Value, null>, key: string, name: SettingName): string {
  const { option, value: placeholder }: Setting<unknown> = SETTINGS[name];
  const isFlag = placeholder === undefined;
  const text = value instanceof Uint8Array ? fromUtf8(value) : undefined;
  if (text !== undefined) return text;
  if (isFlag ? typeof value === "boolean" : isNumber(value)) return String(value);
  const rule = isFlag ? "a boolean or text" : "text or a number";
  throw new ExitError(
    Exit.CONFIG,
    `Cannot use --${option} (config key ${key}): it must be ${rule}, got ${kindOf(value)}`,
  );
}

function isNumber(value: Value): boolean {
  return typeof value === "bigint" || typeof value === "number";
}

function kindOf(value: Exclude<Value, null>): string {
  if (value instanceof Uint8Array) return "bytes that are not UTF-8";
  if (value instanceof Map) return "a map";
  if (Array.isArray(value)) return "a list";
  return typeof value === "boolean" ? `the boolean ${value}` : "a number";
}
