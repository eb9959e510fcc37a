import { type Option, type Parsed, parseOptions } from "../cli/args.ts";
import { Exit, ExitError } from "../base/errors.ts";
import { BUS_DIR, checkInterfaceName, INTERFACE_NAME } from "../bus/socket_file.ts";

/** What the program can be compiled for with `--target`; Deno has no 32-bit ARM. */
export const TARGETS = ["x86_64-unknown-linux-gnu", "aarch64-unknown-linux-gnu"] as const;

/** A value of `--target`. */
export type Target = typeof TARGETS[number];

/** The ports of an endpoint pattern without one: MQTT, and MQTT told from HTTPS by ALPN. */
export const ENDPOINT_PORTS: readonly number[] = [8883, 443];

/** What `deno task compile` is told. */
export interface BuildOptions {
  /** The most connections that the program may use (iotcored-6). */
  readonly ceiling: number;
  /** `HOST`, `HOST:PORT`, `HOST:*`, or the same with `*.DOMAIN`; none: the data endpoints of AWS IoT Core. */
  readonly endpoints: readonly string[];
  /** `HOST:PORT`. */
  readonly proxies: readonly string[];
  /** Absolute paths that may be read beside the usual ones. */
  readonly read: readonly string[];
  /** Absolute paths that may be read in place of the usual folders; none: those. */
  readonly onlyRead: readonly string[];
  /** Absolute paths, at least one. */
  readonly busDirs: readonly string[];
  /** At least one. */
  readonly interfaceNames: readonly string[];
  /** Absolute paths of spool folders beside the usual one. */
  readonly spools: readonly string[];
  /** None: for this machine. */
  readonly targets: readonly Target[];
  /** Whether the help is asked for instead. */
  readonly help: boolean;
}

/** The options of `deno task compile`. */
export const BUILD_OPTIONS: readonly Option[] = [
  {
    option: "max-connections",
    value: "N",
    help: "the most connections that the program may use (1)",
  },
  {
    option: "endpoint",
    value: "PATTERN",
    repeats: true,
    help:
      "HOST[:PORT] or *.DOMAIN[:PORT], with * for any port, that may be reached, in place of AWS IoT Core's regions",
  },
  {
    option: "proxy",
    value: "HOST:PORT",
    repeats: true,
    help: "a proxy that may be reached",
  },
  {
    option: "read",
    value: "PATH",
    repeats: true,
    help: "a file or folder of credentials that may be read, beside the usual folders",
  },
  {
    option: "only-read",
    value: "PATH",
    repeats: true,
    help: "a file or folder of credentials that may be read, in place of the usual folders",
  },
  { option: "spool", value: "DIR", repeats: true, help: "a spool folder beside /var/lib/iotcored" },
  {
    option: "bus-dir",
    value: "DIR",
    repeats: true,
    help: "the folder of the core bus (/run/greengrass)",
  },
  {
    option: "interface-name",
    value: "NAME",
    repeats: true,
    help: "the name of the socket (aws_iot_mqtt)",
  },
  {
    option: "target",
    value: "TARGET",
    repeats: true,
    help: `${TARGETS.join(" or ")}, in place of this machine`,
  },
  { option: "help", short: "h", help: "print this help" },
];

/**
 * Reads the command line of `deno task compile`.
 *
 * @throws {ExitError} 64
 */
export function parseBuildArgs(args: readonly string[]): BuildOptions {
  const parsed = parse(args[0] === "--" ? args.slice(1) : args);
  const interfaceNames = parsed.values.get("interface-name") ?? [INTERFACE_NAME];
  for (const name of interfaceNames) checkInterfaceName(name);
  const busDirs = all(parsed, "bus-dir", isDevicePath, PATH_RULE).map(tidy);
  return {
    ceiling: ceilingOf(one(parsed, "max-connections") ?? "1"),
    endpoints: all(parsed, "endpoint", isEndpoint, "be HOST, HOST:PORT or *.DOMAIN[:PORT]"),
    proxies: all(parsed, "proxy", isProxy, "be HOST:PORT"),
    read: all(parsed, "read", isDevicePath, PATH_RULE).map(tidy),
    onlyRead: all(parsed, "only-read", isDevicePath, PATH_RULE).map(tidy),
    busDirs: busDirs.length > 0 ? busDirs : [BUS_DIR],
    interfaceNames,
    spools: all(parsed, "spool", isDevicePath, PATH_RULE).map(tidy),
    targets: all(parsed, "target", isTarget, `be ${TARGETS.join(" or ")}`) as Target[],
    help: parsed.values.has("help"),
  };
}

function parse(args: readonly string[]): Parsed {
  try {
    const parsed = parseOptions(args, BUILD_OPTIONS);
    if (parsed.words.length === 0) return parsed;
    throw wrong(`unexpected argument ${parsed.words[0]}`);
  } catch (error) {
    if (!(error instanceof ExitError)) throw error;
    const [what] = error.message.split("; see ");
    throw wrong(`${what}; see deno task compile --help`);
  }
}

const PATH_RULE = "be an absolute path on the device, without a comma";
const HOST = /^[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_])?$/;

function isEndpoint(text: string): boolean {
  const [, host = "", port = "*"] = /^(.*?)(?::(\d+|\*))?$/.exec(text) ?? [];
  return isHost(host.replace(/^\*\.(?=.*\.)/, "")) && (port === "*" || isPort(port));
}

function isProxy(text: string): boolean {
  const [, host = "", port = ""] = /^(.*):(\d+)$/.exec(text) ?? [];
  return isHost(host) && isPort(port);
}

function isHost(text: string): boolean {
  return (HOST.test(text) && !text.includes("..")) || /^\[[0-9A-Fa-f:.]+\]$/.test(text);
}

function isPort(text: string): boolean {
  return /^[1-9]\d{0,4}$/.test(text) && Number(text) <= 65_535;
}

/** Deno separates the paths of a permission by commas. */
function isDevicePath(text: string): boolean {
  return text.startsWith("/") && !/[,\p{Cc}]/u.test(text) && !/(^|\/)\.\.?(\/|$)/.test(text) &&
    tidy(text) !== "/";
}

function isTarget(text: string): boolean {
  return (TARGETS as readonly string[]).includes(text);
}

function tidy(path: string): string {
  return path.replaceAll(/\/+/g, "/").replace(/(?<=.)\/$/, "");
}

function one(parsed: Parsed, option: string): string | undefined {
  return parsed.values.get(option)?.at(-1);
}

function all(
  parsed: Parsed,
  option: string,
  isRight: (text: string) => boolean,
  rule: string,
): readonly string[] {
  const texts = parsed.values.get(option) ?? [];
  const bad = texts.find((text) => !isRight(text));
  if (bad !== undefined) {
    throw wrong(`Cannot use --${option}: it must ${rule}, got ${JSON.stringify(bad)}`);
  }
  return [...new Set(texts)];
}

function ceilingOf(text: string): number {
  if (/^[1-9]\d{0,2}$/.test(text)) return Number(text);
  throw wrong(
    `Cannot use --max-connections: it must be a whole number from 1 to 999, got ${
      JSON.stringify(text)
    }`,
  );
}

function wrong(text: string): ExitError {
  return new ExitError(Exit.USAGE, text);
}
