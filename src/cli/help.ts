import type { ForeignOption, Option } from "./args.ts";

/** A subcommand, as `--help` and the completions show it. */
export interface Command {
  readonly name: string;
  /** One line. */
  readonly summary: string;
  /** How it is called, without the program's name. */
  readonly usage: readonly string[];
  readonly options: readonly Option[];
  /** Options of other programs that are refused with a word on what takes their place. */
  readonly foreign?: readonly ForeignOption[];
  /** Words that it takes beside its options; in capitals what stands for one, as in an option's value. */
  readonly words?: readonly string[];
  /** Lines below the options. */
  readonly notes?: readonly string[];
  readonly examples: readonly (readonly [command: string, what: string])[];
}

/** Options of the subcommands that talk to no daemon. A shell function may add the daemon's place to every call. */
export const OFFLINE_OPTIONS: readonly Option[] = [
  { option: "bus-dir", value: "DIR", help: "not used; taken as every subcommand takes it" },
  {
    option: "interface-name",
    short: "n",
    aliases: ["interface_name"],
    value: "NAME",
    help: "not used; taken as every subcommand takes it",
  },
  { option: "help", short: "h", help: "print this help" },
];

/** The width that the help is made for. */
const COLUMNS = 100;

/** The help of a subcommand, for a terminal of 100 columns. */
export function helpText(command: Command): string {
  const rows = command.options.map((option) => [names(option), option.help] as const);
  const width = Math.max(0, ...rows.map(([left]) => left.length));
  const lines = [
    `${command.summary}`,
    "",
    "Usage:",
    ...command.usage.map((usage) => `  iotcored ${usage}`),
  ];
  if (rows.length > 0) {
    lines.push("", "Options:");
    for (const [left, right] of rows) {
      const [first, ...rest] = wrapped(right, COLUMNS - width - 4);
      lines.push(`  ${left.padEnd(width)}  ${first}`);
      for (const line of rest) lines.push(`${" ".repeat(width + 4)}${line}`);
    }
  }
  if (command.notes !== undefined) lines.push("", ...command.notes);
  if (command.examples.length > 0) {
    lines.push("", "Examples:");
    for (const [example, what] of command.examples) lines.push(`  # ${what}`, `  ${example}`);
  }
  return lines.join("\n") + "\n";
}

/** The subcommands in one list, for the end of the main help. */
export function overviewText(commands: readonly Command[]): string {
  const width = Math.max(...commands.map(({ name }) => name.length));
  return [
    "",
    "Subcommands; `iotcored help NAME` tells more:",
    ...commands.map(({ name, summary }) => `  ${name.padEnd(width)}  ${summary}`),
    "",
  ].join("\n");
}

function names({ option, short, value }: Option): string {
  const long = `--${option}${value === undefined ? "" : ` ${value}`}`;
  return short === undefined ? `    ${long}` : `-${short}, ${long}`;
}

/** Text in lines of at most `columns`, unless a word is longer. */
export function wrapped(text: string, columns: number): string[] {
  const lines: string[] = [];
  let line = "";
  for (const word of text.split(" ")) {
    if (line !== "" && line.length + 1 + word.length > columns) {
      lines.push(line);
      line = word;
    } else line = line === "" ? word : `${line} ${word}`;
  }
  return [...lines, line];
}
