import { NULL_ANSWER, PAYLOAD_BYTES, publishRequest } from "./support/frames.ts";
import { Helper } from "./support/helper.ts";
import { rounds } from "./support/measure.ts";
import { cpuSeconds } from "./support/proc.ts";
import { type Bench, row } from "./support/report.ts";
import { type Daemon, openStage, type Stage } from "./support/stage.ts";

const TOPIC = "bench/device/telemetry";

/** Calls under way when they are pipelined: as many as the broker may have in flight. */
const WINDOW = 100;

const ROOM = ["--spool-max-bytes", "268435456"];

interface Figures {
  readonly callsPerSecond: number;
  readonly cpuMicros: number;
}

interface Case {
  readonly name: string;
  readonly daemon: Daemon;
  readonly qos: 0 | 1;
  readonly window: number;
  readonly calls: number;
}

/** Publishing over one connection that is kept, each call after the answer to the one before, or pipelined. */
export async function publishKept(bench: Bench): Promise<void> {
  await using stage = await openStage();
  await using memory = await stage.daemon("memory", ...ROOM);
  await using disk = await stage.daemon("disk", "--spool", `${stage.dir}/spool`, ...ROOM);
  const calls = bench.short ? 400 : 30_000;
  const some = bench.short ? 200 : 6_000;
  const toDisk = bench.short ? 100 : 10_000;
  const cases: readonly Case[] = [
    { name: "QoS 0, pipelined", daemon: memory, qos: 0, window: WINDOW, calls },
    { name: "QoS 0, one by one", daemon: memory, qos: 0, window: 1, calls: some },
    { name: "QoS 1, memory, pipelined", daemon: memory, qos: 1, window: WINDOW, calls },
    { name: "QoS 1, memory, one by one", daemon: memory, qos: 1, window: 1, calls: some },
    { name: "QoS 1, disk, pipelined", daemon: disk, qos: 1, window: WINDOW, calls: toDisk },
    { name: "QoS 1, disk, one by one", daemon: disk, qos: 1, window: 1, calls: toDisk / 10 },
  ];
  for (const one of cases) {
    bench.progress(one.name);
    await compare(bench, stage, one);
  }
  await compareToCalls(bench, stage, memory);
}

async function compare(bench: Bench, stage: Stage, one: Case): Promise<void> {
  const { name, qos, calls, window } = one;
  await using alone = await Helper.start(
    "mqtt_alone.ts",
    ...[...stage.mqttArgs(), "publish", TOPIC, `${PAYLOAD_BYTES}`, `${qos}`, `${window}`],
  );
  const options = { runs: bench.runs, warm: !bench.short };
  const figures = await rounds<"alone" | "ours", Figures>(options, {
    alone: async () => {
      const before = cpuSeconds(alone.pid);
      const seconds = Number(await alone.ask(`${calls}`));
      const cpu = cpuSeconds(alone.pid) - before;
      return { callsPerSecond: calls / seconds, cpuMicros: cpu * 1e6 / calls };
    },
    ours: () => measured(stage, one),
  });
  await stage.expectPublished(2 * calls * (options.runs + (options.warm ? 1 : 0)));
  const of = (key: keyof Figures) => ({
    family: "publish, kept connection",
    ours: figures.ours.map((each) => each[key]),
    baseline: figures.alone.map((each) => each[key]),
    baselineIs: "MQTT.js publishing alone",
  });
  bench.add(row({ ...of("callsPerSecond"), what: name, unit: "calls/s" }));
  // The kernel counts in ticks of 10 ms: too coarse for a short run.
  if (bench.short) return;
  bench.add(row({ ...of("cpuMicros"), what: `${name}, CPU per call`, unit: "µs" }));
}

/** What keeping the connection gains, on the same daemon in the same rounds. */
async function compareToCalls(bench: Bench, stage: Stage, daemon: Daemon): Promise<void> {
  bench.progress("kept against per call");
  const calls = bench.short ? 400 : 30_000;
  const perCall = bench.short ? 200 : 12_000;
  const request = publishRequest(TOPIC, 0);
  const options = { runs: bench.runs, warm: !bench.short };
  const figures = await rounds(options, {
    perCall: async () => {
      const run = await stage.clients.call(daemon.socket, request, NULL_ANSWER, 1, perCall);
      await daemon.settle();
      return run.ns.length / run.seconds;
    },
    kept: async () =>
      (await measured(stage, { name: "", daemon, qos: 0, window: WINDOW, calls })).callsPerSecond,
  });
  await stage.expectPublished((calls + perCall) * (options.runs + (options.warm ? 1 : 0)));
  bench.add(row({
    family: "publish, kept connection",
    what: "QoS 0, pipelined",
    unit: "calls/s",
    ours: figures.kept,
    baseline: figures.perCall,
    baselineIs: "the daemon, a connection per call, 1 client",
    goal: { atLeast: 5 },
  }));
}

async function measured(
  stage: Stage,
  { daemon, qos, window, calls }: Case,
): Promise<Figures> {
  const before = cpuSeconds(daemon.pid);
  const request = publishRequest(TOPIC, qos);
  const run = await stage.clients.kept(daemon.socket, request, NULL_ANSWER, calls, window);
  await daemon.settle();
  const cpu = cpuSeconds(daemon.pid) - before;
  return { callsPerSecond: calls / run.seconds, cpuMicros: cpu * 1e6 / calls };
}
