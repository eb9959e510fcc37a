/**
 * A stand-in for `parseArgs` of `@std/cli/parse-args`, for networks where JSR cannot be reached.
 *
 * @module
 */

import minimist from "minimist";

/** The options of `parseArgs` that this project uses; they mean what they mean in `@std/cli`. */
export interface ParseOptions {
  /** Flags that never take a value. */
  boolean?: readonly string[];
  /** Flags whose value stays a string, whatever it looks like. */
  string?: readonly string[];
  /** Flags that may be given several times; their value is always a list. */
  collect?: readonly string[];
  /** Other names of a flag. */
  alias?: Readonly<Record<string, string | readonly string[]>>;
  /** Whether everything after the first positional argument is positional. */
  stopEarly?: boolean;
  /** Called for each flag or positional argument that is not declared; `false` leaves it out of the result. */
  unknown?: (arg: string, key?: string, value?: unknown) => unknown;
}

/** What was on a command line: flags by name, the rest in `_`. */
export interface Args {
  _: (string | number)[];
  // deno-lint-ignore no-explicit-any -- as in the original, where the type depends on the options
  [flag: string]: any;
}

/** Splits command-line arguments into flags and positional arguments. */
export function parseArgs(args: readonly string[], options: ParseOptions = {}): Args {
  const { alias = {}, boolean = [], collect = [], stopEarly = false, string = [], unknown } =
    options;
  const parsed: Args = minimist(keepNegatives(args, boolean), {
    alias: Object.fromEntries(Object.entries(alias).map(([key, names]) => [key, [names].flat()])),
    boolean: [...boolean],
    string: [...string],
    stopEarly,
    ...(unknown && { unknown: (arg: string) => report(arg, unknown) }),
  });
  const collected = new Set(collect.flatMap((name) => namesOf(name, alias)));
  const declared = [...boolean, ...string].filter((name) => name !== "_");
  for (const flag of declared.flatMap((name) => namesOf(name, alias))) {
    // minimist makes a list of whatever is repeated; in the original only collected flags are lists.
    const values = [parsed[flag] ?? []].flat();
    if (collected.has(flag)) parsed[flag] = values;
    else if (values.length > 1) parsed[flag] = values.at(-1);
  }
  return parsed;
}

/** To minimist `--no-x` means that x is false; here, as in the original, it is a flag of that name. */
function keepNegatives(args: readonly string[], boolean: readonly string[]): string[] {
  const kept: string[] = [];
  for (let i = 0; i < args.length; i++) {
    const arg = args[i]!;
    if (arg === "--") return [...kept, ...args.slice(i)];
    if (!/^--no-[^=]+$/.test(arg)) kept.push(arg);
    else if (boolean.includes(arg.slice(2))) kept.push(`${arg}=true`);
    else if (args[i + 1] === undefined || args[i + 1]!.startsWith("-")) kept.push(`${arg}=`);
    else kept.push(`${arg}=${args[++i]}`);
  }
  return kept;
}

function report(arg: string, unknown: NonNullable<ParseOptions["unknown"]>): boolean {
  const flag = /^--?([^=]+)(?:=(.*))?$/s.exec(arg);
  return (flag ? unknown(arg, flag[1], flag[2] ?? true) : unknown(arg)) !== false;
}

function namesOf(name: string, alias: NonNullable<ParseOptions["alias"]>): string[] {
  for (const [key, names] of Object.entries(alias)) {
    const group = [key, ...[names].flat()];
    if (group.includes(name)) return group;
  }
  return [name];
}
