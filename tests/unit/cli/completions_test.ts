import { candidatesOf } from "../../../src/cli/candidates.ts";
import { allCommands } from "../../../src/cli/commands.ts";
import { SHELLS } from "../../../src/cli/completions.ts";
import { assert, assertEquals, assertStringIncludes, pureTest } from "../../deps.ts";

for (const [shell, completions] of Object.entries(SHELLS)) {
  pureTest(`the completions of ${shell} know every subcommand, option and choice`, async () => {
    const commands = await allCommands();
    const script = completions(commands);
    for (const { name, options, words = [] } of commands) {
      assertStringIncludes(script, name);
      for (const word of candidatesOf(words.join("|")).words) assertStringIncludes(script, word);
      for (const { option, value = "" } of options) {
        assertStringIncludes(script, shell === "fish" ? `-l ${option}` : `--${option}`);
        for (const choice of candidatesOf(value).words) assertStringIncludes(script, choice);
      }
    }
  });
}

pureTest("what stands for a value says what is offered for it", () => {
  assertEquals(candidatesOf("0|1"), { words: ["0", "1"], files: "none" });
  assertEquals(candidatesOf("memory|DIR"), { words: ["memory"], files: "folders" });
  assertEquals(candidatesOf("PATH"), { words: [], files: "all" });
  assertEquals(candidatesOf("HOST[:PORT]"), { words: [], files: "none" });
});

pureTest("nothing in the tables breaks out of the quotes of a script", async () => {
  for (const { name, options, words = [] } of await allCommands()) {
    for (const word of [name, ...options.map(({ option }) => option), ...words]) {
      assert(/^[a-z0-9-]+$|^[A-Z]+$/.test(word), word);
    }
  }
});
