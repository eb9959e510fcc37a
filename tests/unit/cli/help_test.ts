import { allCommands } from "../../../src/cli/commands.ts";
import { helpText, overviewText } from "../../../src/cli/help.ts";
import { parseOptions } from "../../../src/cli/args.ts";
import { ExitError } from "../../../src/base/errors.ts";
import { assert, assertEquals, assertStringIncludes, assertThrows } from "../../deps.ts";

const ROOT = new URL("../../../", import.meta.url);

Deno.test("the help of every subcommand fits 100 columns and names each option", async () => {
  for (const command of await allCommands()) {
    const text = helpText(command);
    for (const line of text.split("\n")) {
      assert(line.length <= 100, `${line.length} columns: ${line}`);
    }
    for (const { option } of command.options) assertStringIncludes(text, `--${option}`);
    if (command.name !== "help") assertStringIncludes(text, "Examples:");
  }
});

Deno.test("the overview names every subcommand", async () => {
  const commands = await allCommands();
  const text = overviewText(commands);
  for (const { name, summary } of commands) {
    assertStringIncludes(text, name);
    assertStringIncludes(text, summary);
  }
});

Deno.test("no two options of a subcommand have a name in common", async () => {
  for (const { name, options } of await allCommands()) {
    const names = options.flatMap(({ option, short, aliases = [] }) => [
      option,
      ...short ?? [],
      ...aliases,
    ]);
    assertEquals(names.length, new Set(names).size, name);
  }
});

Deno.test("the text of a message may be empty or begin with a dash", () => {
  const options = [
    { option: "message", short: "m", value: "TEXT", anyText: true, help: "" },
    { option: "count", short: "C", value: "N", help: "" },
    { option: "verbose", short: "v", help: "" },
  ];
  const read = (...args: string[]): unknown => parseOptions(args, options).values.get("message");
  assertEquals(read("-m", "-5"), ["-5"]);
  assertEquals(read("-v", "-m", ""), [""]);
  assertEquals(read("--message", "--verbose"), ["--verbose"]);
  assertEquals(read("--message=a=b"), ["a=b"]);
  assertEquals(read("-C", "1"), undefined);
  const error = assertThrows(() => parseOptions(["-m"], options, "publish"), ExitError);
  assertEquals(error.exit, 64);
  assertStringIncludes(error.message, "see iotcored publish --help");
});

/** What a file loads when it is loaded: its static imports of code, and theirs. */
async function loadedBy(url: URL, loaded = new Set<string>()): Promise<Set<string>> {
  if (loaded.has(url.href)) return loaded;
  loaded.add(url.href);
  const code = (await Deno.readTextFile(url)).replaceAll(/^\s*\*.*$/gm, "")
    .replaceAll(/^(import|export) type [^]*?;$/gm, "");
  for (const [, specifier] of code.matchAll(/\bfrom\s*"(\.[^"]+)"/g)) {
    if (specifier!.endsWith(".ts")) await loadedBy(new URL(specifier!, url), loaded);
  }
  return loaded;
}

Deno.test("the tools load neither the daemon nor MQTT nor the spool, so that they start fast", async () => {
  for (
    const file of [
      "main.ts",
      ...["publish", "subscribe", "status"].map((n) => `src/cli/${n}.ts`),
    ]
  ) {
    const loaded = [...await loadedBy(new URL(file, ROOT))];
    assert(loaded.length > 5, `only ${loaded} were found: the search is broken`);
    assertEquals(loaded.filter((path) => /\/src\/(daemon|spool|mqtt)\//.test(path)), [], file);
  }
  const daemon = [...await loadedBy(new URL("src/daemon/daemon.ts", ROOT))];
  assert(daemon.some((path) => path.includes("/src/spool/")), "the search is broken");
});
