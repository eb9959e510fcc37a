/**
 * `deno task fleet [DEVICES]`: simulates fleets that share an account, and prints their figures beside their goals; 10,000 devices by
 * default, which stand for 100,000 or 1,000,000 in proportion.
 *
 * @module
 */

import { play } from "./play.ts";
import { isMet, type Row, rows } from "./scenes.ts";

/** With other numbers, the quotas in proportion would not be whole. */
const MULTIPLE = 200;

function say(text: string): void {
  Deno.stdout.writeSync(new TextEncoder().encode(text + "\n"));
}

function line(row: Row): string {
  const goal = "atMost" in row.goal ? `at most ${row.goal.atMost}` : `at least ${row.goal.atLeast}`;
  const seen = String(Math.round(row.seen * 100) / 100);
  return `| ${row.scene} | ${row.figure} | ${seen} | ${goal}${isMet(row) ? "" : ", missed"} |`;
}

const devices = Number(Deno.args[0] ?? 10_000);
if (!Number.isSafeInteger(devices) || devices < MULTIPLE || devices % MULTIPLE > 0) {
  say(`Cannot simulate: DEVICES must be a multiple of ${MULTIPLE}, got ${Deno.args[0]}`);
  Deno.exit(64);
}
say(`${devices} devices, quotas in proportion\n`);
say("| scene | figure | seen | goal |\n| --- | --- | --- | --- |");
let missed = 0;
for await (const row of rows(devices, play)) {
  say(line(row));
  if (!isMet(row)) missed++;
}
say(`\n${missed} goals are missed; it took ${(performance.now() / 1_000).toFixed(0)} s`);
if (missed > 0) Deno.exitCode = 1;
