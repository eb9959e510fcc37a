// Kills the program at random moments, on the same spool: `deno task soak:crash [CYCLES] [SEED]`. Ends with 1 unless all is well.
import { crashAgainAndAgain, crashLine } from "../support/crash_cycles.ts";
import { REPEATED } from "../support/crash_rig.ts";

const cycles = Number(Deno.args[0] ?? 1_000);
const seed = Number(Deno.args[1] ?? crypto.getRandomValues(new Uint32Array(1))[0]!);

function say(text: string): void {
  Deno.stdout.writeSync(new TextEncoder().encode(`${text}\n`));
}

say(`seed ${seed}, ${cycles} kills`);
const report = await crashAgainAndAgain(cycles, seed, (kills) => {
  if (kills % 100 === 0) say(`${kills} kills so far, everything accepted has arrived`);
});
say(crashLine(seed, report));
for (const violation of report.violations) say(`AWS IoT Core would have objected: ${violation}`);
const { missing, disorder, mostDuplicates, violations } = report;
const well = missing + disorder + violations.length === 0 && mostDuplicates <= REPEATED;
Deno.exit(well ? 0 : 1);
