import { manPages } from "../../src/build/man.ts";
import { allCommands } from "../../src/cli/commands.ts";
import { SETTINGS } from "../../src/config/settings.ts";
import { assert, assertEquals } from "../deps.ts";
import { isInstalled } from "../support/shells.ts";
import { tempDir } from "../support/temp.ts";

const DAY = new Date("2026-01-31T12:00:00Z");
const ignore = !isInstalled("mandoc");

/** Runs mandoc on a page: what it says, and what a reader sees. */
async function mandoc(format: string, text: string): Promise<{ said: string; shown: string }> {
  await using dir = await tempDir();
  await Deno.writeTextFile(`${dir.path}/page`, text);
  const { stdout, stderr } = await new Deno.Command("mandoc", {
    args: [`-T${format}`, "-Ios=Linux", "-Owidth=200", `${dir.path}/page`],
  }).output();
  const decoder = new TextDecoder();
  return { shown: decoder.decode(stdout), said: decoder.decode(stderr) };
}

Deno.test({ name: "mandoc finds nothing to say about the manual pages", ignore }, async () => {
  for (const { file, text } of manPages(await allCommands(), DAY)) {
    const { shown } = await mandoc("lint", text);
    // The pages that it names are not installed here.
    const said = shown.replaceAll(/.*referenced manual not found: Xr iotcored.*\n/g, "");
    assertEquals([file, said], [file, ""]);
  }
});

Deno.test(
  { name: "the manual pages show every subcommand, option, value and help text", ignore },
  async () => {
    const commands = await allCommands();
    const pages = new Map<string, string>();
    for (const { file, text } of manPages(commands, DAY)) {
      const { shown } = await mandoc("ascii", text);
      pages.set(file, shown.replaceAll(/.\p{Cc}(?<!\n)/gu, "").replaceAll(/\s+/g, " "));
    }
    for (const { name, summary, options, usage, notes = [], examples } of commands) {
      const page = pages.get(name === "run" ? "iotcored.8" : "iotcored.1")!;
      const texts = [
        summary,
        ...usage,
        ...notes,
        ...examples.flat(),
        ...options.map(({ help }) => help.slice(1)),
        ...options.map(({ option, value }) =>
          `--${option}${value === undefined ? "" : ` ${value}`}`
        ),
      ];
      for (const text of texts) {
        assert(page.includes(text.replaceAll(/\s+/g, " ").trim()), `${name}: ${text}`);
      }
    }
    for (const { option } of Object.values(SETTINGS)) {
      assert(pages.get("iotcored-config.5")!.includes(`--${option}`), option);
    }
  },
);
