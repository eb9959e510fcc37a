import type { Option } from "./args.ts";
import { type Command, OFFLINE_OPTIONS } from "./help.ts";

/** The subcommand that prints the completions. */
export const COMPLETIONS: Command = {
  name: "completions",
  summary: "Prints a script that completes options and values in a shell.",
  usage: ["completions bash"],
  options: OFFLINE_OPTIONS,
  words: ["bash"],
  examples: [
    ["source <(iotcored completions bash)", "for this shell"],
    [
      "iotcored completions bash > /etc/bash_completion.d/iotcored",
      "for every shell of the machine",
    ],
  ],
};

/** The script for bash, made from the tables that the command line is read by; `run` comes first. */
export function bashCompletions(commands: readonly Command[]): string {
  const [run] = commands;
  const names = commands.map(({ name }) => name);
  return `# Completions of iotcored for bash, made by: iotcored completions bash
_iotcored() {
  local cur=\${COMP_WORDS[COMP_CWORD]} prev=\${COMP_WORDS[COMP_CWORD-1]} sub=\${COMP_WORDS[1]}
  COMPREPLY=()
  case "$sub" in
    ${names.join("|")}) ;;
    *) sub= ;;
  esac
  if (( COMP_CWORD == 1 )); then
    COMPREPLY=($(compgen -W ${quoted([...names, ...optionNames(run!)])} -- "$cur"))
    return
  fi
  case "$sub" in
${commands.map((command) => branch(command, command === run)).join("\n")}
  esac
}
complete -F _iotcored iotcored
`;
}

function branch(command: Command, isDefault: boolean): string {
  const words = [...optionNames(command), ...command.words ?? []];
  const values = command.options.flatMap(valueBranch);
  return [
    `    ${isDefault ? `${command.name}|''` : command.name})`,
    ...(values.length === 0
      ? []
      : ['      case "$prev" in', ...values.map((line) => `        ${line}`), "      esac"]),
    `      COMPREPLY=($(compgen -W ${quoted(words)} -- "$cur")) ;;`,
  ].join("\n");
}

/** What completes the value of an option; nothing does for free text. */
function valueBranch({ option, short, aliases = [], value }: Option): string[] {
  if (value === undefined) return [];
  const spellings = [`--${option}`, ...aliases.map((name) => `--${name}`)];
  if (short !== undefined) spellings.push(`-${short}`);
  const choices = value.split("|");
  const words = choices.filter((choice) => !/^[A-Z]/.test(choice));
  const replies = words.length === 0 ? [] : [`compgen -W ${quoted(words)} -- "$cur"`];
  if (choices.includes("DIR")) replies.push('compgen -d -- "$cur"');
  if (choices.includes("PATH") || choices.includes("FILE")) replies.push('compgen -f -- "$cur"');
  const reply = replies.length === 0 ? "" : ` COMPREPLY=($(${replies.join("; ")}));`;
  return [`${spellings.join("|")})${reply} return ;;`];
}

function optionNames({ options }: Command): string[] {
  return options.flatMap(({ option, short }) =>
    short === undefined ? [`--${option}`] : [`-${short}`, `--${option}`]
  );
}

function quoted(words: readonly string[]): string {
  return `'${words.join(" ")}'`;
}
