/** The program, killed at random moments. */

import { assertEquals, assertGreater, assertLessOrEqual } from "../deps.ts";
import { crashAgainAndAgain, crashLine } from "../support/crash_cycles.ts";
import { WINDOW } from "../support/crash_rig.ts";

/** `deno task soak:crash` does ten times as many. */
const CYCLES = 100;

Deno.test(`nothing accepted is lost over ${CYCLES} kills at random moments, order is kept, duplicates stay within the window`, async () => {
  const seed = crypto.getRandomValues(new Uint32Array(1))[0]!;
  // deno-lint-ignore no-console -- the counts are what the test shows
  console.log(`seed ${seed}`);
  const report = await crashAgainAndAgain(CYCLES, seed);
  // deno-lint-ignore no-console -- the counts are what the test shows
  console.log(crashLine(seed, report));
  assertEquals([report.kills, report.missing, report.disorder], [CYCLES, 0, 0]);
  assertEquals(report.violations, []);
  assertLessOrEqual(report.mostDuplicates, WINDOW);
  assertGreater(report.accepted, 1_000);
});
