import type { Command } from "./help.ts";
import type { Option, Parsed } from "./args.ts";
import { parseOptions, usage } from "./args.ts";
import { Exit, ExitError } from "../base/errors.ts";
import type { CliSettings } from "../config/resolve.ts";
import { MAX_CEILING, type Setting, type SettingName, SETTINGS } from "../config/settings.ts";

/** The option that `deno task compile` bakes in as the program's first argument (iotcored-6). */
const CEILING: Option = {
  option: "connection-ceiling",
  value: "N",
  repeats: true,
  help: "the most connections this program may use; baked in when it is compiled",
};

/** A flag is off unless it is given; the rest say what holds then. */
function withDefault(setting: Setting<unknown>): Option {
  const text = setting.fallbackText ?? (setting.value === undefined ? undefined : setting.fallback);
  return text === undefined ? setting : { ...setting, help: `${setting.help} [${text}]` };
}

/** The options that say how the daemon is to be. */
export const DAEMON_OPTIONS: readonly Option[] = [
  ...(Object.values(SETTINGS) as readonly Setting<unknown>[]).map(withDefault),
  CEILING,
];

/** The options of `iotcored run`, as the help shows them. */
export const RUN_OPTIONS: readonly Option[] = [
  ...DAEMON_OPTIONS,
  { option: "help", short: "h", help: "print this help" },
  { option: "version", short: "V", help: "print the version" },
  { option: "verbose", help: "with --version: also print what this program may do" },
];

/** The subcommand that is the daemon. */
export const RUN: Command = {
  name: "run",
  summary: "Shares one MQTT connection to AWS IoT Core with every process on the device.",
  usage: ["[run] [options]"],
  options: RUN_OPTIONS,
  notes: [
    "Exit codes:",
    "   0  stopped on request",
    "  64  the command line is wrong",
    "  69  the config service cannot be reached",
    "  70  a fault of this program",
    "  73  the socket or the spool cannot be created, or another daemon is alive",
    "  77  the broker refused the credentials",
    "  78  configuration is missing or malformed, or a credential file cannot be used",
  ],
  examples: [
    [
      "iotcored -e xyz-ats.iot.eu-west-1.amazonaws.com -i my-thing -r ca.pem -c cert.pem -k key.pem",
      "everything on the command line",
    ],
    [
      "iotcored --spool /var/lib/iotcored/spool",
      "the rest from the config service; messages survive a restart",
    ],
  ],
};

/** What the command line asks of the daemon. */
export interface RunArgs {
  readonly given: CliSettings;
  /** The most connections that may be used. */
  readonly ceiling: number;
  /** Whether the help or the version is asked for instead. */
  readonly instead: "help" | "version" | undefined;
  /** Whether the version comes with what the program may do. */
  readonly verbose: boolean;
}

/**
 * Reads the command line of `iotcored run`.
 *
 * @throws {ExitError} 64
 */
export function parseRunArgs(args: readonly string[]): RunArgs {
  const parsed = parseOptions(args, RUN_OPTIONS);
  if (parsed.words.length > 0) throw usage(`unexpected argument ${parsed.words[0]}`);
  const instead = (["help", "version"] as const).find((name) => parsed.values.has(name));
  const verbose = parsed.values.has("verbose");
  if (verbose && instead !== "version") throw usage("option --verbose is for --version");
  return { ...daemonOptionsOf(parsed), instead, verbose };
}

/** What the options of the daemon say. @throws {ExitError} 64 for a ceiling that cannot be */
export function daemonOptionsOf(parsed: Parsed): Pick<RunArgs, "given" | "ceiling"> {
  const given: Record<string, string> = {};
  for (const [name, setting] of Object.entries(SETTINGS)) {
    const value = parsed.values.get(setting.option)?.at(-1);
    if (value !== undefined) given[name as SettingName] = value;
  }
  return { given, ceiling: ceilingOf(parsed) };
}

function ceilingOf(parsed: Parsed): number {
  const [ceiling = "1", second] = parsed.values.get(CEILING.option) ?? [];
  if (second !== undefined) {
    throw usage(
      `option --connection-ceiling is given already (${ceiling}) and cannot be given again`,
    );
  }
  if (!/^[1-9][0-9]*$/.test(ceiling) || Number(ceiling) > MAX_CEILING) {
    throw new ExitError(
      Exit.USAGE,
      `Cannot use --connection-ceiling: it must be a whole number from 1 to ${MAX_CEILING}, got ${
        JSON.stringify(ceiling)
      }`,
    );
  }
  return Number(ceiling);
}
