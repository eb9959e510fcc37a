import { importMapFlags } from "../../src/build/deno.ts";
import { type AwsIotCore, startAwsIotCore } from "../support/aws_iot_core.ts";
import { writePki } from "../support/pki.ts";
import { programCommand, programEnv } from "../support/program.ts";
import { tempDir } from "../support/temp.ts";
import { waitFor } from "../support/wait.ts";
import { rounds } from "./support/measure.ts";
import { type Bench, row } from "./support/report.ts";

const HERE = new URL(".", import.meta.url).pathname;

/** The goal of issue 9, in ms. */
const GOAL_MS = 400;

/** From the start of the process to CONNECT at the broker, with a warm cache. */
export async function start(bench: Bench): Promise<void> {
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
