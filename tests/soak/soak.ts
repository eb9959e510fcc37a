/**
 * `deno task soak [MINUTES] [SEED]`: the program under mixed load and faults, for as long as asked; 1 minute by default. Prints what
 * was accepted, delivered, lost and duplicated, and the program's memory over time. In the last fifth of the time the program is
 * killed and stopped, too, and has to go on with what is on its disk. Ends with 1 when a message was lost or memory grew too much.
 *
 * @module
 */

import { type AwsIotCore, startAwsIotCore } from "../support/aws_iot_core.ts";
import { call } from "../../src/bus/client.ts";
import { readStatus } from "../../src/status/codec.ts";
import { Ledger } from "../support/ledger.ts";
import { writePki } from "../support/pki.ts";
import { daemonArgs, type Program, startProgram } from "../support/program.ts";
import { Random } from "../support/random.ts";
import { tempDir } from "../support/temp.ts";
import { waitFor } from "../support/wait.ts";
import { FAULTS } from "./faults.ts";
import { Load, pause } from "./load.ts";

/** What memory may grow by once the program has warmed up, in bytes. */
const MOST_GROWTH = 32 * 1_048_576;

/** How long things go well between two faults, in ms. */
const QUIET_MS = 6_000;

/** Lines that are printed over the whole time. */
const LINES = 40;

/** How long what was accepted may take to arrive when the load has stopped, in ms. */
const DRAIN_MS = 150_000;

function say(text: string): void {
  Deno.stdout.writeSync(new TextEncoder().encode(text + "\n"));
}

function mib(bytes: number): string {
  return `${(bytes / 1_048_576).toFixed(1)} MiB`;
}

/** One run of the program, and how much memory it took over its time. */
class Process {
  readonly samples: number[] = [];

  constructor(readonly program: Program) {}

  sample(): void {
    const status = Deno.readTextFileSync(`/proc/${this.program.pid}/status`);
    this.samples.push(Number(/VmRSS:\s+(\d+) kB/.exec(status)![1]) * 1_024);
  }

  /** The median of a tenth of the samples, 0 to 9. */
  tenth(n: number): number {
    const size = Math.max(1, Math.floor(this.samples.length / 10));
    const some = this.samples.slice(n * size, (n + 1) * size).sort((a, b) => a - b);
    return some[some.length >> 1] ?? 0;
  }

  /** By how much the last tenth is above the second one; the first one is for warming up. */
  get growth(): number {
    return this.tenth(9) - this.tenth(1);
  }
}

/** The world of a soak. */
class Soak {
  readonly ledger = new Ledger();
  readonly started = performance.now();
  readonly happened = new Map<string, number>();
  process: Process;

  constructor(
    readonly core: AwsIotCore,
    readonly args: readonly string[],
    readonly socket: string,
    readonly random: Random,
    first: Program,
  ) {
    this.process = new Process(first);
  }

  get seconds(): number {
    return (performance.now() - this.started) / 1_000;
  }

  /** Books what arrived, and says how things are. */
  report(load: Load): void {
    const { accepted, delivered, missing, duplicates, disorder } = this.ledger.tally();
    const { qos0, heard } = load.counts;
    const rss = this.process.samples.at(-1) ?? 0;
    say(
      `${
        this.seconds.toFixed(0).padStart(6)
      } s  accepted ${accepted}  arrived with QoS 0 ${delivered}  on their way ${missing}  ` +
        `duplicates ${duplicates}  disorder ${disorder}  qos0 ${qos0}  heard ${heard}  memory ${
          mib(rss)
        }`,
    );
  }

  async fault(): Promise<void> {
    const name = this.random.pick(Object.keys(FAULTS));
    this.happened.set(name, (this.happened.get(name) ?? 0) + 1);
    await FAULTS[name]!(this.core, this.process.program);
  }

  /** Ends the program and starts it again. */
  async restart(signal: "SIGKILL" | "SIGTERM"): Promise<void> {
    this.happened.set(signal, (this.happened.get(signal) ?? 0) + 1);
    this.process.program.signal(signal);
    const code = await this.process.program.exited;
    if (signal === "SIGTERM" && code !== 0) throw new Error(`the program ended with ${code}`);
    this.process = new Process(await startProgram(this.args));
    await this.process.program.logged("serving the core bus");
  }
}

async function runFor(soak: Soak, ms: number, withRestarts: boolean): Promise<void> {
  const end = performance.now() + ms;
  while (performance.now() < end) {
    await pause(Math.min(QUIET_MS, Math.max(0, end - performance.now())));
    if (!withRestarts) await soak.fault();
    else await soak.restart(soak.random.int(2) === 0 ? "SIGKILL" : "SIGTERM");
  }
}

/** What is accepted has to arrive when nothing goes wrong any more. */
async function drain(soak: Soak): Promise<void> {
  soak.process.program.signal("SIGHUP");
  await waitFor("what was accepted to arrive", () => soak.ledger.tally().missing === 0, DRAIN_MS)
    .catch((error: Error) => say(`${error.message}\n${soak.process.program.log().slice(-4_000)}`));
}

async function soakFor(minutes: number, seed: number): Promise<boolean> {
  await using dir = await tempDir();
  await using core = await startAwsIotCore({
    behaviour: { connectSpacingMs: 0, enforceLimits: false },
  });
  const files = await writePki(dir.path, core.pki);
  core.register(files.device);
  const socket = `${dir.path}/bus/aws_iot_mqtt`;
  const more = ["--spool", `${dir.path}/spool`, "--no-rate-limit"];
  const args = daemonArgs(core, files, `${dir.path}/bus`, ...more);
  const soak = new Soak(core, args, socket, new Random(seed), await startProgram(args));
  await soak.process.program.logged("Connected");
  const first = soak.process;
  const load = new Load(socket, soak.ledger, soak.random);
  const ms = minutes * 60_000;
  const timers = [
    setInterval(() => soak.ledger.absorb(core), 200),
    setInterval(() => soak.process === first && first.sample(), Math.max(200, ms / 1_000)),
    setInterval(() => soak.report(load), Math.max(5_000, ms / LINES)),
  ];
  try {
    await runFor(soak, ms * 0.8, false);
    const { clients } = readStatus(await call(socket, "status"));
    say(`clients until here: ${clients.total}, closed as slow: ${clients.closed_as_slow}`);
    await runFor(soak, ms * 0.2, true);
    await load.stop();
    await drain(soak);
  } finally {
    for (const timer of timers) clearInterval(timer);
    await soak.process.program[Symbol.asyncDispose]();
    await first.program[Symbol.asyncDispose]();
  }
  return verdict(soak, load, first);
}

/** Sums up; whether all is well. */
function verdict(soak: Soak, load: Load, first: Process): boolean {
  const { accepted, missing, duplicates, disorder } = soak.ledger.tally();
  const list = (counts: ReadonlyMap<string, number>): string =>
    [...counts].map(([name, count]) => `${name} ${count}`).join(", ") || "none";
  soak.report(load);
  say(`faults: ${list(soak.happened)}`);
  say(`refused: ${list(load.counts.refused)}`);
  say(
    `accepted at QoS 1 ${accepted}, delivered ${
      accepted - missing
    }, lost ${missing}, duplicates ${duplicates}, out of order ${disorder}`,
  );
  say(
    `memory: ${mib(first.samples[0] ?? 0)} at first, then by tenths of the time ` +
      `${Array.from({ length: 10 }, (_, n) => mib(first.tenth(n))).join(", ")}; ` +
      `grown by ${mib(first.growth)} after warming up`,
  );
  // A message that the broker turned away for its quota may be overtaken: disorder is told, and no failure.
  return missing === 0 && first.growth < MOST_GROWTH;
}

const minutes = Number(Deno.args[0] ?? 1);
const seed = Number(Deno.args[1] ?? Date.now() % 1_000_000);
if (!(minutes > 0) || !Number.isSafeInteger(seed)) {
  say("Cannot soak: MINUTES must be above 0, SEED a whole number");
  Deno.exit(64);
}
say(`${minutes} min, seed ${seed}`);
Deno.exit(await soakFor(minutes, seed) ? 0 : 1);
