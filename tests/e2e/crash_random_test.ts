/** The program, killed at random moments. */

import { assertEquals, assertGreater, assertLessOrEqual } from "../deps.ts";
import { crashAgainAndAgain, crashLine, type CrashReport } from "../support/crash_cycles.ts";
import { ALL_KILLS, REPEATED } from "../support/crash_rig.ts";

/** `task test:crash` does the larger number, `task soak:crash` ten times that. */
const CYCLES = ALL_KILLS ? 100 : 40;

Deno.test(`nothing accepted is lost over ${CYCLES} kills at random moments, order is kept, duplicates stay within the bound`, async (t) => {
  const seed = crypto.getRandomValues(new Uint32Array(1))[0]!;
  let report: CrashReport | undefined;
  await t.step(`seed ${seed}`, async () => {
    report = await crashAgainAndAgain(CYCLES, seed);
  });
  if (report === undefined) return;
  const { kills, missing, disorder, violations, mostDuplicates, accepted } = report;
  // The figures are the name of a step, as `deno test -q` shows nothing else.
  await t.step(crashLine(seed, report), () => {
    assertEquals([kills, missing, disorder, violations], [CYCLES, 0, 0, []]);
    assertLessOrEqual(mostDuplicates, REPEATED);
    assertGreater(accepted, 10 * CYCLES);
  });
});
