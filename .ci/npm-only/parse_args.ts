/**
 * A stand-in for `parseArgs` of `@std/cli/parse-args`, for networks where JSR cannot be reached. It does what the original does
 * with the forms that `src/cli/args.ts` gives it, `--flag=value` and words behind `--`, and is not meant for others.
 *
 * @module
 */

import minimist from "minimist";

/** The options of `parseArgs` that this project uses; they mean what they mean in `@std/cli`. */
export interface ParseOptions {
  /** Flags whose value stays a string, whatever it looks like. */
  string?: readonly string[];
  /** Flags that may be given several times; their value is always a list. */
  collect?: readonly string[];
}

/** What was on a command line: flags by name, the rest in `_`. */
export interface Args {
  _: (string | number)[];
  [flag: string]: unknown;
}

/** Splits command-line arguments into flags and positional arguments. */
export function parseArgs(
  args: readonly string[],
  { string = [], collect = [] }: ParseOptions = {},
): Args {
  const parsed: Args = minimist([...args], { string: [...string] });
  for (const flag of collect) parsed[flag] = [parsed[flag] ?? []].flat();
  return parsed;
}
