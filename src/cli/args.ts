import { parseArgs } from "../../deps.ts";
import { Exit, ExitError } from "../base/errors.ts";
import { meant, nearest } from "./nearest.ts";

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
  /** Whether its value is any text: also an empty one, and one that begins with `=` behind the one-letter name. */
  readonly anyText?: boolean;
  /** Whether it may be given several times. */
  readonly repeats?: boolean;
  /** One line for the help. */
  readonly help: string;
}

/** An option of another program that is given by habit. */
export interface ForeignOption {
  /** Its letters and long names, without dashes. */
  readonly names: readonly string[];
  /** What takes its place. */
  readonly instead: string;
}

/** What a command line gave: the values of each option, in their order, and the words that belong to none. */
export interface Parsed {
  readonly values: ReadonlyMap<string, readonly string[]>;
  readonly words: readonly string[];
}

/**
 * Reads a command line by a table of options, as `getopt_long` of the GNU C library does: words may stand between options,
 * one-letter options may be joined with each other and with their value, a long name may be cut short as long as one option
 * begins so, a value may begin with a dash, and `--` ends the options. Of an option that does not repeat the last value counts.
 *
 * Two rules are its own: a value that is not any text cannot be empty, and `-i=NAME` is `-i NAME`.
 *
 * @param command The subcommand whose help a mistake points at.
 * @param foreign Options that are refused with what takes their place.
 * @throws {ExitError} 64 for an option that is unknown or ambiguous, lacks its value, or has one without taking any
 */
export function parseOptions(
  args: readonly string[],
  options: readonly Option[],
  command?: string,
  foreign: readonly ForeignOption[] = [],
): Parsed {
  const keys = options.map(keyOf);
  // Everything is decided by Normalizer: parseArgs gets `--key=value`, and words behind `--`. Its implementations differ in
  // what they make of other forms, and so would the program.
  const parsed = parseArgs(new Normalizer(args, options, command, foreign).normalized(), {
    string: keys,
    collect: keys,
  });
  const values = new Map<string, readonly string[]>();
  for (const option of options) {
    const texts = parsed[keyOf(option)] as string[];
    if (texts.length > 0) values.set(option.option, option.repeats ? texts : texts.slice(-1));
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

/** The name that `parseArgs` knows an option by: it reads `--no-proxy=LIST` as `--proxy=LIST`. */
function keyOf({ option }: Option): string {
  return `option-${option}`;
}

/** Brings a command line into the one form that `parseArgs` is given. */
class Normalizer {
  readonly #rest: string[];

  constructor(
    args: readonly string[],
    private readonly options: readonly Option[],
    private readonly command: string | undefined,
    private readonly foreign: readonly ForeignOption[],
  ) {
    this.#rest = [...args];
  }

  normalized(): string[] {
    const given: string[] = [];
    const words: string[] = [];
    for (let arg = this.#rest.shift(); arg !== undefined; arg = this.#rest.shift()) {
      if (arg === "--") words.push(...this.#rest.splice(0));
      else if (arg.startsWith("--")) given.push(this.#long(arg));
      else if (arg.startsWith("-") && arg !== "-") given.push(...this.#letters(arg));
      else words.push(arg);
    }
    return [...given, "--", ...words];
  }

  #long(arg: string): string {
    const [, name, value] = /^--([^=]*)(?:=(.*))?$/s.exec(arg)!;
    return this.#withValue(this.#named(name!), value);
  }

  /** One-letter options that are joined, the last of them perhaps with its value. */
  #letters(arg: string): string[] {
    const given: string[] = [];
    const letters = [...arg.slice(1)];
    for (const [i, letter] of letters.entries()) {
      const option = this.options.find(({ short }) => short === letter);
      if (option === undefined) throw this.#unknown(letter, "-");
      const isFlag = option.value === undefined;
      const joined = isFlag ? "" : letters.slice(i + 1).join("");
      const value = option.anyText ? joined : joined.replace(/^=/, "");
      given.push(this.#withValue(option, joined === "" ? undefined : value));
      if (!isFlag) break;
    }
    return given;
  }

  /** The option of a long name, which may be cut short. */
  #named(name: string): Option {
    const named = (fits: (spelling: string) => boolean): Option[] =>
      this.options.filter(({ option, aliases = [] }) => [option, ...aliases].some(fits));
    const [exact] = named((spelling) => spelling === name);
    if (exact !== undefined) return exact;
    if (this.#insteadOf(name) !== undefined) throw this.#unknown(name, "--");
    const [option, ...others] = name === "" ? [] : named((spelling) => spelling.startsWith(name));
    if (option === undefined) throw this.#unknown(name, "--");
    if (others.length === 0) return option;
    const candidates = [option, ...others].map(({ option }) => `--${option}`).join(", ");
    throw usage(`option --${name} is ambiguous: it may be ${candidates}`, this.command);
  }

  #insteadOf(name: string): string | undefined {
    return this.foreign.find(({ names }) => names.includes(name))?.instead;
  }

  #unknown(name: string, dashes: "-" | "--"): ExitError {
    const instead = this.#insteadOf(name);
    if (instead !== undefined) return usage(`no option ${dashes}${name}: ${instead}`, this.command);
    const near = dashes === "-"
      ? undefined
      : nearest(name, this.options.flatMap(({ option, aliases = [] }) => [option, ...aliases]));
    const word = near === undefined ? undefined : `--${near}`;
    return usage(`unknown option ${dashes}${name}${meant(word)}`, this.command);
  }

  /** The normal form of an option with the value that is attached to it, or else with the next argument. */
  #withValue(option: Option, attached: string | undefined): string {
    const name = `--${option.option}`;
    if (option.value === undefined) {
      if (attached === undefined) return `--${keyOf(option)}=true`;
      throw usage(`option ${name} takes no value, got ${JSON.stringify(attached)}`, this.command);
    }
    const value = attached ?? this.#rest.shift();
    if (value === undefined || (value === "" && !option.anyText)) {
      throw usage(`option ${name} needs a value: ${option.value}`, this.command);
    }
    return `--${keyOf(option)}=${value}`;
  }
}
