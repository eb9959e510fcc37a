import { type AwsIotCore, type Behaviour, startAwsIotCore } from "../support/aws_iot_core.ts";
import { publishParams } from "../support/daemon.ts";
import { connected, startTestDaemon, type TestDaemon, untilConnected } from "../support/daemon.ts";
import { fastClock } from "../support/fast_clock.ts";
import { waitFor } from "../support/wait.ts";
import type { Row } from "./scenes.ts";

/** How long it takes in all, at most, in ms. */
const DEADLINE_MS = 600_000;

/** Messages that a client hands over at once. */
const BATCH = 500;

/** A daemon, a broker and what passed between them. */
interface Stage extends AsyncDisposable {
  readonly core: AwsIotCore;
  readonly daemon: TestDaemon;
}

/** Starts a daemon whose clock is so many times as fast, against a broker with that behaviour. */
async function stage(times: number, behaviour: Partial<Behaviour>): Promise<Stage> {
  await using stack = new AsyncDisposableStack();
  const core = stack.use(
    await startAwsIotCore({
      behaviour: { connectSpacingMs: 0, publishesPerSecond: 100 * times, ...behaviour },
    }),
  );
  const daemon = stack.use(await startTestDaemon(core, { clock: fastClock(times) }));
  await untilConnected(daemon.socket);
  const kept = stack.move();
  return { core, daemon, [Symbol.asyncDispose]: () => kept.disposeAsync() };
}

/** Has messages 0 to `count` - 1 accepted, at QoS 1. */
export async function fill({ daemon }: Stage, count: number): Promise<void> {
  await using client = await connected(daemon.socket);
  for (let from = 0; from < count; from += BATCH) {
    const batch = Array.from({ length: Math.min(BATCH, count - from) }, (_, index) => {
      const message = { topic: "fleet/device", payload: `${from + index}`, qos: 1 } as const;
      return client.call("publish", publishParams(message));
    });
    await Promise.all(batch);
  }
}

/** How many different messages the broker has. */
function taken({ core }: Stage): number {
  return new Set(core.published.map(({ payload }) => new TextDecoder().decode(payload))).size;
}

/** What a daemon that is alone with a small account did. */
export interface AloneFigures {
  /** Different messages that the account has, and PUBLISH packets that it got. */
  readonly taken: number;
  readonly sends: number;
  readonly renewals: number;
  /** Lines of the log that are not for debugging. */
  readonly lines: readonly string[];
}

/** A daemon alone with an account of `perSecond` messages a second, for `ms`; both by the daemon's clock. */
export async function playAlone(
  times: number,
  over: "silence" | "0x97",
  perSecond: number,
  ms: number,
): Promise<AloneFigures> {
  const account = { publishes: perSecond, windowMs: 1_000 / times, over };
  await using scene = await stage(times, { account });
  const from = performance.now();
  const linesBefore = scene.daemon.log.lines.length;
  await fill(scene, Math.ceil(perSecond * ms / 1_000) + 1_000);
  await waitFor("the time", () => performance.now() - from >= ms / times, DEADLINE_MS);
  return {
    taken: taken(scene),
    sends: scene.core.received("publish").length,
    renewals: scene.core.accepted.length - 1,
    lines: scene.daemon.log.lines.slice(linesBefore).filter(({ level }) => level !== "debug")
      .map(({ text }) => text),
  };
}

/** 300 messages whose PUBACKs take 65 s by the daemon's clock. */
export async function playSlow(
  times: number,
): Promise<{ readonly acknowledged: number; readonly sends: number; readonly renewals: number }> {
  await using scene = await stage(times, { ackPublish: 65_000 / times });
  await fill(scene, 300);
  const { core } = scene;
  const answers = (): number => core.sent("puback").length;
  await waitFor("300 PUBACKs", () => taken(scene) === 300 && answers() >= 300, DEADLINE_MS);
  return {
    acknowledged: taken(scene),
    sends: core.received("publish").length,
    renewals: core.accepted.length - 1,
  };
}

/** How long a healthy account takes for 1,000 messages, in seconds. */
export async function playHealthy(): Promise<number> {
  await using scene = await stage(1, {});
  const from = performance.now();
  await fill(scene, 1_000);
  await waitFor("1,000 messages", () => scene.core.published.length >= 1_000, DEADLINE_MS);
  return (performance.now() - from) / 1_000;
}

/** Plays what one daemon does against the scripted broker, with clocks that are so many times as fast, and gives the rows. */
export async function* realRows(times: number): AsyncGenerator<Row> {
  const ms = 420_000;
  for (const over of ["silence", "0x97"] as const) {
    const scene = `one daemon, account of 20/s, ${over}`;
    const seen = await playAlone(times, over, 20, ms);
    const share = seen.taken / (20 * ms / 1_000) * 100;
    const row = (figure: string, value: number, goal: Row["goal"]): Row => ({
      scene,
      figure,
      seen: value,
      goal,
    });
    // Turned away at once, the daemon probes more often than when it has to wait for what is missing.
    yield row("share of what it takes, %", share, { atLeast: over === "silence" ? 85 : 80 });
    yield row("sends per message taken", seen.sends / seen.taken, { atMost: 1.2 });
    yield row("log lines a minute", seen.lines.length / (ms / 60_000), { atMost: 2 });
  }
  const late = await playSlow(times);
  const scene = "PUBACK after 65 s";
  const figure = "messages of 300 that are acknowledged";
  yield { scene, figure, seen: late.acknowledged, goal: { atLeast: 300 } };
  yield { scene, figure: "duplicates", seen: late.sends - 300, goal: { atMost: 300 } };
  const drained = await playHealthy();
  const healthy = "one daemon, healthy account";
  yield {
    scene: healthy,
    figure: "1,000 messages drained, s",
    seen: drained,
    goal: { atMost: 12 },
  };
}
