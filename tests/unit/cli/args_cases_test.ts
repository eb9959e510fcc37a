import { assert, assertEquals, assertStringIncludes, assertThrows, pureTest } from "../../deps.ts";
import { Exit, ExitError } from "../../../src/base/errors.ts";
import { type Option, parseOptions } from "../../../src/cli/args.ts";
import { allCommands } from "../../../src/cli/commands.ts";
import { argsOf, LIKE_GETOPT, meaningOf, OPTIONS, OWN } from "./args_cases.ts";

const CASES = [...LIKE_GETOPT, ...OWN];

pureTest("each of over 200 lists of arguments means what getopt_long makes of it", () => {
  assert(new Set(CASES.map(([typed]) => typed)).size === CASES.length, "a case is there twice");
  assert(CASES.length > 200, `only ${CASES.length} cases`);
  for (const [typed, meaning] of CASES) {
    const wanted = meaningOf(meaning);
    const read = (): unknown => {
      const { values, words } = parseOptions(argsOf(typed), OPTIONS);
      return { values: Object.fromEntries(values), words };
    };
    if (wanted === undefined) {
      const error = assertThrows(read, ExitError, undefined, typed);
      assertEquals(error.exit, Exit.USAGE, typed);
      assertStringIncludes(`! ${error.message}`, meaning, typed);
    } else {
      assertEquals(read(), wanted, typed);
    }
  }
});

/** The shortest beginning of a long name that no other option of the subcommand shares. */
function shortened({ option }: Option, options: readonly Option[]): string {
  const others = options.filter((other) => other.option !== option)
    .flatMap((other) => [other.option, ...other.aliases ?? []]);
  for (let length = 1; length < option.length; length++) {
    const start = option.slice(0, length);
    if (!others.some((other) => other.startsWith(start))) return start;
  }
  return option;
}

Deno.test("every option of every subcommand may be joined with its value and cut short", async () => {
  for (const { name, options } of await allCommands()) {
    for (const option of options) {
      const long = [option.option, ...option.aliases ?? [], shortened(option, options)];
      const letters = option.short === undefined ? [] : [option.short];
      const spellings = option.value === undefined
        ? [...long.map((name) => [`--${name}`]), ...letters.map((letter) => [`-${letter}`])]
        : [
          ...long.flatMap((name) => [[`--${name}`, "-x=1"], [`--${name}=-x=1`]]),
          ...letters.flatMap((letter) => [[`-${letter}`, "-x=1"], [`-${letter}-x=1`]]),
        ];
      for (const args of spellings) {
        const { values, words } = parseOptions(args, options);
        const value = option.value === undefined ? "true" : "-x=1";
        assertEquals([...values], [[option.option, [value]]], `${name} ${args.join(" ")}`);
        assertEquals(words, []);
      }
    }
  }
});
