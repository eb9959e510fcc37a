import { median } from "./measure.ts";

/** What a family of benches is given. */
export interface Bench {
  /** For CI: one short run, which finds what is broken. */
  readonly short: boolean;
  /** How often each figure is taken. */
  readonly runs: number;
  /** How long the flood of the memory bench lasts. */
  readonly floodSeconds: number;
  /** Says on stderr how far it is. */
  progress(text: string): void;
  add(row: Row): void;
  /** A line below the table. */
  note(text: string): void;
}

/** One figure beside its baseline. */
export interface Row {
  readonly family: string;
  readonly what: string;
  readonly unit: string;
  readonly ours: number;
  readonly baseline: number;
  readonly baselineIs: string;
  /** Ours over the baseline: the median of the ratios of each round. */
  readonly ratio: number;
  readonly goal?: Goal;
}

/** A goal. */
export interface Goal {
  readonly text: string;
  readonly met: boolean;
}

/** What {@linkcode row} makes a row of. */
export interface Measured {
  readonly family: string;
  readonly what: string;
  readonly unit: string;
  /** One per round. */
  readonly ours: readonly number[];
  /** One per round, of the same round. */
  readonly baseline: readonly number[];
  readonly baselineIs: string;
  /** The bound for the ratio. */
  readonly goal?: { readonly atMost: number } | { readonly atLeast: number };
}

/** A row from what each round gave. */
export function row({ ours, baseline, goal, ...rest }: Measured): Row {
  const ratio = median(ours.map((value, index) => value / baseline[index]!));
  const figures = { ours: median(ours), baseline: median(baseline), ratio };
  if (goal === undefined) return { ...rest, ...figures };
  return {
    ...rest,
    ...figures,
    goal: "atMost" in goal
      ? { text: `ratio ≤ ${goal.atMost}`, met: ratio <= goal.atMost }
      : { text: `ratio ≥ ${goal.atLeast}`, met: ratio >= goal.atLeast },
  };
}

/** The rows as tables in Markdown, one for each family. */
export function tables(rows: readonly Row[]): string {
  const families = [...new Set(rows.map(({ family }) => family))];
  return families.map((family) => {
    const own = rows.filter((row) => row.family === family);
    return `### ${family}\n\n${table(own)}`;
  }).join("\n\n");
}

function table(rows: readonly Row[]): string {
  const lines = rows.map(({ what, unit, ours, baseline, baselineIs, ratio, goal }) => [
    what,
    ...[number(ours), number(baseline), unit, baselineIs, number(ratio)],
    goal === undefined ? "" : `${goal.text}: ${goal.met ? "met" : "**not met**"}`,
  ]);
  const head = ["figure", "ours", "baseline", "unit", "the baseline is", "ratio", "goal"];
  const rule = ["---", "---:", "---:", "---", "---", "---:", "---"];
  return [head, rule, ...lines].map((cells) => `| ${cells.join(" | ")} |`).join("\n");
}

function number(value: number): string {
  if (value >= 1000) return Math.round(value).toLocaleString("en");
  return value === 0 ? "0" : String(Number(value.toPrecision(3)));
}
