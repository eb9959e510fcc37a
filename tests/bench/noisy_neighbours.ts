import { utf8 } from "../../src/base/bytes.ts";
import { type BusConnection, connectBus, subscribe } from "../../src/bus/client.ts";
import { publishParams } from "../support/daemon.ts";
import { Helper } from "./support/helper.ts";
import { percentile, rounds } from "./support/measure.ts";
import { type Bench, row } from "./support/report.ts";
import { openStage, type Stage } from "./support/stage.ts";

const FLOOD_TOPIC = "bench/flood";

/** Messages of the flood in a second. */
const FLOOD_PER_SECOND = 1_000;

/** The 99th percentile of a publish among bad company has to stay below, in ms. */
const MOST_MS = 50;

/** How long a client waits between two publishes, in ms: the figure is for a normal one. */
const PAUSE_MS = 5;

/**
 * How long a publish takes, until it is answered, beside 50 clients that write a byte now and then, 50 subscribers that never
 * read, 500 that say nothing, and a flood on the topic that those subscribed to; and on a daemon that has nothing else to do.
 */
export async function badCompany(bench: Bench): Promise<void> {
  await using stage = await openStage();
  await using quiet = await stage.daemon("quiet");
  await using busy = await stage.daemon("busy");
  const publishes = bench.short ? 50 : 1_000;
  for (const qos of [0, 1] as const) {
    bench.progress(`QoS ${qos}`);
    const { alone, among } = await rounds<"alone" | "among", number>(
      { runs: bench.runs, warm: false },
      {
        alone: () => slowest(quiet.socket, qos, publishes),
        among: () => amongCrowd(stage, busy.socket, qos, publishes),
      },
    );
    const figures = row({
      family: "bad-company",
      what: `publish at QoS ${qos}, one by one, 99th percentile`,
      unit: "ms",
      ours: among,
      baseline: alone,
      baselineIs: "a quiet daemon",
    });
    bench.add({
      ...figures,
      goal: { text: `under ${MOST_MS} ms`, met: figures.ours < MOST_MS },
    });
  }
}

async function amongCrowd(
  stage: Stage,
  socket: string,
  qos: 0 | 1,
  publishes: number,
): Promise<number> {
  await using _crowd = await Helper.start("../../support/crowd.ts", socket, FLOOD_TOPIC);
  const url = `mqtt://127.0.0.1:${stage.plainPort}`;
  let heard = 0;
  const params = new Map([["topic_filter", utf8(FLOOD_TOPIC)]]);
  const subscription = subscribe(socket, "subscribe", params, () => void heard++);
  await subscription.accepted;
  await using _flood = await Helper.start("flood.ts", url, FLOOD_TOPIC, `${FLOOD_PER_SECOND}`);
  const result = await slowest(socket, qos, publishes);
  subscription.close();
  await subscription.closed;
  if (heard < publishes) throw new Error(`The flood was none: ${heard} messages came`);
  return result;
}

/** The 99th percentile of so many publishes, in ms. */
async function slowest(socket: string, qos: 0 | 1, publishes: number): Promise<number> {
  const client = await connectBus(socket);
  try {
    const times = new Float64Array(publishes);
    for (let n = 0; n < publishes; n++) {
      times[n] = await timed(client, qos);
      await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
    }
    return percentile(times.sort(), 0.99);
  } finally {
    client.close();
    await client.closed;
  }
}

async function timed(client: BusConnection, qos: 0 | 1): Promise<number> {
  const params = publishParams({ topic: "bench/normal", payload: "21.5", qos });
  const started = performance.now();
  await client.call("publish", params);
  return performance.now() - started;
}
