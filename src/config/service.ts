import { fromUtf8, utf8 } from "../base/bytes.ts";
import type { Clock } from "../base/clock.ts";
import { BusError, BusErrorCode, Exit, ExitError } from "../base/errors.ts";
import { call, subscribe, type Subscription } from "../bus/client.ts";
import type { Value, ValueMap } from "../wire/object.ts";
import { type CliSettings, configKey, type Environment, SPOOL_KEYS } from "./resolve.ts";
import { type Setting, type SettingName, SETTINGS } from "./settings.ts";

/** The name of the config service's interface on the core bus. */
export const CONFIG_INTERFACE = "gg_config";

/** How long the config service may take to answer one request, in ms. */
export const CONFIG_ANSWER_MS = 5_000;

/** Connections at once: the C server has room for few clients, and each of its connections carries one request. */
export const CONFIG_READERS = 4;

/** What is needed of the config service. */
export interface ConfigSource {
  /** Where it is, for messages. */
  readonly where: string;
  /**
   * The values of keys; those that have none are left out.
   *
   * @param signal Gives up.
   * @throws {BusError} When the service is not there or fails; TIMEOUT when it is too slow or was given up
   */
  read(keys: readonly string[], signal?: AbortSignal): Promise<ReadonlyMap<string, Value>>;
  /** Calls `onWrite` after each write below a path. The subscription ends with NOENTRY when nothing stands there yet. */
  watch(path: string, onWrite: () => void): Subscription;
}

/** The config service of the Greengrass nucleus, asked over the core bus (iotcored-7). */
export class ConfigService implements ConfigSource {
  /** @param where The socket, `<bus-dir>/gg_config` */
  constructor(readonly where: string, private readonly clock: Clock) {}

  async read(keys: readonly string[], signal?: AbortSignal): Promise<ReadonlyMap<string, Value>> {
    const values = new Map<string, Value>();
    const left = [...keys];
    const given = new AbortController();
    const giveUp = (): void => given.abort();
    signal?.addEventListener("abort", giveUp);
    if (signal?.aborted) giveUp();
    let failure: unknown;
    const reader = async (): Promise<void> => {
      try {
        for (let key = left.shift(); key !== undefined; key = left.shift()) {
          const value = await this.#readOne(key, given.signal);
          if (value !== undefined) values.set(key, value);
        }
      } catch (error) {
        failure ??= error;
        giveUp();
      }
    };
    await Promise.all(Array.from({ length: CONFIG_READERS }, reader));
    signal?.removeEventListener("abort", giveUp);
    if (failure !== undefined) throw failure;
    return values;
  }

  watch(path: string, onWrite: () => void): Subscription {
    // The key path that comes names what was written: reading everything again is as cheap and never wrong.
    const subscription = subscribe(this.where, "subscribe", keyPath(path), onWrite);
    const timer = this.clock.after(CONFIG_ANSWER_MS, () => subscription.close());
    const answered = (): void => timer.cancel();
    subscription.accepted.then(answered, answered);
    return subscription;
  }

  async #readOne(key: string, signal: AbortSignal): Promise<Value | undefined> {
    const late = new AbortController();
    const giveUp = (): void => late.abort();
    const timer = this.clock.after(CONFIG_ANSWER_MS, giveUp);
    signal.addEventListener("abort", giveUp);
    if (signal.aborted) giveUp();
    try {
      return await call(this.where, "read", keyPath(key), late.signal);
    } catch (error) {
      if (error instanceof BusError && error.code === BusErrorCode.NOENTRY) return undefined;
      throw error;
    } finally {
      timer.cancel();
      signal.removeEventListener("abort", giveUp);
    }
  }
}

function keyPath(path: string): ValueMap {
  return new Map([["key_path", path.split("/").map((part) => utf8(part))]]);
}

/** A config key, and the setting that it is for. */
export interface WantedKey {
  /** The full path, such as `system/thingName`. */
  readonly key: string;
  readonly setting: SettingName;
}

/** The keys of all settings that neither the command line nor (the proxy) the environment gives, in the order of the help. */
export function wantedKeys(given: CliSettings, environment: Environment): WantedKey[] {
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
