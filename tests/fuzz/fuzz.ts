/**
 * `deno task fuzz [INPUTS] [SEED]`: gives the decoders and the methods of the bus inputs that nobody thought of; 1,000,000 by
 * default. What is found is printed and written to `tests/fixtures/fuzz-*.bin`, which `tests/unit/fuzz_test.ts` tries from then on.
 *
 * @module
 */

import { crc32 } from "../../src/wire/crc.ts";
import { type Finding, fuzz } from "./run.ts";
import { targets } from "./targets.ts";

const FIXTURES = new URL("../fixtures/", import.meta.url);

function say(text: string): void {
  Deno.stdout.writeSync(new TextEncoder().encode(text + "\n"));
}

function keep({ target, input, error }: Finding): void {
  const name = `fuzz-${target}-${crc32(input).toString(16).padStart(8, "0")}.bin`;
  Deno.writeFileSync(new URL(name, FIXTURES), input);
  say(`\nFOUND, kept as tests/fixtures/${name}: ${input.toHex()}`);
  say(error instanceof Error ? error.stack ?? error.message : String(error));
}

function numberOf(text: string | undefined, fallback: number): number {
  const number = Number(text ?? fallback);
  if (Number.isSafeInteger(number) && number >= 0) return number;
  say(`Cannot fuzz: INPUTS and SEED must be whole numbers, got ${JSON.stringify(text)}`);
  Deno.exit(64);
}

const inputs = numberOf(Deno.args[0], 1_000_000);
const seed = numberOf(Deno.args[1], Date.now() % 1_000_000);
say(`${inputs} inputs, seed ${seed}`);
const started = performance.now();
let found = 0;
for (const target of targets()) {
  const outcome = await fuzz(target, Math.round(inputs * target.share), seed);
  const counts = [...outcome.counts].sort(([, a], [, b]) => b - a)
    .map(([what, count]) => `${what} ${count}`).join(", ");
  say(`${target.name}: ${outcome.inputs} in ${(outcome.ms / 1_000).toFixed(1)} s: ${counts}`);
  outcome.findings.forEach(keep);
  found += outcome.findings.length;
}
const seconds = ((performance.now() - started) / 1_000).toFixed(1);
say(`${inputs} inputs in ${seconds} s, ${found} errors that nothing caught`);
Deno.exit(found === 0 ? 0 : 1);
