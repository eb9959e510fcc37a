import type { Command } from "./help.ts";

/** What a shell offers for a value of an option, or for a word of a subcommand. */
export interface Candidates {
  /** Words to choose from. */
  readonly words: readonly string[];
  /** Which files are offered beside them. */
  readonly files: "none" | "all" | "folders";
}

/** Reads what stands for a value in the help: choices with `|` between them; in capitals is what the user writes. */
export function candidatesOf(value: string): Candidates {
  const choices = value.split("|");
  const files = choices.some((choice) => choice === "PATH" || choice === "FILE")
    ? "all"
    : choices.includes("DIR")
    ? "folders"
    : "none";
  return { words: choices.filter((choice) => !/^[A-Z]/.test(choice)), files };
}

/** What a subcommand takes beside its options. */
export function wordsOf({ words = [] }: Command): Candidates {
  return candidatesOf(words.join("|"));
}
