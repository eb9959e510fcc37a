import { allCommands } from "../../../src/cli/commands.ts";
import { bashCompletions } from "../../../src/cli/completions.ts";
import { assert, assertStringIncludes, pureTest } from "../../deps.ts";

pureTest("the completions know every subcommand, option and choice", async () => {
  const commands = await allCommands();
  const script = bashCompletions(commands);
  for (const { name, options } of commands) {
    assertStringIncludes(script, name);
    for (const { option, value } of options) {
      assertStringIncludes(script, `--${option}`);
      if (value?.includes("|")) {
        for (const choice of value.split("|").filter((word) => /^[a-z0-9]/.test(word))) {
          assert(new RegExp(`-W '[^']*${choice}[^']*'`).test(script), `${option} ${choice}`);
        }
      }
    }
  }
});

pureTest("nothing in the tables breaks out of the quotes of the script", async () => {
  for (const { name, options, words = [] } of await allCommands()) {
    for (const word of [name, ...options.map(({ option }) => option), ...words]) {
      assert(/^[a-z0-9-]+$/.test(word), word);
    }
  }
});
