import {
  ACCEPTED,
  connectPacket,
  messageFrame,
  publishPacket,
  subscribeRequest,
} from "./support/frames.ts";
import { Helper } from "./support/helper.ts";
import { rounds } from "./support/measure.ts";
import { cpuSeconds } from "./support/proc.ts";
import { type Bench, row } from "./support/report.ts";
import { openStage, type Stage } from "./support/stage.ts";

/** Messages on their way at most: enough to keep everyone busy, and far below the bound of a subscriber's queue. */
const WINDOW = 512;

/** Messages that go out of the daemon in one run, about. */
const OUT = { short: 2_000, full: 200_000 };

/** Messages that go into it in one run at most. */
const MOST_IN = 40_000;

/** Of the same length, so that the messages are the same but for whom they go to. */
const OURS = "bench/fan-out/ours";
const THEIRS = "bench/fan-out/them";

interface Figures {
  readonly outPerSecond: number;
  readonly cpuMicros: number;
}

/** Messages from the broker to local subscribers. */
export async function fanOut(bench: Bench): Promise<void> {
  await using stage = await openStage();
  await using daemon = await stage.daemon("fan");
  const theirs = `${stage.dir}/receiving`;
  await using alone = await Helper.start(
    "mqtt_alone.ts",
    ...stage.mqttArgs(),
    "receive",
    THEIRS,
    theirs,
  );
  for (const subscribers of [1, 10, 100]) {
    bench.progress(`${subscribers} subscribers`);
    const out = OUT[bench.short ? "short" : "full"];
    const count = Math.min(MOST_IN, out / subscribers);
    const figures = await rounds<"alone" | "ours", Figures>({
      runs: bench.runs,
      warm: !bench.short,
    }, {
      alone: () => measured(stage, alone.pid, theirs, THEIRS, 1, Math.min(MOST_IN, out)),
      ours: () => measured(stage, daemon.pid, daemon.socket, OURS, subscribers, count),
    });
    const of = (key: keyof Figures) => ({
      family: "fan-out",
      ours: figures.ours.map((each) => each[key]),
      baseline: figures.alone.map((each) => each[key]),
      baselineIs: "MQTT.js receiving alone",
    });
    const what = `${subscribers} subscriber${subscribers > 1 ? "s" : ""}`;
    const goal = subscribers === 1 ? { goal: { atLeast: 0.8 } } : {};
    bench.add(row({ ...of("outPerSecond"), what, unit: "messages out/s", ...goal }));
    // The kernel counts in ticks of 10 ms: too coarse for a short run.
    if (bench.short) continue;
    bench.add(row({ ...of("cpuMicros"), what: `${what}, CPU per message out`, unit: "µs" }));
  }
}

/** A run against the daemon, or against MQTT.js, which gives a byte to say that it listens and one for each message. */
async function measured(
  stage: Stage,
  pid: number,
  socket: string,
  topic: string,
  subscribers: number,
  count: number,
): Promise<Figures> {
  const alone = topic === THEIRS;
  const before = cpuSeconds(pid);
  const { seconds } = await stage.clients.fan({
    socket,
    request: alone ? new Uint8Array(0) : subscribeRequest(topic),
    accepted: alone ? new Uint8Array(1) : ACCEPTED,
    message: alone ? new Uint8Array([1]) : messageFrame(topic),
    ...{ count, window: WINDOW, subscribers, port: stage.plainPort },
    connect: connectPacket("bench-feeder"),
    publish: publishPacket(topic),
  });
  const out = count * subscribers;
  const cpu = cpuSeconds(pid) - before;
  return { outPerSecond: out / seconds, cpuMicros: cpu * 1e6 / out };
}
