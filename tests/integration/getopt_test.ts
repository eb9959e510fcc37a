import { assertEquals } from "../deps.ts";
import { argsOf, LIKE_GETOPT, meaningOf, OPTIONS } from "../unit/cli/args_cases.ts";

/** Whether this machine has the `getopt` of util-linux, which hands the work to `getopt_long` and says so by its exit code. */
function hasGetopt(): boolean {
  try {
    return new Deno.Command("getopt", { args: ["-T"], stdout: "null" }).outputSync().code === 4;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

const SHORT = OPTIONS.flatMap(({ short, value }) =>
  short === undefined ? [] : [short + (value === undefined ? "" : ":")]
).join("");

const LONG = OPTIONS.flatMap(({ option, aliases = [], value }) =>
  [option, ...aliases].map((name) => name + (value === undefined ? "" : ":"))
).join(",");

/** What `getopt` reads, in the form of the cases; `undefined` when it refuses. */
async function read(args: readonly string[]): Promise<ReturnType<typeof meaningOf>> {
  const { code, stdout } = await new Deno.Command("getopt", {
    args: ["-s", "sh", "-o", SHORT, "-l", LONG, "--", ...args],
    env: { LC_ALL: "C.UTF-8" },
    stderr: "null",
  }).output();
  if (code !== 0) return undefined;
  return understood(unquoted(new TextDecoder().decode(stdout)));
}

/** The words of a line for the shell, in which values are quoted and names are not. */
function unquoted(line: string): string[] {
  return [...line.replace(/\n$/, "").matchAll(/ ((?:'[^']*'|\\'|[^ '\\])+)/g)].map(([, word]) =>
    word!.replaceAll(/'([^']*)'|\\(')/g, "$1$2")
  );
}

function understood(words: string[]): ReturnType<typeof meaningOf> {
  const values: Record<string, string[]> = {};
  for (let word = words.shift(); word !== "--"; word = words.shift()) {
    const { option, value, repeats } = OPTIONS.find(({ option, short, aliases = [] }) =>
      word === `-${short}` || [option, ...aliases].some((name) => word === `--${name}`)
    )!;
    const text = value === undefined ? "true" : words.shift()!;
    values[option] = repeats ? [...values[option] ?? [], text] : [text];
  }
  return { values, words };
}

Deno.test({
  name: "the cases mean what getopt(1) of util-linux makes of them",
  ignore: !hasGetopt(),
  fn: async () => {
    for (const [typed, meaning] of LIKE_GETOPT) {
      assertEquals(await read(argsOf(typed)), meaningOf(meaning), typed);
    }
  },
});
