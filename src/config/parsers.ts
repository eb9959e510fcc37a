import { resolve } from "node:path";
import { MAX_CLIENT_ID_BYTES, MAX_KEEP_ALIVE_S } from "../aws/limits.ts";
import { Exit, ExitError } from "../base/errors.ts";
import { INTERFACE_NAME_RULE, isInterfaceName } from "../bus/socket_file.ts";
import { parseProxyUrl } from "../mqtt/proxy.ts";

/** Says what a value must be; `Cannot use ...` with option, key and value is put around it. */
export class RuleError extends Error {
  override readonly name = "RuleError";
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

/** A whole number within bounds. The parser throws {@linkcode RuleError}. */
export function integer(min: number, max: number, unit = ""): (text: string) => number {
  return (text) => {
    const number = Number(text);
    if (!/^[0-9]+$/.test(text) || number < min || number > max) {
      throw new RuleError(`must be a whole number from ${min} to ${max}${unit}`);
    }
    return number;
  };
}

/** One of some words. The parser throws {@linkcode RuleError}. */
export function oneOf<T extends string>(...choices: readonly T[]): (text: string) => T {
  return (text) => {
    const choice = choices.find((choice) => choice === text);
    if (choice === undefined) throw new RuleError(`must be one of ${choices.join(", ")}`);
    return choice;
  };
}

/** Text that is not empty, of at most so many bytes. The parser throws {@linkcode RuleError}. */
export function text(maxBytes: number): (text: string) => string {
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

/** A key or certificate that is no file: an OpenSSL engine's handle, or a URI of a token or TPM. */
const IN_HARDWARE = /^(handle:|pkcs11:|tpm2:|tpm2tss:|engine:)/i;

/**
 * The path of a credential.
 *
 * @throws {RuleError}
 * @throws {ExitError} 78 for one in hardware, wherever the value comes from
 */
export function credentialPath(given: string): string {
  if (!IN_HARDWARE.test(given)) return path(given);
  throw new ExitError(
    Exit.CONFIG,
    `Cannot use ${
      JSON.stringify(given.slice(0, 60))
    }: keys and certificates must be in PEM files, ` +
      "this daemon uses none in hardware (handle:, pkcs11:, tpm2:)",
  );
}

/** A host, perhaps with a port. @throws {RuleError} */
export function endpoint(given: string): Endpoint {
  const match = /^(?:\[(?<v6>[0-9a-fA-F:.]+)\]|(?<name>[A-Za-z0-9._-]+))(?::(?<port>[^/]*))?$/.exec(
    given,
  );
  const host = match?.groups?.v6 ?? match?.groups?.name;
  if (host === undefined || host.length > 253) {
    const bare = given.replace(/^[a-z0-9+]+:\/\//i, "").replace(/\/.*$/s, "");
    const write = bare !== given && /^[A-Za-z0-9._:-]+$/.test(bare) ? `; write ${bare}` : "";
    throw new RuleError(
      `must be HOST or HOST:PORT, with a host name or address and no scheme${write}`,
    );
  }
  const port = match?.groups?.port;
  return { host, port: port === undefined ? undefined : integer(1, 65_535)(port) };
}

/** An MQTT client id that AWS IoT Core takes. @throws {RuleError} */
export function clientId(given: string): string {
  const id = text(MAX_CLIENT_ID_BYTES)(given);
  if (id.startsWith("$")) throw new RuleError("must not start with $ (AWS IoT Core quotas)");
  return id;
}

/** The name of the socket. @throws {RuleError} */
export function interfaceName(given: string): string {
  if (!isInterfaceName(given)) throw new RuleError(INTERFACE_NAME_RULE);
  return given;
}

/** `memory`, or a folder. @throws {RuleError} */
export function spool(given: string): SpoolPlace {
  return given === "memory" ? { kind: "memory" } : { kind: "disk", dir: path(given) };
}

/** A flag, as the config has it. @throws {RuleError} */
export function flag(given: string): boolean {
  return oneOf("true", "false")(given) === "true";
}

/** The URL of a proxy, as text. @throws {RuleError} */
export function proxyUrl(given: string): string {
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
export const keepAlive = integer(1, MAX_KEEP_ALIVE_S, " seconds");
const keepAliveMs = integer(1_000, MAX_KEEP_ALIVE_S * 1_000, " ms");

/** A keep-alive in ms, as the config has it, in seconds. @throws {RuleError} */
export function configKeepAlive(given: string): string {
  return String(Math.round(keepAliveMs(given) / 1_000));
}

/** The MQTT versions as the config of Greengrass spells them; as the option spells them they are understood too. */
const CONFIG_VERSIONS: ReadonlyMap<string, string> = new Map([
  ["mqtt5", "5"],
  ["mqtt3", "3.1.1"],
  ["5", "5"],
  ["3.1.1", "3.1.1"],
]);

/** An MQTT version as the config has it, as the option has it. @throws {RuleError} */
export function configVersion(given: string): string {
  const version = CONFIG_VERSIONS.get(given);
  if (version === undefined) throw new RuleError("must be mqtt5 or mqtt3");
  return version;
}
