import type { Option } from "./args.ts";
import { type Candidates, candidatesOf, wordsOf } from "./candidates.ts";
import type { Command } from "./help.ts";

/** The script for fish. */
export function fishCompletions(commands: readonly Command[]): string {
  const [run] = commands;
  const names = commands.map(({ name }) => name).join(" ");
  return `# Completions of iotcored for fish, made by: iotcored completions fish
function __iotcored_sub --description 'The subcommand of the line, ${run!.name} by default'
  set -l words (commandline -opc)
  if contains -- "$words[2]" ${names}
    echo $words[2]
  else
    echo ${run!.name}
  end
end
function __iotcored_first --description 'Whether the first word is being written'
  test (count (commandline -opc)) -eq 1
end
complete -c iotcored -f
${
    commands.map(({ name, summary }) =>
      `complete -c iotcored -n __iotcored_first -a ${name} -d ${quoted(summary)}`
    ).join("\n")
  }
${commands.flatMap(lines).join("\n")}
`;
}

function lines(command: Command): string[] {
  const head = `complete -c iotcored -n 'test (__iotcored_sub) = ${command.name}'`;
  const words = offer(wordsOf(command));
  return [
    ...command.options.map((option) => `${head}${optionFlags(option)}`),
    ...words === "" ? [] : [`${head}${words}`],
  ];
}

/** Aliases are taken and not offered. */
function optionFlags({ option, short, value, help }: Option): string {
  const values = value === undefined ? "" : valueFlags(candidatesOf(value));
  return `${short === undefined ? "" : ` -s ${short}`} -l ${option}${values} -d ${quoted(help)}`;
}

function valueFlags(candidates: Candidates): string {
  return `${candidates.files === "all" ? " -r -F" : " -x"}${offer(candidates)}`;
}

function offer({ words, files }: Candidates): string {
  const offered = files === "folders" ? [...words, "(__fish_complete_directories)"] : words;
  return offered.length === 0 ? "" : ` -a ${quoted(offered.join(" "))}`;
}

function quoted(text: string): string {
  return `'${text.replaceAll(/[\\']/g, "\\$&")}'`;
}
