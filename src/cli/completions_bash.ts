import type { Option } from "./args.ts";
import { type Candidates, candidatesOf, wordsOf } from "./candidates.ts";
import type { Command } from "./help.ts";

/** The script for bash. */
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
  const values = command.options.flatMap(valueBranch);
  const words = replyOf(wordsOf(command));
  const options = replyOf({ words: optionNames(command), files: "none" });
  return [
    `    ${isDefault ? `${command.name}|''` : command.name})`,
    ...(values.length === 0
      ? []
      : ['      case "$prev" in', ...values.map((line) => `        ${line}`), "      esac"]),
    words === ""
      ? `      ${options} ;;`
      : `      if [[ $cur == -* ]]; then ${options}; else ${words}; fi ;;`,
  ].join("\n");
}

/** What completes the value of an option; nothing does for free text. */
function valueBranch(option: Option): string[] {
  if (option.value === undefined) return [];
  const reply = replyOf(candidatesOf(option.value));
  return [`${spellingsOf(option).join("|")})${reply === "" ? "" : ` ${reply};`} return ;;`];
}

function replyOf({ words, files }: Candidates): string {
  const replies = words.length === 0 ? [] : [`compgen -W ${quoted(words)} -- "$cur"`];
  if (files !== "none") replies.push(`compgen ${files === "all" ? "-f" : "-d"} -- "$cur"`);
  return replies.length === 0 ? "" : `COMPREPLY=($(${replies.join("; ")}))`;
}

function optionNames({ options }: Command): string[] {
  return options.flatMap(({ option, short }) =>
    short === undefined ? [`--${option}`] : [`-${short}`, `--${option}`]
  );
}

function quoted(words: readonly string[]): string {
  return `'${words.join(" ")}'`;
}

/** Every spelling of an option, with its dashes. */
function spellingsOf({ option, short, aliases = [] }: Option): string[] {
  const long = [option, ...aliases].map((name) => `--${name}`);
  return short === undefined ? long : [`-${short}`, ...long];
}
