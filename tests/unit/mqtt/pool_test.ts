import type { Dial, Target } from "../../../src/mqtt/dial.ts";
import { ConnectionPool, WAKE_SPACING_MS } from "../../../src/mqtt/pool.ts";
import type { LinkHandler, MqttLink } from "../../../src/mqtt/link.ts";
import { assertEquals, pureTest } from "../../deps.ts";
import { FakeClock } from "../../support/fake_clock.ts";
import { fakeLog } from "../../support/fake_log.ts";

/** A pool whose broker is the test: a link stands as soon as it is dialled, unless the broker is away. */
function setUp(started = true) {
  const clock = new FakeClock();
  const log = fakeLog();
  const heard: string[] = [];
  const dialled: number[] = [];
  const links = new Map<number, LinkHandler>();
  const away = new Set<number>();
  const dial: Dial = (target: Target, _attempt, handler): Promise<MqttLink> => {
    const index = Number(target.clientId);
    dialled.push(index);
    if (away.has(index)) return Promise.reject(new Error("no broker"));
    links.set(index, handler);
    return Promise.resolve({
      connack: { sessionPresent: false, receiveMaximum: 100 },
      address: "192.0.2.1:8883",
      buffered: 0,
      publish: () => {},
      subscribe: () => Promise.resolve(undefined),
      unsubscribe: () => Promise.resolve(undefined),
      ping: () => {},
      close: () => {
        handler.onEnd({ by: "local", reason: "closed here" });
        return Promise.resolve();
      },
    });
  };
  const pool = new ConnectionPool({
    target: (index) => ({
      host: "broker",
      port: 8883,
      clientId: `${index}`,
      version: "5",
      keepAliveS: 60,
      credentials: { rootca: "/ca", cert: "/cert", key: "/key" },
    }),
    dial,
    handler: {
      onUp: ({ index }) => void heard.push(`${index} up`),
      onDown: ({ index }) => void heard.push(`${index} down`),
      onMessage: ({ index }, topic) => void heard.push(`${index} ${topic}`),
      onFailed: ({ index }) => void heard.push(`${index} failed`),
    },
    clock,
    log,
    random: () => 0.99,
  });
  if (started) pool.start();
  const open = async (index: number) => {
    const connection = pool.open(index);
    await settle();
    return connection;
  };
  const lose = async (index: number): Promise<void> => {
    links.get(index)!.onEnd({ by: "peer", reason: "the broker closed the connection" });
    await settle();
  };
  return { clock, log, pool, heard, dialled, links, away, open, lose };
}

/** Promises settle within a few turns of the microtask queue. */
async function settle(): Promise<void> {
  for (let turn = 0; turn < 20; turn++) await Promise.resolve();
}

pureTest(
  "what happens on a connection is told with the connection it happened on",
  async () => {
    const { pool, heard, links, open, lose } = setUp();
    await open(0);
    await open(1);
    links.get(1)!.onMessage("a/b", new Uint8Array(0));
    await lose(1);
    assertEquals(heard, ["0 up", "1 up", "1 a/b", "1 down"]);
    await pool.stop();
  },
);

pureTest(
  "a connection that was closed says nothing more, also when its number is opened again",
  async () => {
    const { clock, pool, heard, links, open } = setUp();
    await open(0);
    const first = links.get(0)!;
    pool.close(0);
    await open(0);
    first.onMessage("late", new Uint8Array(0));
    first.onEnd({ by: "peer", reason: "late" });
    assertEquals(heard, ["0 up", "0 up"]);
    await pool.stop();
    assertEquals([pool.all.size, clock.timers], [0, 0]);
  },
);

pureTest(
  "a connection that comes up makes those try at once that wait for their next attempt, but not over and over",
  async () => {
    const { clock, log, pool, dialled, away, open, lose } = setUp();
    const connections = [await open(0), await open(1), await open(2)];
    // Links that have stood for a while are lost: the next attempts wait for their backoff.
    clock.advance(WAKE_SPACING_MS);
    for (const index of [0, 1, 2]) away.add(index);
    for (const index of [0, 1, 2]) await lose(index);
    clock.advance(5_000);
    await settle();
    const before = [...dialled];
    pool.wakeOthers(connections[1]!);
    await settle();
    assertEquals(dialled.slice(before.length).sort(), [0, 1, 2]);
    pool.wakeOthers(connections[1]!);
    assertEquals(log.lines.filter(({ text }) => text.endsWith("connection 1 is up")).length, 3);
    await pool.stop();
    assertEquals(clock.timers, 0);
  },
);

pureTest("connections that are opened before the start wait for it", async () => {
  const { pool, dialled, heard } = setUp(false);
  pool.open(0);
  pool.reconnect("before the start");
  await settle();
  assertEquals(dialled, []);
  pool.start();
  await settle();
  assertEquals([dialled, heard], [[0], ["0 up"]]);
  await pool.stop();
});
