/**
 * `deno task bench:inflow [--only CASE[,CASE]] [--runs N] [--tree DIR]`: what reaches subscribers, and what it costs, when a broker
 * sends as fast as it can, or clients do. `--tree` measures another checkout of the program, for figures before and after.
 *
 * @module
 */

import { type Bytes, concat, utf8 } from "../../src/base/bytes.ts";
import { importMapFlags } from "../../src/build/deno.ts";
import { BusError } from "../../src/base/errors.ts";
import { call } from "../../src/bus/client.ts";
import { type Option, parseOptions } from "../../src/cli/args.ts";
import { crc32 } from "../../src/wire/crc.ts";
import { encodeValueFrame } from "../../src/wire/frame.ts";
import type { ValueMap } from "../../src/wire/object.ts";
import { publishParams } from "../support/daemon.ts";
import { createPki, writePki } from "../support/pki.ts";
import { daemonArgs, type Program, programCommand, startCommand } from "../support/program.ts";
import { tempDir } from "../support/temp.ts";
import { waitFor } from "../support/wait.ts";
import { ACCEPTED, publishRequest, subscribeRequest } from "./support/frames.ts";
import { Helper } from "./support/helper.ts";
import { describe, machine } from "./support/machine.ts";
import { median, percentile } from "./support/measure.ts";
import { cpuSeconds, memoryOf } from "./support/proc.ts";

const TOPIC = "bench/inflow";
const PAYLOAD_BYTES = 128;
const MESSAGES = 150_000;
const MB = 1_000_000;

const CASES: Readonly<Record<string, (place: Place, runs: number) => Promise<void>>> = {
  "fan-1": (place, runs) => fan(place, runs, 1, 0, MESSAGES),
  "fan-10": (place, runs) => fan(place, runs, 10, 0, MESSAGES),
  "fan-100": (place, runs) => fan(place, runs, 100, 0, MESSAGES),
  "stopped": (place, runs) => fan(place, runs, 10, 1, MESSAGES),
  burst,
  declared,
  "half-frames": halfFrames,
  notify,
  settle,
};

/** How long memory has to be given back, in ms. */
const SETTLE_MS = 120_000;

const OPTIONS: readonly Option[] = [
  { option: "only", value: "CASE[,CASE]", help: "these cases alone" },
  { option: "runs", value: "N", help: "runs of each fan" },
  { option: "tree", value: "DIR", help: "measure the program of another checkout" },
];

function print(text: string): void {
  Deno.stdout.writeSync(utf8(text + "\n"));
}

/** What the cases share. */
interface Place {
  readonly dir: string;
  readonly client: string;
  readonly broker: Helper;
  readonly port: number;
  /** MQTT.js alone, which counts. */
  readonly alone: (count: number) => Promise<Helper>;
  readonly daemon: (...args: readonly string[]) => Promise<Running>;
}

interface Running extends AsyncDisposable {
  readonly program: Program;
  readonly socket: string;
}

async function openPlace(tree: string | undefined, stack: AsyncDisposableStack): Promise<Place> {
  const { path: dir } = stack.use(await tempDir());
  const files = await writePki(dir, await createPki());
  const client = `${dir}/client`;
  const source = new URL("client.c", import.meta.url).pathname;
  const { success } = await new Deno.Command("cc", { args: ["-O2", "-o", client, source] })
    .output();
  if (!success) throw new Error("Cannot compile client.c");
  const port = freePort();
  const broker = stack.use(
    await Helper.start("line_broker.ts", files.serverCert, files.serverKey, `${port}`),
  );
  let started = 0;
  const daemon: Place["daemon"] = async (...more) => {
    const busDir = `${dir}/bus${started++}`;
    await Deno.mkdir(busDir);
    const args = daemonArgs({ host: "127.0.0.1", port }, files, busDir, "--no-rate-limit", ...more);
    const program = startCommand([...await commandOf(tree), ...args]);
    const socket = `${busDir}/aws_iot_mqtt`;
    await waitFor("the daemon to connect", () => isConnected(socket), 20_000);
    return { program, socket, [Symbol.asyncDispose]: () => program[Symbol.asyncDispose]() };
  };
  const url = `mqtts://127.0.0.1:${port}`;
  const alone = (count: number): Promise<Helper> => {
    const given = [url, files.rootca, files.cert, files.key, "count", TOPIC, `${count}`];
    return Helper.start("mqtt_alone.ts", ...given);
  };
  return { dir, client, broker, port, alone, daemon };
}

async function commandOf(tree: string | undefined): Promise<string[]> {
  const command = await programCommand();
  if (tree === undefined) return command;
  const v8 = command.find((word) => word.startsWith("--v8-flags")) ?? "--no-prompt";
  const own = importMapFlags().map((flag) => flag.replace(/=.*\/\.ci/, `=${tree}/.ci`));
  const config = ["--config", `${tree}/deno.json`];
  return [command[0]!, "run", "-q", "-A", "--no-prompt", v8, ...config, ...own, `${tree}/main.ts`];
}

async function isConnected(socket: string): Promise<boolean> {
  try {
    const status = await call(socket, "status") as ValueMap;
    const [connection] = status.get("connections") as ValueMap[];
    return connection?.get("connected") === true;
  } catch {
    // It does not listen yet.
    return false;
  }
}

function freePort(): number {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  return listener.addr.port;
}

/** The frame of message 0, and where its number is. */
function frameOf(size: number): { readonly bytes: Bytes; readonly at: number } {
  const payload = new Uint8Array(size);
  const bytes = encodeValueFrame(new Map([["topic", utf8(TOPIC)], ["payload", payload]]));
  return { bytes, at: bytes.length - 4 - size };
}

/** What the readers of one run saw: seconds, and after how many seconds each of those that stopped was closed. */
interface Outcome {
  readonly seconds: number;
  readonly closedAfter: readonly number[];
}

/** Subscribers written in C, which check that each message comes once and in order. */
class Readers implements AsyncDisposable {
  readonly #child: Deno.ChildProcess;
  readonly #reader: ReadableStreamDefaultReader<Uint8Array<ArrayBuffer>>;

  private constructor(child: Deno.ChildProcess) {
    this.#child = child;
    this.#reader = child.stdout.getReader();
  }

  static async start(
    { client }: Place,
    socket: string,
    count: number,
    subscribers: number,
    stopped: number,
    size = PAYLOAD_BYTES,
  ): Promise<Readers> {
    const { bytes, at } = frameOf(size);
    const frames = [subscribeRequest(TOPIC).toHex(), ACCEPTED.toHex()];
    const numbers = [bytes.length, at, count, subscribers, stopped].map(String);
    const args = ["read", socket, ...frames, ...numbers];
    const options = { args, stdin: "piped", stdout: "piped", stderr: "piped" } as const;
    const readers = new Readers(new Deno.Command(client, options).spawn());
    await readers.#reader.read();
    return readers;
  }

  async go(): Promise<void> {
    const writer = this.#child.stdin.getWriter();
    await writer.write(Uint8Array.of(10));
    await writer.close();
  }

  /** @throws {Error} When a message was missing, repeated or out of order, or who reads was closed */
  async outcome(): Promise<Outcome> {
    const parts: Bytes[] = [];
    for (let part; (part = (await this.#reader.read()).value) !== undefined;) parts.push(part);
    const said = await new Response(this.#child.stderr).text();
    if (!(await this.#child.status).success) throw new Error(said.trim());
    const bytes = concat(parts.length === 0 ? [new Uint8Array(0)] : parts);
    const line = bytes.indexOf(10);
    const [start = 0, end = 0] = new TextDecoder().decode(bytes.subarray(0, line)).split(" ")
      .map(Number);
    const ns = new Uint32Array(bytes.slice(line + 1).buffer);
    return { seconds: (end - start) / 1e9, closedAfter: [...ns].map((each) => each / 1e9) };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const { success } = await this.#child.status;
    if (success) return;
    await this.#reader.cancel();
  }
}

async function fan(
  place: Place,
  runs: number,
  subscribers: number,
  stopped: number,
  count: number,
): Promise<void> {
  const name = `${subscribers} subscribers${stopped > 0 ? ` and ${stopped} that stopped` : ""}`;
  const seconds: number[] = [];
  const alone: number[] = [];
  const closedAfter: number[] = [];
  const failures: string[] = [];
  let peak = 0;
  let cpu = 0;
  await using daemon = await place.daemon();
  for (let run = 0; run < runs; run++) {
    if (subscribers === 1) {
      await using counter = await place.alone(count);
      const counted = counter.line();
      await place.broker.ask(`feed ${TOPIC} ${count} ${PAYLOAD_BYTES}`);
      alone.push(Number(await counted));
    }
    const before = cpuSeconds(daemon.program.pid);
    try {
      await using readers = await Readers.start(
        ...[place, daemon.socket, count, subscribers, stopped] as const,
      );
      await readers.go();
      const [outcome] = await Promise.all([
        readers.outcome(),
        place.broker.ask(`feed ${TOPIC} ${count} ${PAYLOAD_BYTES}`),
      ]);
      seconds.push(outcome.seconds);
      closedAfter.push(...outcome.closedAfter);
    } catch (error) {
      failures.push((error as Error).message);
    }
    cpu += cpuSeconds(daemon.program.pid) - before;
    peak = Math.max(peak, memoryOf(daemon.program.pid).peak);
  }
  const rate = seconds.length === 0 ? 0 : count * subscribers / median(seconds);
  const ratio = alone.length === 0 || seconds.length === 0
    ? ""
    : `, ratio to MQTT.js alone ${median(seconds.map((each, n) => alone[n]! / each)).toFixed(2)}`;
  const closed = stopped === 0 ? "" : `, closed after ${Math.max(...closedAfter).toFixed(2)} s`;
  print(
    `${name}: ${runs - failures.length} of ${runs} runs complete, ${
      Math.round(rate)
    } messages out/s, ` +
      `CPU ${(cpu / runs / count / subscribers * 1e6).toFixed(2)} us each${ratio}${closed}, ` +
      `peak ${Math.round(peak / MB)} MB`,
  );
  for (const failure of new Set(failures)) print(`  FAILED: ${failure}`);
}

/** How long publishes took, in ms, ascending, and how many were refused. */
interface Paced {
  readonly times: Float64Array;
  readonly refused: number;
}

/** Publishes with QoS 0, one after another, until told to stop. */
async function paced(socket: string, until: Promise<unknown>, pauseMs = 5): Promise<Paced> {
  const times: number[] = [];
  let refused = 0;
  let over = false;
  void until.then(() => over = true, () => over = true);
  const params = publishParams({ topic: "bench/other", payload: "1", qos: 0 });
  while (!over) {
    const started = performance.now();
    try {
      await call(socket, "publish", params);
      times.push(performance.now() - started);
    } catch (error) {
      if (!(error instanceof BusError)) throw error;
      refused++;
    }
    await new Promise((resolve) => setTimeout(resolve, pauseMs));
  }
  return { times: new Float64Array(times).sort(), refused };
}

function latency({ times, refused }: Paced): string {
  if (times.length === 0) return `publish beside it: all ${refused} refused`;
  const at = (part: number): string => percentile(times, part).toFixed(1);
  return `publish beside it: median ${at(0.5)} ms, 99 % ${at(0.99)} ms, most ${at(1)} ms ` +
    `(${times.length}, ${refused} refused)`;
}

/** Messages of one byte, which nobody can count by number: a subscriber that takes what comes. */
async function burst(place: Place): Promise<void> {
  const each = new Map<number, number>();
  for (const count of [40_000, 400_000]) {
    await using daemon = await place.daemon();
    const received = async (): Promise<number> => {
      const status = await call(daemon.socket, "status") as ValueMap;
      return Number(status.get("received"));
    };
    using subscriber = await Deno.connect({ transport: "unix", path: daemon.socket });
    await subscriber.write(subscribeRequest(TOPIC));
    const drained = drain(subscriber);
    await new Promise((resolve) => setTimeout(resolve, 1_500));
    const started = performance.now();
    const fed = place.broker.ask(`feed ${TOPIC} ${count} 1`);
    const bytes = count * frameOf(1).bytes.length + ACCEPTED.length;
    const all = waitFor("the burst", () => drained.bytes >= bytes || drained.over, 200_000);
    const times = await paced(daemon.socket, all);
    await Promise.all([all, fed]);
    const ms = performance.now() - started;
    each.set(count, ms * 1_000 / count);
    print(
      `burst of ${count} messages of 1 byte: ${(ms / 1_000).toFixed(2)} s, ${
        each.get(count)!.toFixed(1)
      } us each; ${
        drained.over ? `CLOSED after ${drained.bytes} of ${bytes} bytes, ` : ""
      }received ${await received()}; ` +
        `${latency(times)}; peak ${Math.round(memoryOf(daemon.program.pid).peak / MB)} MB`,
    );
  }
  print(
    `burst: time per message at 400,000 over 40,000: ${
      (each.get(400_000)! / each.get(40_000)!).toFixed(2)
    }`,
  );
}

/** Takes all that comes. */
function drain(conn: Deno.Conn): { bytes: number; over: boolean } {
  const state = { bytes: 0, over: false };
  const buffer = new Uint8Array(262_144);
  void (async () => {
    for (let count; (count = await conn.read(buffer).catch(() => null)) !== null;) {
      state.bytes += count;
    }
    state.over = true;
  })();
  return state;
}

/** A PUBLISH of 256 MB is announced, and as much of it sent as is taken. */
async function declared(place: Place): Promise<void> {
  for (const version of ["5", "3.1.1"]) {
    await using daemon = await place.daemon("--mqtt-version", version);
    using subscriber = await Deno.connect({ transport: "unix", path: daemon.socket });
    await subscriber.write(subscribeRequest(TOPIC));
    await new Promise((resolve) => setTimeout(resolve, 1_500));
    const before = memoryOf(daemon.program.pid).resident;
    await place.broker.ask("raw 30ffffff7f0001610000");
    const part = `raw ${"00".repeat(1_000_000)}`;
    let sent = 0;
    for (; sent < 260; sent++) {
      if (await place.broker.ask(part) !== "done") break;
    }
    const lost = daemon.program.log().split("\n").find((line) =>
      line.includes("The connection was lost")
    );
    const peak = memoryOf(daemon.program.pid).peak;
    print(
      `MQTT ${version}, 256 MB declared: ${sent} MB of it were taken, peak ${
        Math.round(peak / MB)
      } MB ` +
        `(${Math.round(before / MB)} before); ${lost ?? "the link stands"}`,
    );
  }
}

/** 900 clients with most of a frame each. */
async function halfFrames(place: Place): Promise<void> {
  await using daemon = await place.daemon();
  const before = memoryOf(daemon.program.pid).resident;
  const over = giveHalfFrames(daemon.socket);
  const times = await paced(daemon.socket, over);
  await over;
  const { peak } = memoryOf(daemon.program.pid);
  print(
    `900 clients with most of a frame: peak ${Math.round(peak / MB)} MB ` +
      `(${Math.round(before / MB)} before); ${latency(times)}`,
  );
}

/** Resolves when every one of them was refused. */
async function giveHalfFrames(socket: string): Promise<void> {
  const part = new Uint8Array(1_000_000);
  const view = new DataView(part.buffer);
  view.setUint32(0, 1_048_000);
  view.setUint32(8, crc32(part.subarray(0, 8)));
  await Promise.all(Array.from({ length: 900 }, async () => {
    using conn = await Deno.connect({ transport: "unix", path: socket });
    try {
      for (let at = 0; at < part.length;) at += await conn.write(part.subarray(at, at + 65_536));
      await conn.read(new Uint8Array(100));
    } catch (error) {
      if (!Object.hasOwn(Deno.errors, (error as Error).name)) throw error;
    }
  }));
}

/** One client that sends 1,000,000 notifies without pause, and 10 that publish now and then. */
async function notify(place: Place): Promise<void> {
  await using daemon = await place.daemon();
  const before = memoryOf(daemon.program.pid).resident;
  const started = performance.now();
  const flood = floodNotifies(daemon.socket, 1_000_000);
  const all = await Promise.all(
    Array.from({ length: 10 }, () => paced(daemon.socket, flood, 20)),
  );
  const seconds = (performance.now() - started) / 1_000;
  const times = {
    times: Float64Array.from(all.flatMap((each) => [...each.times])).sort(),
    refused: all.reduce((sum, each) => sum + each.refused, 0),
  };
  const { peak } = memoryOf(daemon.program.pid);
  print(
    `1,000,000 notifies beside 10 paced clients: ${seconds.toFixed(1)} s, ` +
      `peak ${Math.round(peak / MB)} MB (${Math.round(before / MB)} before); ${latency(times)}`,
  );
}

async function floodNotifies(socket: string, count: number): Promise<void> {
  const request = notifyRequest();
  const block = concat(Array.from({ length: 500 }, () => request));
  using conn = await Deno.connect({ transport: "unix", path: socket });
  for (let sent = 0; sent < count; sent += 500) {
    for (let rest = block; rest.length > 0;) rest = rest.subarray(await conn.write(rest));
    // The paced clients are of this process.
    await new Promise((resolve) => setTimeout(resolve, 0));
  }
}

/** Everything on one daemon, one after another: the most memory that it takes, and what it takes two minutes later. */
async function settle(place: Place): Promise<void> {
  await using daemon = await place.daemon();
  const { pid } = daemon.program;
  const before = memoryOf(pid).resident;
  {
    await using readers = await Readers.start(place, daemon.socket, MESSAGES, 10, 1);
    await readers.go();
    await Promise.all([
      readers.outcome(),
      place.broker.ask(`feed ${TOPIC} ${MESSAGES} ${PAYLOAD_BYTES}`),
    ]);
  }
  await giveHalfFrames(daemon.socket);
  await floodNotifies(daemon.socket, 200_000);
  const { peak } = memoryOf(pid);
  await new Promise((resolve) => setTimeout(resolve, SETTLE_MS));
  const after = memoryOf(pid).resident;
  print(
    `all of it on one daemon: ${Math.round(before / MB)} MB before, at most ${
      Math.round(peak / MB)
    }, ` +
      `${Math.round(after / MB)} after ${SETTLE_MS / 1_000} s`,
  );
}

/** The request that publishes without an answer. */
function notifyRequest(): Bytes {
  const called = publishRequest("bench/flood", 0);
  const headers = new Map<string, string | number>([["method", "publish"], ["type", 0]]);
  const params = new Map([["topic", utf8("bench/flood")], ["payload", new Uint8Array(32)]]);
  const notified = encodeValueFrame(params, headers);
  if (notified.length >= called.length) throw new Error("The request is larger than meant");
  return notified;
}

const { values } = parseOptions(Deno.args, OPTIONS);
const names = values.get("only")?.at(-1)?.split(",") ?? Object.keys(CASES);
const runs = Number(values.get("runs")?.at(-1) ?? 10);
print(describe(await machine("/tmp")));
for (const name of names) {
  const run = CASES[name];
  if (run === undefined) throw new Error(`Cannot run ${name}: the cases are ${Object.keys(CASES)}`);
  await using stack = new AsyncDisposableStack();
  await run(await openPlace(values.get("tree")?.at(-1), stack), runs);
}
