/**
 * `deno task fleet [DEVICES]`: simulates fleets that share an account, and prints their figures beside their goals; 10,000 devices by
 * default, which stand for 100,000 or 1,000,000 in proportion.
 *
 * `deno task fleet --real [TIMES]`: what one real daemon does against the scripted broker, with clocks that are so many times as fast;
 * in real time, the default, it takes half an hour.
 *
 * @module
 */

import { play } from "./play.ts";
import { realRows } from "./real.ts";
import { isMet, type Row, rows } from "./scenes.ts";

/** With other numbers, the quotas in proportion would not be whole. */
const MULTIPLE = 200;

function say(text: string): void {
  Deno.stdout.writeSync(new TextEncoder().encode(text + "\n"));
}

function refuse(what: string, text: string | undefined): never {
  say(`Cannot ${what}, got ${JSON.stringify(text)}`);
  Deno.exit(64);
}

/** What the command line asks for, and what to say about it. */
function asked([first, second]: readonly string[]): [title: string, rows: AsyncIterable<Row>] {
  if (first === "--real") {
    const times = Number(second ?? 1);
    if (!(times >= 1)) refuse("play: TIMES must be a number from 1", second);
    return [`one daemon and the scripted broker, clocks ${times} times as fast`, realRows(times)];
  }
  const devices = Number(first ?? 10_000);
  if (!Number.isSafeInteger(devices) || devices < MULTIPLE || devices % MULTIPLE > 0) {
    refuse(`simulate: DEVICES must be a multiple of ${MULTIPLE}`, first);
  }
  return [`${devices} devices, quotas in proportion`, rows(devices, play)];
}

function line(row: Row): string {
  const goal = "atMost" in row.goal ? `at most ${row.goal.atMost}` : `at least ${row.goal.atLeast}`;
  const seen = String(Math.round(row.seen * 100) / 100);
  return `| ${row.scene} | ${row.figure} | ${seen} | ${goal}${isMet(row) ? "" : ", missed"} |`;
}

const [title, table] = asked(Deno.args);
say(`${title}\n\n| scene | figure | seen | goal |\n| --- | --- | --- | --- |`);
let missed = 0;
for await (const row of table) {
  say(line(row));
  if (!isMet(row)) missed++;
}
say(`\n${missed} goals are missed; it took ${(performance.now() / 1_000).toFixed(0)} s`);
if (missed > 0) Deno.exitCode = 1;
