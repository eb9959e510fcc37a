import { type Exit, messageOf } from "../base/errors.ts";

/** What is checked, in this order. */
export type CheckName =
  | "configuration"
  | "permissions"
  | "files"
  | "name"
  | "tcp"
  | "proxy"
  | "tls"
  | "mqtt"
  | "publish"
  | "subscribe";

/** What came of one step. */
export interface CheckStep {
  readonly step: CheckName;
  /** After `failed` nothing more is checked. */
  readonly outcome: "ok" | "warning" | "failed" | "skipped";
  /** How long it took, in ms. */
  readonly ms: number;
  readonly text: string;
  /** What to do, when it failed. */
  readonly advice?: string;
}

/** Gets each step when it is over. */
export type Report = (step: CheckStep) => void;

/** Ends a check, with the program's exit code; what is to be said of it was reported. */
export class CheckFailed extends Error {
  override readonly name = "CheckFailed";

  constructor(readonly exit: Exit) {
    super("the check failed");
  }
}

/** Measures a step and reports what comes of it. @throws {CheckFailed} when it fails */
export async function checkStep(
  step: CheckName,
  report: Report,
  work: () => Promise<Pick<CheckStep, "outcome" | "text">>,
  explain: (error: unknown) => { readonly exit: Exit; readonly advice: string } | undefined,
): Promise<void> {
  const started = performance.now();
  try {
    const done = await work();
    report({ step, ms: performance.now() - started, ...done });
  } catch (error) {
    const explained = explain(error);
    if (explained === undefined) throw error;
    const { exit, advice } = explained;
    const ms = performance.now() - started;
    report({ step, outcome: "failed", ms, text: messageOf(error), advice });
    throw new CheckFailed(exit);
  }
}
