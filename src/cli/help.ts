import type { Option } from "./args.ts";

/** A subcommand, as `--help` and the completions show it. */
export interface Command {
  readonly name: string;
  /** One line. */
  readonly summary: string;
  /** How it is called, without the program's name. */
  readonly usage: readonly string[];
  readonly options: readonly Option[];
  readonly examples: readonly (readonly [command: string, what: string])[];
}

/** The help of a subcommand, for a terminal of 100 columns. */
export function helpText(command: Command): string {
  const rows = command.options.map((option) => [names(option), option.help] as const);
  const width = Math.max(...rows.map(([left]) => left.length));
  const lines = [
    `${command.summary}`,
    "",
    "Usage:",
    ...command.usage.map((usage) => `  iotcored ${usage}`),
    "",
    "Options:",
    ...rows.map(([left, right]) => `  ${left.padEnd(width)}  ${right}`),
  ];
  if (command.examples.length > 0) {
    lines.push("", "Examples:");
    for (const [example, what] of command.examples) lines.push(`  # ${what}`, `  ${example}`);
  }
  return lines.join("\n") + "\n";
}

function names({ option, short, value }: Option): string {
  const long = `--${option}${value === undefined ? "" : ` ${value}`}`;
  return short === undefined ? `    ${long}` : `-${short}, ${long}`;
}
