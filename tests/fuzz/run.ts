import type { Bytes } from "../../src/base/bytes.ts";
import { Random } from "../support/random.ts";
import type { Target } from "./targets.ts";

/** Longest time between two looks of the event loop, in inputs. */
const INPUTS_PER_TURN = 10_000;

/** An input that broke something. */
export interface Finding {
  readonly target: string;
  readonly input: Bytes;
  readonly error: unknown;
}

/** What became of the inputs of one target. */
export interface Outcome {
  readonly target: string;
  readonly inputs: number;
  readonly ms: number;
  /** How often each outcome was seen. */
  readonly counts: ReadonlyMap<string, number>;
  /** One per message of an error. */
  readonly findings: readonly Finding[];
}

/** Gives a target so many inputs, the same for the same seed. */
export async function fuzz(target: Target, inputs: number, seed: number): Promise<Outcome> {
  const random = new Random(seed);
  const counts = new Map<string, number>();
  const findings = new Map<string, Finding>();
  const started = performance.now();
  for (let n = 0; n < inputs; n++) {
    const input = target.input(random);
    let outcome: string;
    try {
      const result = target.run(input, random);
      outcome = typeof result === "string" ? result : await result;
    } catch (error) {
      outcome = "FOUND";
      const kind = String(error).slice(0, 60);
      if (!findings.has(kind)) findings.set(kind, { target: target.name, input, error });
    }
    counts.set(outcome, (counts.get(outcome) ?? 0) + 1);
    if (n % INPUTS_PER_TURN === 0) await new Promise((resolve) => setTimeout(resolve, 0));
  }
  const ms = performance.now() - started;
  return { target: target.name, inputs, ms, counts, findings: [...findings.values()] };
}
