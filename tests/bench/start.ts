import { importMapFlags } from "../../src/build/deno.ts";
import { type AwsIotCore, startAwsIotCore } from "../support/aws_iot_core.ts";
import { writePki } from "../support/pki.ts";
import { programCommand, programEnv } from "../support/program.ts";
import { tempDir } from "../support/temp.ts";
import { waitFor } from "../support/wait.ts";
import { prepareBundled, withChild } from "./support/bundled.ts";
import { NULL_ANSWER, publishRequest } from "./support/frames.ts";
import { rounds } from "./support/measure.ts";
import { type Bench, row } from "./support/report.ts";

const HERE = new URL(".", import.meta.url).pathname;

/** The goal, in ms. */
const GOAL_MS = 400;

/** Starting: to CONNECT at the broker from source, and to the first answers to clients from the bundle; with a warm cache. */
export async function start(bench: Bench): Promise<void> {
  await toFirstAnswers(bench);
  await using dir = await tempDir();
  await using core = await startAwsIotCore({ behaviour: { connectSpacingMs: 0 } });
  const { device, rootca, cert, key } = await writePki(dir.path, core.pki);
  core.register(device);
  const daemon = [
    ...await programCommand(),
    ...["--endpoint", `${core.host}:${core.port}`, "--id", "start", "--bus-dir", `${dir.path}/bus`],
    ...["--rootca", rootca, "--cert", cert, "--key", key],
  ];
  const alone = [
    ...[Deno.execPath(), "run", "-q", "-A", ...importMapFlags()],
    ...[`${HERE}support/mqtt_alone.ts`, `mqtts://${core.host}:${core.port}`, rootca, cert, key],
    "connect",
  ];
  // The first start of each fills the cache.
  const figures = await rounds({ runs: bench.short ? 1 : 2 * bench.runs, warm: true }, {
    alone: () => millisToConnect(core, alone),
    ours: () => millisToConnect(core, daemon),
  });
  const measured = row({
    family: "start",
    what: "to CONNECT, from source",
    unit: "ms",
    ours: figures.ours,
    baseline: figures.alone,
    baselineIs: "a script that connects with MQTT.js",
  });
  bench.add({ ...measured, goal: { text: `≤ ${GOAL_MS} ms`, met: measured.ours <= GOAL_MS } });
}

/** To the first connection of a client, and to the first QoS 1 message that is accepted. */
async function toFirstAnswers(bench: Bench): Promise<void> {
  await using bundled = await prepareBundled();
  const path = `${bundled.socket.slice(0, bundled.socket.lastIndexOf("/bus/"))}/bare`;
  const bare = [
    ...[Deno.execPath(), "run", "-q", "-A", "--no-config"],
    ...[`${HERE}support/bare_socket.ts`, path, NULL_ANSWER.toHex()],
  ];
  const figures = await rounds({ runs: bench.short ? 1 : 2 * bench.runs, warm: true }, {
    bare: () => millisToAnswers(bare, path),
    ours: () => millisToAnswers(bundled.command, bundled.socket),
  });
  for (const [what, atMost] of [["served", 4.2], ["accepted", 6.7]] as const) {
    bench.add(row({
      ...{ family: "start", unit: "ms", baselineIs: "a bare Unix server, connected to" },
      what: what === "served"
        ? "to the first client, bundle"
        : "to the first QoS 1 accepted, bundle",
      ours: figures.ours.map((figure) => figure[what]),
      baseline: figures.bare.map(({ served }) => served),
      goal: { atMost },
    }));
  }
}

/** Milliseconds from the start of a server until a client is connected, and until its publish is answered. */
async function millisToAnswers(
  command: readonly string[],
  path: string,
): Promise<{ served: number; accepted: number }> {
  // What an earlier round left behind.
  await Deno.remove(path).catch((error) => {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  });
  return await withChild(command, async (_pid, startedAt) => {
    const conn = await waitFor("the socket", () => connectTo(path), 30_000);
    const served = performance.now() - startedAt;
    await conn.write(publishRequest("bench/start", 1));
    await conn.read(new Uint8Array(1024));
    const accepted = performance.now() - startedAt;
    conn.close();
    return { served, accepted };
  });
}

async function connectTo(path: string): Promise<Deno.UnixConn | undefined> {
  try {
    return await Deno.connect({ transport: "unix", path });
  } catch (error) {
    const absent = error instanceof Deno.errors.NotFound ||
      error instanceof Deno.errors.ConnectionRefused;
    if (absent) return undefined;
    throw error;
  }
}

async function millisToConnect(core: AwsIotCore, command: readonly string[]): Promise<number> {
  core.clearRecords();
  const [program, ...args] = command;
  const started = performance.now();
  const child = new Deno.Command(program!, {
    args,
    clearEnv: true,
    env: programEnv(),
    stdin: "null",
    stdout: "null",
    stderr: "null",
  }).spawn();
  try {
    const connect = await waitFor("CONNECT to arrive", () => core.received("connect")[0], 30_000);
    return connect.at - started;
  } finally {
    child.kill("SIGKILL");
    await child.status;
  }
}
