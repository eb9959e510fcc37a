import { parseArgs } from "../../deps.ts";
import { Exit, ExitError } from "../base/errors.ts";

/** One option of a subcommand, as its parser, its help and the completions see it. */
export interface Option {
  /** The long name, without dashes. */
  readonly option: string;
  /** The one-letter name. */
  readonly short?: string;
  /** Other long spellings. */
  readonly aliases?: readonly string[];
  /** What stands for the value in the help; an option without one is a flag. */
  readonly value?: string;
  /** Whether its value is any text: also an empty one, and one that begins with a dash. */
  readonly anyText?: boolean;
  /** Whether it may be given several times. */
  readonly repeats?: boolean;
  /** One line for the help. */
  readonly help: string;
}

/** What a command line gave: the values of each option, in their order, and the words that belong to none. */
export interface Parsed {
  readonly values: ReadonlyMap<string, readonly string[]>;
  readonly words: readonly string[];
}

/**
 * Reads a command line by a table of options.
 *
 * @param command The subcommand whose help a mistake points at.
 * @throws {ExitError} 64 for an unknown option and for an option without its value
 */
export function parseOptions(
  args: readonly string[],
  options: readonly Option[],
  command?: string,
): Parsed {
  const unknown: string[] = [];
  const takers = options.filter((option) => option.value !== undefined);
  const parsed = parseArgs(
    attachTexts(detachNegated(args), options, command),
    {
      alias: Object.fromEntries(options.map((option) => [option.option, otherNames(option)])),
      boolean: options.filter((option) => option.value === undefined).map((option) =>
        option.option
      ),
      string: ["_", ...takers.map((option) => option.option)],
      collect: takers.map((option) => option.option),
      unknown: (arg: string, key?: string): boolean => {
        if (key !== undefined) unknown.push(arg);
        return key === undefined;
      },
    },
  );
  if (unknown.length > 0) throw usage(`unknown option ${unknown[0]}`, command);
  const values = new Map<string, readonly string[]>();
  for (const option of options) {
    const given = parsed[option.option];
    if (option.value === undefined) {
      if (given === true) values.set(option.option, ["true"]);
      continue;
    }
    const texts = (given as string[] | undefined) ?? [];
    if (texts.length === 0) continue;
    if (texts.includes("") && !option.anyText) {
      throw usage(`option --${option.option} needs a value: ${option.value}`, command);
    }
    values.set(option.option, option.repeats ? texts : texts.slice(-1));
  }
  return { values, words: parsed._.map(String) };
}

/** A mistake on the command line, of a subcommand or of the program. */
export function usage(what: string, command?: string): ExitError {
  return new ExitError(
    Exit.USAGE,
    `${what}; see iotcored ${command === undefined ? "" : `${command} `}--help`,
  );
}

/** `parseArgs` takes no word that looks like an option for a value, and cannot tell an empty value from none. */
function attachTexts(
  args: readonly string[],
  options: readonly Option[],
  command: string | undefined,
): string[] {
  const texts = options.filter((option) => option.anyText);
  const attached: string[] = [];
  for (let i = 0; i < args.length; i++) {
    const arg = args[i]!;
    if (arg === "--") return [...attached, ...args.slice(i)];
    const named = texts.find(({ option, short }) => arg === `--${option}` || arg === `-${short}`);
    if (named === undefined) {
      attached.push(arg);
      continue;
    }
    const text = args[++i];
    if (text === undefined) throw usage(`option ${arg} needs a value: ${named.value}`, command);
    attached.push(`--${named.option}=${text}`);
  }
  return attached;
}

function otherNames(option: Option): string[] {
  return [...(option.short === undefined ? [] : [option.short]), ...(option.aliases ?? [])];
}

/** `parseArgs` reads `--no-proxy=LIST` as `--proxy=LIST`, but understands the two words. */
function detachNegated(args: readonly string[]): string[] {
  return args.flatMap((arg) => {
    const negated = /^(--no-[^=]+)=(.+)$/s.exec(arg);
    return negated ? [negated[1]!, negated[2]!] : [arg];
  });
}
