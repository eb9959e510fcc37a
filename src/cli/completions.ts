import { bashCompletions } from "./completions_bash.ts";
import { fishCompletions } from "./completions_fish.ts";
import { zshCompletions } from "./completions_zsh.ts";
import { type Command, OFFLINE_OPTIONS } from "./help.ts";

/** The shells, and what makes the script of each from the tables that the command line is read by; `run` comes first. */
export const SHELLS: Readonly<Record<string, (commands: readonly Command[]) => string>> = {
  bash: bashCompletions,
  zsh: zshCompletions,
  fish: fishCompletions,
};

/** The subcommand that prints the completions. */
export const COMPLETIONS: Command = {
  name: "completions",
  summary: "Prints a script that completes options and values in a shell.",
  usage: [`completions ${Object.keys(SHELLS).join("|")}`],
  options: OFFLINE_OPTIONS,
  words: Object.keys(SHELLS),
  examples: [
    ["source <(iotcored completions bash)", "for this shell; zsh takes the same with its name"],
    ["iotcored completions fish | source", "for this fish"],
    [
      "iotcored completions bash > /usr/local/share/bash-completion/completions/iotcored",
      "for every bash of the machine",
    ],
  ],
};
