import { importMapFlags } from "../../src/build/deno.ts";
import { type Bundled, connected, prepareBundled, withChild } from "./support/bundled.ts";
import { rounds } from "./support/measure.ts";
import { type Memory, memoryOf } from "./support/proc.ts";
import { type Bench, row } from "./support/report.ts";

const HERE = new URL(".", import.meta.url).pathname;
const MB = 1_000_000;

/** How long a process is left alone before it is looked at, so that what it did at its start is over, in ms. */
const REST_MS = 2_000;

/** What the kinds of memory may be at most, over those of an idle Deno. */
const GOALS = { resident: 1.8, private: 2.2, proportional: undefined } as const;

/** Memory of the connected program, run from its bundle, beside an idle Deno and one with MQTT.js connected. */
export async function footprint(bench: Bench): Promise<void> {
  await using bundled = await prepareBundled();
  const restMs = bench.short ? 100 : REST_MS;
  const idle = [Deno.execPath(), "run", "-q", "--no-config", `${HERE}support/idle.ts`];
  const figures = await rounds({ runs: bench.runs, warm: true }, {
    idle: () => withChild(idle, (pid) => rested(pid, restMs)),
    alone: async () => await memoryConnected(bundled, await mqttAlone(bundled), restMs),
    ours: () => memoryConnected(bundled, bundled.command, restMs),
  });
  for (const kind of ["resident", "private", "proportional"] as const) {
    const of = (all: readonly Memory[]): number[] => all.map((memory) => memory[kind] / MB);
    const goal = GOALS[kind];
    const common = { family: "memory", unit: "MB", baseline: of(figures.idle) };
    bench.add(row({
      ...common,
      ...{ what: `connected, ${kind}`, ours: of(figures.ours), baselineIs: "an idle Deno" },
      ...goal === undefined ? {} : { goal: { atMost: goal } },
    }));
    bench.add(row({
      ...common,
      ...{ what: `MQTT.js alone, connected, ${kind}`, ours: of(figures.alone) },
      baselineIs: "an idle Deno",
    }));
  }
}

/** The memory of a command that connects to the broker, some time after it has. */
export function memoryConnected(
  { core }: Bundled,
  command: readonly string[],
  restMs: number,
): Promise<Memory> {
  return withChild(command, async (pid) => {
    await connected(core);
    return await rested(pid, restMs);
  }).finally(() => core.dropLinks());
}

async function mqttAlone({ core, files }: Bundled): Promise<string[]> {
  return [
    ...[Deno.execPath(), "run", "-q", "-A", ...await importMapFlags()],
    ...[`${HERE}support/mqtt_alone.ts`, `mqtts://${core.host}:${core.port}`],
    ...[files.rootca, files.cert, files.key, "connect"],
  ];
}

async function rested(pid: number, ms: number): Promise<Memory> {
  await new Promise((resolve) => setTimeout(resolve, ms));
  return memoryOf(pid);
}
