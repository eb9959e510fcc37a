import type { Bytes } from "../../src/base/bytes.ts";
import type { Run } from "./support/clients.ts";
import { NULL_ANSWER, PAYLOAD_BYTES, publishRequest } from "./support/frames.ts";
import { Helper } from "./support/helper.ts";
import { percentile, rounds } from "./support/measure.ts";
import { cpuSeconds } from "./support/proc.ts";
import { type Bench, row } from "./support/report.ts";
import { openStage, type Stage } from "./support/stage.ts";

const TOPIC = "bench/device/telemetry";

/** Calls of one run, by all clients together. */
const CALLS = { short: 400, full: 30_000 };

/** The same with the spool on disk, where each call waits for the disk. */
const DISK_CALLS = { short: 40, full: 2_000 };

/** More than the disk spool of a run can hold at its default. */
const ROOM = ["--spool-max-bytes", "268435456"];

/** One server that answers calls. */
interface Server {
  /** By all clients together, in one run. */
  readonly calls: number;
  readonly socket: string;
  readonly pid: number;
  readonly request: Bytes;
  /** Whether each call becomes a message at the broker. */
  readonly publishes: boolean;
  /** Waits until what was accepted has been done: it belongs to the cost of a call. */
  settle(): Promise<void>;
}

interface Figures {
  readonly callsPerSecond: number;
  readonly cpuMicros: number;
  readonly p50: number;
  readonly p99: number;
}

/** Publishing as the C clients in the field do: one connection per call. */
export async function publishPerCall(bench: Bench): Promise<void> {
  await using stage = await openStage();
  bench.note(`clients of publish and fan-out: ${stage.clients.kind}; broker: mosquitto`);
  await using memory = await stage.daemon("memory", ...ROOM);
  await using disk = await stage.daemon("disk", "--spool", `${stage.dir}/spool`, ...ROOM);
  await using bare = await bareServer(stage, "bare", "once");
  await using kept = await bareServer(stage, "kept", "end");
  await using publishing = await bareServer(
    stage,
    "publishing",
    "end",
    ...stage.mqttArgs(),
    TOPIC,
    `${PAYLOAD_BYTES}`,
  );
  const qos0 = publishRequest(TOPIC, 0);
  const qos1 = publishRequest(TOPIC, 1);
  const kind = bench.short ? "short" : "full";
  const calls = CALLS[kind];
  const servers = {
    "bare": { ...bare, publishes: false, request: qos0, calls },
    "bare, closed by the client": { ...kept, publishes: false, request: qos0, calls },
    "the same and MQTT.js": { ...publishing, publishes: true, request: qos0, calls },
    "QoS 0": { ...memory, publishes: true, request: qos0, calls },
    "QoS 1, memory": { ...memory, publishes: true, request: qos1, calls },
    "QoS 1, disk": { ...disk, publishes: true, request: qos1, calls: DISK_CALLS[kind] },
  };
  for (const processes of [1, 4]) await load(bench, stage, processes, servers);
}

async function load(
  bench: Bench,
  stage: Stage,
  processes: number,
  servers: Readonly<Record<string, Server>>,
): Promise<void> {
  bench.progress(`${processes} client processes`);
  const warm = !bench.short;
  const sides = Object.entries(servers).map(([name, server]) =>
    [name, () => measured(stage, server, processes)] as const
  );
  const figures = await rounds({ runs: bench.runs, warm }, Object.fromEntries(sides));
  const all = Object.entries(servers);
  const each = all.reduce((sum, [, { calls, publishes }]) => sum + (publishes ? calls : 0), 0);
  await stage.expectPublished(each * (bench.runs + (warm ? 1 : 0)));
  for (const [name] of all) if (name !== "bare") addRows(bench, name, processes, figures);
}

function addRows(
  bench: Bench,
  name: string,
  processes: number,
  figures: Readonly<Record<string, readonly Figures[]>>,
): void {
  const of = (key: keyof Figures) => ({
    family: "publish per call",
    ours: figures[name]!.map((one) => one[key]),
    baseline: figures["bare"]!.map((one) => one[key]),
    baselineIs: "a bare Unix server",
  });
  const what = `${name}, ${processes} client${processes > 1 ? "s" : ""}`;
  const goal = name === "QoS 0" && processes === 4 ? { goal: { atMost: 1.35 } } : {};
  bench.add(row({ ...of("callsPerSecond"), what, unit: "calls/s" }));
  // The kernel counts in ticks of 10 ms: too coarse for a short run.
  if (!bench.short) {
    bench.add(row({ ...of("cpuMicros"), what: `${what}, CPU per call`, unit: "µs", ...goal }));
  }
  bench.add(row({ ...of("p50"), what: `${what}, p50`, unit: "µs" }));
  bench.add(row({ ...of("p99"), what: `${what}, p99`, unit: "µs" }));
}

async function measured(
  stage: Stage,
  { socket, pid, request, settle, calls }: Server,
  processes: number,
): Promise<Figures> {
  const before = cpuSeconds(pid);
  const each = calls / processes;
  const run: Run = await stage.clients.call(socket, request, NULL_ANSWER, processes, each);
  await settle();
  const cpu = cpuSeconds(pid) - before;
  return {
    callsPerSecond: run.ns.length / run.seconds,
    cpuMicros: cpu * 1e6 / run.ns.length,
    p50: percentile(run.ns, 0.5) / 1e3,
    p99: percentile(run.ns, 0.99) / 1e3,
  };
}

/** A {@linkcode Server} without a daemon. */
async function bareServer(
  { dir }: Stage,
  name: string,
  ...args: readonly string[]
): Promise<Omit<Server, "request" | "calls" | "publishes"> & AsyncDisposable> {
  const socket = `${dir}/${name}`;
  const helper = await Helper.start("bare_server.ts", socket, NULL_ANSWER.toHex(), ...args);
  return {
    socket,
    pid: helper.pid,
    settle: () => Promise.resolve(),
    [Symbol.asyncDispose]: () => helper[Symbol.asyncDispose](),
  };
}
