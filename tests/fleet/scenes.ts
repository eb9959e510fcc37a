import type { Figures, Scene } from "./fleet.ts";

/** A figure beside its goal. */
export interface Row {
  readonly scene: string;
  readonly figure: string;
  readonly seen: number;
  /** `atMost`: met when it is not more. */
  readonly goal: { readonly atMost: number } | { readonly atLeast: number };
}

/** The devices of the fleets that the scenes stand for: what is simulated is in proportion. */
const STORM_DEVICES = 100_000;
const POWER_DEVICES = 1_000_000;

/** What an account may do in a second ("AWS IoT Core quotas", larger regions). */
const CONNECTS = 500;
const PUBLISHES = 20_000;

/** 100,000 devices with 1,000 messages each come back after an outage of an hour. */
export function storm(devices: number, over: Scene["over"]): Scene {
  return {
    devices,
    quota: {
      connects: Math.round(CONNECTS * devices / STORM_DEVICES),
      publishes: Math.round(PUBLISHES * devices / STORM_DEVICES),
    },
    over,
    backlog: 1_000,
    liveEveryMs: 1_000_000,
    outageMs: 3_600_000,
    untilMs: 20_000_000,
    roundTripMs: 100,
    seed: 21,
  };
}

/** 1,000,000 devices get their power back at the same moment. */
export function power(devices: number): Scene {
  const connects = Math.round(CONNECTS * devices / POWER_DEVICES);
  return {
    ...storm(devices, "silence"),
    quota: { connects, publishes: PUBLISHES },
    backlog: 0,
    liveEveryMs: Infinity,
    outageMs: 0,
  };
}

/** One device alone with an account of 20 messages a second, for 7 minutes. */
export function alone(over: Scene["over"]): Scene {
  return {
    ...storm(1, over),
    quota: { connects: CONNECTS, publishes: 20 },
    backlog: 1_000_000,
    liveEveryMs: Infinity,
    outageMs: 0,
    untilMs: 420_000,
    roundTripMs: 50,
  };
}

/** One device whose 300 messages are each acknowledged after 65 s. */
export function slow(): Scene {
  return { ...alone("silence"), backlog: 300, untilMs: 3_600_000, roundTripMs: 65_000 };
}

/** One device alone with a healthy account. */
export function healthy(): Scene {
  return {
    ...alone("silence"),
    quota: { connects: CONNECTS, publishes: PUBLISHES },
    backlog: 1_000,
  };
}

/** Plays a scene. */
type Play = (scene: Scene) => Figures | Promise<Figures>;

/** Plays the scenes with a fleet of `devices`, a multiple of 200 for the quotas to be whole numbers, and gives their rows. */
export async function* rows(devices: number, play: Play): AsyncGenerator<Row> {
  const storms = (["silence", "0x97"] as const).map(async (over) => ({
    over,
    seen: await play(storm(devices, over)),
  }));
  for (const each of storms) {
    const { over, seen } = await each;
    yield* stormRows(over === "silence" ? "silent loss" : over, seen);
  }
  const scene = "power comes back";
  const { refused } = await play(power(Math.max(2_000, devices)));
  yield { scene, figure: "refused CONNECTs a device", seen: refused, goal: { atMost: 6 } };
  for (const over of ["silence", "0x97"] as const) {
    yield* aloneRows(alone(over), await play(alone(over)));
  }
  yield* slowRows(await play(slow()));
  const { drainedS } = await play(healthy());
  const figure = "1,000 messages drained, s";
  yield { scene: "healthy account", figure, seen: drainedS, goal: { atMost: 12 } };
}

function* slowRows({ taken, sends }: Figures): Generator<Row> {
  const scene = "PUBACK after 65 s";
  const figure = "messages of 300 that are acknowledged";
  yield { scene, figure, seen: taken, goal: { atLeast: 300 } };
  yield { scene, figure: "duplicates", seen: sends - 300, goal: { atMost: 300 } };
}

function* stormRows(scene: string, seen: Figures): Generator<Row> {
  const row = (figure: string, value: number, goal: Row["goal"]): Row => ({
    scene,
    figure,
    seen: value,
    goal,
  });
  const { refused, renewed, leastConnected } = seen;
  yield row("refused CONNECTs and reconnects a device", refused + renewed, { atMost: 5 });
  yield row("least share connected, %", leastConnected * 100, { atLeast: 95 });
  yield row("sends per message taken", seen.sends / seen.taken, { atMost: 1.2 });
  yield row("drained, 99 % of devices, s", seen.drainedS, { atMost: 5_600 });
  yield row("live messages while draining, p50, s", seen.liveP50S, { atMost: 2_505 });
  yield row("live messages while draining, p99, s", seen.liveP99S, { atMost: 4_960 });
}

function* aloneRows({ over, quota, untilMs }: Scene, { taken, sends }: Figures): Generator<Row> {
  const scene = `one device, account of ${quota.publishes}/s, ${over}`;
  const share = taken / (quota.publishes * untilMs / 1_000) * 100;
  yield { scene, figure: "share of what it takes, %", seen: share, goal: { atLeast: 85 } };
  yield { scene, figure: "sends per message taken", seen: sends / taken, goal: { atMost: 1.2 } };
}

/** Whether a row's goal is met. */
export function isMet({ seen, goal }: Row): boolean {
  return "atMost" in goal ? seen <= goal.atMost : seen >= goal.atLeast;
}
