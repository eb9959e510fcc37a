import { connectBus } from "../../src/bus/client.ts";
import { connected, publishParams } from "../support/daemon.ts";
import { NULL_ANSWER, PAYLOAD, publishRequest } from "./support/frames.ts";
import { percentile, rounds } from "./support/measure.ts";
import { cpuSeconds } from "./support/proc.ts";
import { type Bench, type Row, row } from "./support/report.ts";
import { type Daemon, openStage, type Stage } from "./support/stage.ts";

const TOPIC = "bench/device/telemetry";

/** What a sync of an SD card or a busy eMMC takes, in ms. */
const SYNC_MS = 100;

const PUBLISHERS = 4;
const PIPELINED = 200;

/** How often a device publishes in the count of bytes and syncs, in ms. */
const PERIOD_MS = 50;

const ROOM = ["--spool-max-bytes", "268435456"];

/** A daemon whose syncs are counted. */
interface Counted {
  readonly daemon: Daemon;
  syncs(): number;
}

/** What the disk of a device costs: syncs that take 100 ms (`slow_sync.c`), and how many bytes and syncs a message takes. */
export async function device(bench: Bench): Promise<void> {
  await using stack = new AsyncDisposableStack();
  const stage = stack.use(await openStage());
  const library = `${stage.dir}/slow_sync.so`;
  const source = new URL("slow_sync.c", import.meta.url).pathname;
  const args = ["-O2", "-shared", "-fPIC", "-o", library, source, "-ldl"];
  const { success, stderr } = await new Deno.Command("cc", { args }).output();
  if (!success) throw new Error(`cc: ${new TextDecoder().decode(stderr)}`);
  const start = async (id: string, ms: number): Promise<Counted> => {
    const count = `${stage.dir}/${id}.syncs`;
    const env = { LD_PRELOAD: library, SLOW_SYNC_MS: `${ms}`, SLOW_SYNC_COUNT: count };
    const spool = ["--spool", `${stage.dir}/${id}-spool`, ...ROOM];
    const daemon = stack.use(await stage.daemonWith({ env }, id, ...spool));
    return { daemon, syncs: () => Deno.statSync(count).size };
  };
  const slow = await start("slow", SYNC_MS);
  const fast = await start("fast", 0);
  const memory = stack.use(await stage.daemon("memory", ...ROOM));
  await beside(bench, slow.daemon);
  await answers(bench, slow.daemon);
  await pipelined(bench, slow.daemon);
  await written(bench, fast);
  await cpu(bench, stage, fast.daemon, memory);
}

function add(bench: Bench, figure: Omit<Row, "family" | "ratio">): void {
  bench.add({ family: "device", ratio: figure.ours / figure.baseline, ...figure });
}

/** Milliseconds of each publish at QoS 0, one by one. */
async function publishes(socket: string, count: number): Promise<number[]> {
  await using client = await connected(socket);
  const params = publishParams({ topic: TOPIC, payload: PAYLOAD, qos: 0 });
  const ms: number[] = [];
  for (let n = 0; n < count; n++) {
    const started = performance.now();
    await client.call("publish", params);
    ms.push(performance.now() - started);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  return ms;
}

/** Four clients that publish at QoS 1, each after its answer, while `run` runs; how many were answered. */
async function amongPublishers(socket: string, run: () => Promise<void>): Promise<number> {
  let isOver = false;
  let answered = 0;
  const params = publishParams({ topic: TOPIC, payload: PAYLOAD, qos: 1 });
  const all = Array.from({ length: PUBLISHERS }, async () => {
    await using client = await connected(socket);
    for (; !isOver; answered++) await client.call("publish", params);
  });
  await run();
  const before = answered;
  isOver = true;
  await Promise.all(all);
  return before;
}

async function beside(bench: Bench, { socket, settle }: Daemon): Promise<void> {
  bench.progress("QoS 0 beside QoS 1");
  const count = bench.short ? 50 : 1_000;
  const p99 = (ms: readonly number[]): number => percentile(Float64Array.from(ms).sort(), 0.99);
  const alone = p99(await publishes(socket, count));
  let among = 0;
  await amongPublishers(socket, async () => void (among = p99(await publishes(socket, count))));
  await settle();
  add(bench, {
    what: `QoS 0 beside ${PUBLISHERS} publishers of QoS 1, 99th percentile`,
    unit: "ms",
    ours: among,
    baseline: alone,
    baselineIs: "the same alone",
    goal: { text: "at most 10 ms more", met: among - alone <= 10 },
  });
}

async function answers(bench: Bench, { socket, settle }: Daemon): Promise<void> {
  bench.progress("answers");
  const seconds = bench.short ? 2 : 10;
  const answered = await amongPublishers(
    socket,
    () => new Promise((resolve) => setTimeout(resolve, seconds * 1_000)),
  );
  await settle();
  add(bench, {
    what: `QoS 1, ${PUBLISHERS} publishers, each after its answer`,
    unit: "answers/s",
    ours: answered / seconds,
    baseline: PUBLISHERS * 1_000 / SYNC_MS,
    baselineIs: "each has a sync",
    goal: { text: "≥ 25", met: answered / seconds >= 25 },
  });
}

async function pipelined(bench: Bench, { socket, settle }: Daemon): Promise<void> {
  bench.progress("pipelined");
  const client = await connectBus(socket);
  const params = publishParams({ topic: TOPIC, payload: PAYLOAD, qos: 1 });
  const started = performance.now();
  await Promise.all(Array.from({ length: PIPELINED }, () => client.call("publish", params)));
  const ms = performance.now() - started;
  client.close();
  await settle();
  add(bench, {
    what: `QoS 1, ${PIPELINED} pipelined, until all are answered`,
    unit: "ms",
    ours: ms,
    baseline: SYNC_MS,
    baselineIs: "a sync",
    goal: { text: "≤ 450 ms", met: ms <= 450 },
  });
}

/** Bytes that a process had written to a disk so far. */
function bytesWritten(pid: number): number {
  return Number(/^write_bytes: (\d+)$/m.exec(Deno.readTextFileSync(`/proc/${pid}/io`))![1]);
}

async function written(bench: Bench, { daemon, syncs }: Counted): Promise<void> {
  bench.progress("bytes and syncs");
  const count = bench.short ? 20 : 400;
  await using client = await connected(daemon.socket);
  const params = publishParams({ topic: TOPIC, payload: PAYLOAD, qos: 1 });
  await client.call("publish", params);
  await daemon.settle();
  const [bytes, synced] = [bytesWritten(daemon.pid), syncs()];
  for (let n = 0; n < count; n++) {
    await client.call("publish", params);
    await new Promise((resolve) => setTimeout(resolve, PERIOD_MS));
  }
  await daemon.settle();
  const perMessage = (bytesWritten(daemon.pid) - bytes) / count;
  const syncsPerMessage = (syncs() - synced) / count;
  const what = `a message of ${PAYLOAD.length} bytes, 20 a second, with its removal`;
  const baseline = { baseline: 4_096, baselineIs: "a page" };
  add(bench, {
    ...{ what: `${what}: written`, unit: "bytes", ours: perMessage, ...baseline },
    goal: { text: "≤ 4,600", met: perMessage <= 4_600 },
  });
  add(bench, {
    ...{ what: `${what}: syncs`, unit: "syncs", ours: syncsPerMessage },
    ...{ baseline: 1, baselineIs: "one each" },
    goal: { text: "≤ 1.1", met: syncsPerMessage <= 1.1 },
  });
}

async function cpu(bench: Bench, stage: Stage, disk: Daemon, memory: Daemon): Promise<void> {
  bench.progress("CPU per call");
  const calls = bench.short ? 100 : 3_000;
  const request = publishRequest(TOPIC, 1);
  const measured = async (daemon: Daemon): Promise<number> => {
    const before = cpuSeconds(daemon.pid);
    await stage.clients.call(daemon.socket, request, NULL_ANSWER, PUBLISHERS, calls);
    await daemon.settle();
    return (cpuSeconds(daemon.pid) - before) * 1e6 / (PUBLISHERS * calls);
  };
  const figures = await rounds({ runs: bench.runs, warm: !bench.short }, {
    disk: () => measured(disk),
    memory: () => measured(memory),
  });
  bench.add(row({
    family: "device",
    what: `QoS 1, disk, ${PUBLISHERS} clients, a connection per call, CPU per call`,
    unit: "µs",
    ours: figures.disk,
    baseline: figures.memory,
    baselineIs: "the same with the memory spool",
    goal: { atMost: 1.5 },
  }));
}
