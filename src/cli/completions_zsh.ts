import type { Option } from "./args.ts";
import { type Candidates, candidatesOf, wordsOf } from "./candidates.ts";
import type { Command } from "./help.ts";

/** The script for zsh: a file `_iotcored` of `$fpath`, or text for `source`. */
export function zshCompletions(commands: readonly Command[]): string {
  const [run] = commands;
  const names = commands.map(({ name }) => name);
  return `#compdef iotcored
# Completions of iotcored for zsh, made by: iotcored completions zsh
_iotcored() {
  local sub=${run!.name}
  if (( CURRENT == 2 )) && [[ $words[2] != -* ]]; then
    local -a commands=(
${commands.map(({ name, summary }) => `      ${quoted(`${name}:${summary}`)}`).join("\n")}
    )
    _describe subcommand commands
    return
  fi
  case $words[2] in
    ${names.join("|")}) sub=$words[2]; shift words; (( CURRENT-- )) ;;
  esac
  case $sub in
${commands.map(branch).join("\n")}
  esac
}
if [[ $funcstack[1] == _iotcored ]]; then _iotcored "$@"; else compdef _iotcored iotcored; fi
`;
}

function branch(command: Command): string {
  const specs = command.options.map(optionSpec);
  const words = actionOf(wordsOf(command));
  if (words !== "") specs.push(quoted(`*:word:${words}`));
  return `    ${command.name})
      _arguments -s -S ${specs.join(" \\\n        ")} ;;`;
}

/** A specification of `_arguments`: its spellings exclude each other unless it repeats. Aliases are taken and not offered. */
function optionSpec(option: Option): string {
  const long = `--${option.option}`;
  const spellings = option.short === undefined ? [long] : [`-${option.short}`, long];
  const takesValue = option.value !== undefined;
  const shown = spellings.map((name) =>
    takesValue ? `${name}${name.startsWith("--") ? "=" : "+"}` : name
  );
  const head = option.repeats ? quoted("*") : quoted(`(${spellings.join(" ")})`);
  const names = shown.length === 1 ? shown[0]! : `{${shown.join(",")}}`;
  const value = takesValue
    ? `:${escaped(option.value!)}:${actionOf(candidatesOf(option.value!))}`
    : "";
  return `${head}${names}${quoted(`[${escaped(option.help)}]${value}`)}`;
}

function actionOf({ words, files }: Candidates): string {
  const paths = files === "none" ? "" : files === "all" ? "_files" : "_files -/";
  if (words.length === 0) return paths;
  if (paths === "") return `(${words.join(" ")})`;
  return `{compadd - ${words.join(" ")}; ${paths}}`;
}

/** What would end a description or a message of `_arguments`. */
function escaped(text: string): string {
  return text.replaceAll(/[\\[\]:]/g, "\\$&");
}

function quoted(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}
