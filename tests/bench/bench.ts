/**
 * `deno task bench`: how fast the program is, each figure beside a baseline of the same run. See README.md.
 *
 *     deno task bench [--short] [--json] [--only NAME[,NAME]] [--runs N] [--flood SECONDS]
 *
 * @module
 */

import { messageOf } from "../../src/base/errors.ts";
import { type Option, parseOptions } from "../../src/cli/args.ts";
import { badCompany } from "./noisy_neighbours.ts";
import { device } from "./device.ts";
import { fanOut } from "./fan_out.ts";
import { matching } from "./matching.ts";
import { memory } from "./memory.ts";
import { payload } from "./payload.ts";
import { publishKept } from "./publish_kept.ts";
import { publishPerCall } from "./publish_per_call.ts";
import { spool } from "./spool.ts";
import { start } from "./start.ts";
import { describe, machine } from "./support/machine.ts";
import { type Bench, type Row, tables } from "./support/report.ts";
import { brokerAvailable } from "./support/stage.ts";

interface Family {
  readonly run: (bench: Bench) => Promise<void> | void;
  readonly needsBroker: boolean;
}

const FAMILIES: Readonly<Record<string, Family>> = {
  "publish-per-call": { run: publishPerCall, needsBroker: true },
  "publish-kept": { run: publishKept, needsBroker: true },
  "fan-out": { run: fanOut, needsBroker: true },
  "bad-company": { run: badCompany, needsBroker: true },
  "matching": { run: matching, needsBroker: false },
  "spool": { run: spool, needsBroker: false },
  "device": { run: device, needsBroker: true },
  "memory": { run: memory, needsBroker: true },
  "start": { run: start, needsBroker: false },
  "payload": { run: payload, needsBroker: false },
};

const OPTIONS: readonly Option[] = [
  { option: "short", help: "once each, to find what is broken" },
  { option: "json", help: "print a JSON object" },
  { option: "only", value: "NAME[,NAME]", help: "these families alone" },
  { option: "runs", value: "N", help: "rounds of each figure" },
  { option: "flood", value: "SECONDS", help: "how long the memory is watched" },
];

/** Rounds of each figure. */
const RUNS = 5;

const FLOOD_SECONDS = 20;

const encoder = new TextEncoder();

function print(text: string): void {
  Deno.stdout.writeSync(encoder.encode(text + "\n"));
}

function progress(text: string): void {
  Deno.stderr.writeSync(encoder.encode(text + "\n"));
}

/** Runs the families that were asked for; what broke, by family. */
async function runAll(names: readonly string[], bench: Bench): Promise<Map<string, string>> {
  const broken = new Map<string, string>();
  for (const name of names) {
    const { run, needsBroker } = FAMILIES[name]!;
    if (needsBroker && !brokerAvailable()) {
      bench.note(`${name}: skipped, for mosquitto is not installed`);
      continue;
    }
    progress(`${name} ...`);
    try {
      await run(bench);
    } catch (error) {
      broken.set(name, error instanceof Error ? error.stack ?? error.message : messageOf(error));
      progress(`${name} is broken: ${broken.get(name)}`);
    }
  }
  return broken;
}

async function main(): Promise<number> {
  const { values, words } = parseOptions(Deno.args, OPTIONS);
  const textOf = (option: string): string | undefined => values.get(option)?.at(-1);
  const names = textOf("only")?.split(",") ?? Object.keys(FAMILIES);
  const unknown = names.filter((name) => FAMILIES[name] === undefined);
  if (unknown.length > 0 || words.length > 0) {
    progress(`Cannot run ${[...unknown, ...words]}: the names are ${Object.keys(FAMILIES)}`);
    return 64;
  }
  const short = values.has("short");
  const rows: Row[] = [];
  const notes: string[] = [];
  const on = await machine(Deno.env.get("TMPDIR") ?? "/tmp");
  const broken = await runAll(names, {
    short,
    runs: Number(textOf("runs") ?? (short ? 1 : RUNS)),
    floodSeconds: Number(textOf("flood") ?? (short ? 2 : FLOOD_SECONDS)),
    progress: (text) => progress(`  ${text}`),
    add: (row) => void rows.push(row),
    note: (text) => void notes.push(text),
  });
  if (values.has("json")) {
    print(JSON.stringify({ machine: on, short, rows, notes, broken: Object.fromEntries(broken) }));
  } else {
    print(`${describe(on)}${short ? "; short" : ""}\n\n${tables(rows)}\n`);
    for (const note of notes) print(`- ${note}`);
    for (const [name, error] of broken) print(`- BROKEN ${name}: ${error}`);
  }
  return broken.size > 0 ? 1 : 0;
}

Deno.exit(await main());
