/**
 * Scenes of a broker that closes the connection for one topic or filter, on the daemon inside this process: what they cost the others.
 * `deno task soak:poison` runs them at full length and prints the figures; `tests/integration/poison_test.ts` runs shorter ones.
 */

import { BusError } from "../../src/base/errors.ts";
import { readStatus } from "../../src/status/codec.ts";
import type { Status } from "../../src/status/types.ts";
import { type AwsIotCore, type Behaviour, startAwsIotCore } from "./aws_iot_core.ts";
import {
  connected,
  listenSoon,
  publish,
  startTestDaemon,
  type TestDaemon,
  untilConnected,
} from "./daemon.ts";
import { waitFor } from "./wait.ts";

/** How the broker closes: MQTT 5 with a reason or without one, and MQTT 3.1.1, which has none. */
export type Closing = "5 with a reason" | "5 without" | "3.1.1";

export const CLOSINGS: readonly Closing[] = ["5 with a reason", "5 without", "3.1.1"];

/** A daemon and a broker that closes for topics and filters that start with `forbidden`. */
class Scene implements AsyncDisposable {
  readonly #stack: AsyncDisposableStack;

  private constructor(
    stack: AsyncDisposableStack,
    readonly core: AwsIotCore,
    readonly daemon: TestDaemon,
  ) {
    this.#stack = stack;
  }

  static async open(closing: Closing, behaviour: Partial<Behaviour> = {}): Promise<Scene> {
    await using stack = new AsyncDisposableStack();
    const close = closing === "5 with a reason" ? { disconnect: 0x87 } : "close";
    const isForbidden = (name: string): boolean => name.startsWith("forbidden");
    const core = stack.use(
      await startAwsIotCore({
        behaviour: {
          refusePublish: (topic) => isForbidden(topic) ? close : undefined,
          refuseSubscribe: (filter) => isForbidden(filter) ? close : undefined,
          ...behaviour,
        },
      }),
    );
    const mqttVersion = closing === "3.1.1" ? "3.1.1" : "5";
    const daemon = stack.use(await startTestDaemon(core, { mqttVersion }));
    await untilConnected(daemon.socket);
    return new Scene(stack.move(), core, daemon);
  }

  get socket(): string {
    return this.daemon.socket;
  }

  async status(): Promise<Status> {
    await using client = await connected(this.socket);
    return readStatus(await client.call("status", new Map()));
  }

  /** How many messages whose payload starts so the broker took, repetitions left out. */
  arrived(prefix: string): number {
    const texts = this.core.published.map(({ payload }) => new TextDecoder().decode(payload));
    return new Set(texts.filter((text) => text.startsWith(prefix))).size;
  }

  /** Topics and filters that are refused or in quarantine though the broker takes them. */
  async innocents(): Promise<string[]> {
    const { spool, suspicion } = await this.status();
    const names = [
      ...spool.quarantined.map(({ topic }) => topic),
      ...suspicion.subjects.filter(({ state }) => state === "refused").map(({ name }) => name),
    ];
    return names.filter((name) => !name.startsWith("forbidden"));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync();
  }
}

/** The figures of a scene. */
export type Figures = Readonly<Record<string, number>>;

/** 600 QoS 0 messages to a forbidden topic at once, and 24 times 6 good ones of QoS 1 by another client. */
export async function flood(closing: Closing): Promise<Figures> {
  await using scene = await Scene.open(closing);
  const calls: Promise<unknown>[] = [];
  for (let n = 0; n < 600; n++) {
    calls.push(publishOr(scene.socket, { topic: "forbidden/flood", payload: `bad ${n}`, qos: 0 }));
  }
  const waits: number[] = [];
  for (let round = 0; round < 24; round++) {
    for (let n = 0; n < 6; n++) {
      const message = { topic: `good/${n}`, payload: `good ${round}/${n}`, qos: 1, ack: "broker" };
      const started = performance.now();
      calls.push(
        publishOr(scene.socket, message).then((code) =>
          waits.push(code === undefined ? performance.now() - started : Infinity)
        ),
      );
    }
    await pause(100);
  }
  await Promise.all(calls);
  return {
    innocents: (await scene.innocents()).length,
    acknowledged: waits.filter((ms) => ms < Infinity).length,
    slowestMs: Math.max(...waits),
    closes: scene.core.sent("connack").length - 1,
  };
}

/** A forbidden QoS 0 topic at 20 messages a second, while others publish 2.5 a second of each QoS. */
export async function steady(closing: Closing, seconds: number): Promise<Figures> {
  await using scene = await Scene.open(closing);
  const rounds = seconds * 2.5;
  await Promise.all([
    every(
      50,
      seconds * 20,
      (n) => publishOr(scene.socket, { topic: "forbidden/steady", payload: `bad ${n}`, qos: 0 }),
    ),
    every(400, rounds, (n) =>
      Promise.all([
        publishOr(scene.socket, { topic: "good/zero", payload: `zero ${n}.`, qos: 0 }),
        publishOr(scene.socket, { topic: "good/one", payload: `one ${n}.`, qos: 1 }),
      ])),
  ]);
  await waitFor("QoS 1", () => scene.arrived("one") === rounds, 20_000);
  return {
    innocents: (await scene.innocents()).length,
    qos0: scene.arrived("zero"),
    qos1: scene.arrived("one"),
    of: rounds,
    closes: scene.core.sent("connack").length - 1,
  };
}

/** A SUBSCRIBE that is forbidden, or never answered, while others publish 2.5 messages a second of QoS 1. */
export async function badSubscribe(
  closing: Closing | "never answered",
  seconds: number,
): Promise<Figures> {
  await using scene = closing === "never answered"
    ? await Scene.open("5 without", {
      refuseSubscribe: (filter) => filter.startsWith("forbidden") ? "silent" : undefined,
    })
    : await Scene.open(closing);
  await using good = listenSoon(scene.socket, "good/#");
  await good.accepted;
  const started = performance.now();
  let toldMs = Infinity;
  await using bad = listenSoon(scene.socket, "forbidden/#");
  const told = bad.closed.then(() => toldMs = performance.now() - started);
  bad.accepted.catch(() => {});
  const rounds = seconds * 2.5;
  await every(
    400,
    rounds,
    (n) => publishOr(scene.socket, { topic: "good/one", payload: `one ${n}.`, qos: 1 }),
  );
  await waitFor("QoS 1", () => scene.arrived("one") === rounds, 20_000);
  await waitFor("a refusal", () => toldMs < Infinity, 25_000);
  await told;
  return {
    innocents: (await scene.innocents()).length,
    qos1: scene.arrived("one"),
    of: rounds,
    toldMs,
    closes: scene.core.sent("connack").length - 1,
  };
}

/** Ten forbidden messages of QoS 1 at once, on so many topics, while another client publishes 10 a second. */
export async function tenForbidden(closing: Closing, topics: 1 | 10): Promise<Figures> {
  await using scene = await Scene.open(closing);
  await publishOr(scene.socket, { topic: "good/one", payload: "first", qos: 1, ack: "broker" });
  for (let n = 0; n < 10; n++) {
    const message = { topic: `forbidden/${n % topics}`, payload: `bad ${n}`, qos: 1 };
    void publishOr(scene.socket, message);
  }
  const seconds = topics === 1 ? 15 : 45;
  await every(
    100,
    seconds * 10,
    (n) => publishOr(scene.socket, { topic: "good/one", payload: `one ${n}.`, qos: 1 }),
  );
  await waitFor("QoS 1", () => scene.arrived("one") === seconds * 10, 20_000);
  await waitFor(
    "quarantine",
    async () => (await scene.status()).spool.quarantined_messages === 10,
    60_000,
  );
  // Sent each 100 ms: what lies between two arrivals beyond that is time for which they were held up.
  const times = scene.core.published.filter(({ topic }) => topic === "good/one").map(({ at }) =>
    at
  );
  const gaps = times.slice(1).map((at, n) => at - times[n]!).filter((gap) => gap > 200);
  return {
    innocents: (await scene.innocents()).length,
    qos1: scene.arrived("one"),
    of: seconds * 10,
    heldUpMs: gaps.reduce((sum, gap) => sum + gap, 0),
    longestMs: Math.max(0, ...gaps),
    closes: scene.core.sent("connack").length - 1,
  };
}

/** A network that cuts the link every 3 s, with nothing forbidden; 20 messages a second on 10 topics, half of them of QoS 1. */
export async function cutNetwork(closing: Closing, seconds: number): Promise<Figures> {
  await using scene = await Scene.open(closing);
  const rounds = seconds * 10;
  const cuts = Math.floor(seconds / 3);
  await Promise.all([
    every(100, rounds, (n) =>
      Promise.all([
        publishOr(scene.socket, { topic: `good/${n % 10}`, payload: `one ${n}.`, qos: 1 }),
        publishOr(scene.socket, { topic: `good/${n % 10}`, payload: `zero ${n}.`, qos: 0 }),
      ])),
    every(3_000, cuts, () => scene.core.dropLinks()),
  ]);
  await waitFor("QoS 1", () => scene.arrived("one") === rounds, 30_000);
  const { trials } = (await scene.status()).suspicion;
  return {
    innocents: (await scene.innocents()).length,
    qos1: scene.arrived("one"),
    qos0: scene.arrived("zero"),
    of: rounds,
    cuts,
    trials,
  };
}

/** Closes for stated causes during traffic. */
export async function statedCloses(codes: readonly number[]): Promise<Figures> {
  await using scene = await Scene.open("5 with a reason");
  const rounds = codes.length * 50;
  let suspects = 0;
  const closes = async (): Promise<void> => {
    for (const code of codes) {
      await waitFor("a connection", () => scene.core.connections.length === 1);
      // Without PUBACKs there is something in flight when it closes.
      scene.core.behaviour.ackPublish = "never";
      await pause(500);
      scene.core.disconnect("thing", code);
      scene.core.behaviour.ackPublish = "auto";
      await pause(50);
      const { suspicion } = await scene.status();
      suspects += suspicion.suspects + suspicion.trials;
    }
  };
  await Promise.all([
    every(50, rounds, (n) =>
      Promise.all([
        publishOr(scene.socket, { topic: `good/${n}`, payload: `one ${n}.`, qos: 1 }),
        publishOr(scene.socket, { topic: `good/zero/${n}`, payload: `zero ${n}.`, qos: 0 }),
      ])),
    closes(),
  ]);
  await waitFor("QoS 1", () => scene.arrived("one") === rounds, 20_000);
  return { suspects, qos1: scene.arrived("one"), of: rounds, closes: codes.length };
}

/** Publishes as C clients do, by a connection of its own; the code of the refusal, if it is refused. */
async function publishOr(
  socket: string,
  message: Parameters<typeof publish>[1],
): Promise<number | undefined> {
  try {
    await publish(socket, message);
    return undefined;
  } catch (error) {
    if (error instanceof BusError) return error.code;
    throw error;
  }
}

/** Runs something at a steady pace, whether or not it was done by then. */
async function every(ms: number, times: number, run: (n: number) => unknown): Promise<void> {
  const started = performance.now();
  const runs: unknown[] = [];
  for (let n = 0; n < times; n++) {
    runs.push(run(n));
    await pause(Math.max(0, started + (n + 1) * ms - performance.now()));
  }
  await Promise.all(runs);
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
