import { utf8 } from "../../src/base/bytes.ts";
import { subscribe, type Subscription } from "../../src/bus/client.ts";
import type { Value } from "../../src/wire/object.ts";
import { footprint } from "./footprint.ts";
import { NULL_ANSWER, publishRequest } from "./support/frames.ts";
import { fill } from "./support/fill.ts";
import { Helper } from "./support/helper.ts";
import { type Memory, memoryOf } from "./support/proc.ts";
import { type Bench, row } from "./support/report.ts";
import { type Daemon, openStage, type Stage } from "./support/stage.ts";

const MB = 1_000_000;

/** Goals. */
const CONNECTED_MB = 75;
const GROWTH_MB = 32;

/** How long a process is left alone before it is looked at, so that what it did at its start is over, in ms. */
const REST_MS = 2_000;

const SUBSCRIBERS = 100;

/** Memory of the daemon: idle, and under each kind of load. */
export async function memory(bench: Bench): Promise<void> {
  await footprint(bench);
  await using stage = await openStage();
  await using alone = await Helper.start("mqtt_alone.ts", ...stage.mqttArgs(), "connect");
  await rest(bench);
  const baseline = memoryOf(alone.pid);
  await idle(bench, stage, baseline);
  await loaded(
    bench,
    baseline,
    "100 subscribers",
    await stage.daemon("subscribers"),
    withSubscribers,
  );
  for (const kind of ["memory", "disk"]) {
    const args = kind === "disk" ? ["--spool", `${stage.dir}/full`] : [];
    const daemon = await stage.daemon(`full-${kind}`, ...args);
    await loaded(
      bench,
      baseline,
      `a full spool (${kind})`,
      daemon,
      () => withFullSpool(stage, daemon),
    );
  }
  for (const qos of [0, 1] as const) {
    const daemon = await stage.daemon(`flood-${qos}`);
    const what = `a flood of QoS ${qos} for ${bench.floodSeconds} s`;
    await loaded(bench, baseline, what, daemon, () => flood(bench, stage, daemon, qos));
  }
}

async function rest(bench: Bench): Promise<void> {
  await new Promise((resolve) => setTimeout(resolve, bench.short ? 100 : REST_MS));
}

/** Before and after the connection stands. */
async function idle(bench: Bench, stage: Stage, baseline: Memory): Promise<void> {
  await using daemon = await stage.daemon("idle");
  await rest(bench);
  const connected = memoryOf(daemon.pid);
  bench.add({
    ...line("after connect", connected, baseline),
    goal: {
      text: `≤ ${CONNECTED_MB} MB`,
      met: connected.resident <= CONNECTED_MB * MB,
    },
  });
  bench.add({
    ...line("after connect, without files", connected, baseline),
    ours: connected.anonymous / MB,
    baseline: baseline.anonymous / MB,
    ratio: connected.anonymous / baseline.anonymous,
  });
}

/** Looks at a daemon before and after a load, and at the most that it ever had. */
async function loaded(
  bench: Bench,
  baseline: Memory,
  what: string,
  daemon: Daemon,
  load: (daemon: Daemon) => Promise<() => void | Promise<void>>,
): Promise<void> {
  bench.progress(what);
  await using _ = daemon;
  await rest(bench);
  const before = memoryOf(daemon.pid);
  const release = await load(daemon);
  await rest(bench);
  const after = memoryOf(daemon.pid);
  bench.add({
    ...line(`with ${what}`, after, baseline),
    goal: goalOf("growth", after.resident - before.resident),
  });
  bench.add({
    ...line(`with ${what}, at most`, after, baseline),
    ours: after.peak / MB,
    baseline: baseline.peak / MB,
    ratio: after.peak / baseline.peak,
    goal: goalOf("growth", after.peak - before.resident),
  });
  await release();
}

function line(what: string, ours: Memory, baseline: Memory) {
  return {
    ...row({
      family: "memory",
      what,
      unit: "MB",
      ours: [ours.resident / MB],
      baseline: [baseline.resident / MB],
      baselineIs: "an empty process with MQTT.js, connected",
    }),
  };
}

function goalOf(what: string, bytes: number): { text: string; met: boolean } {
  const grown = Math.round(bytes / MB);
  return { text: `${what} ${grown} MB ≤ ${GROWTH_MB} MB`, met: bytes <= GROWTH_MB * MB };
}

async function withSubscribers({ socket }: Daemon): Promise<() => void> {
  const all: Subscription[] = [];
  for (let i = 0; i < SUBSCRIBERS; i++) {
    const params = new Map<string, Value>([["topic_filter", utf8("bench/#")], ["qos", 0n]]);
    const subscription = subscribe(socket, "subscribe", params, () => {});
    all.push(subscription);
    await subscription.accepted;
  }
  return () => all.forEach((subscription) => subscription.close());
}

/** Publishes while the broker is away until nothing more is accepted; then everything has to reach it. */
async function withFullSpool(stage: Stage, daemon: Daemon): Promise<() => Promise<void>> {
  await stage.stopBroker();
  const accepted = await fill(daemon.socket, "bench/device/telemetry");
  return async () => {
    await stage.startBroker();
    // Asks for a connection now rather than after the backoff.
    daemon.program.signal("SIGHUP");
    await daemon.connected();
    await daemon.settle();
    await stage.expectPublished(accepted);
  };
}

async function flood(
  bench: Bench,
  stage: Stage,
  daemon: Daemon,
  qos: 0 | 1,
): Promise<() => void> {
  const request = publishRequest("bench/device/telemetry", qos);
  const end = performance.now() + bench.floodSeconds * 1_000;
  const calls = bench.short ? 500 : 5_000;
  let published = 0;
  while (performance.now() < end) {
    const [one, two] = await Promise.all([
      stage.clients.kept(daemon.socket, request, NULL_ANSWER, 2 * calls, 100),
      stage.clients.call(daemon.socket, request, NULL_ANSWER, 1, calls),
    ]);
    published += one.ns.length + two.ns.length;
  }
  await daemon.settle();
  await stage.expectPublished(published);
  return () => {};
}
