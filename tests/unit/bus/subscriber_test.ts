import { assert, assertEquals, pureTest } from "../../deps.ts";
import { concat, fromUtf8 } from "../../../src/base/bytes.ts";
import { BusError, BusErrorCode } from "../../../src/base/errors.ts";
import {
  FULL_QUEUE_MS,
  LEAST_TAKEN_BYTES,
  MAX_QUEUED_BYTES,
  SWEEP_MS,
  UNREAD_DEADLINE_MS,
} from "../../../src/bus/limits.ts";
import { call, type Reply, subscribe, type Subscriber } from "../../../src/bus/methods.ts";
import { decodeValue } from "../../../src/wire/object.ts";
import { waitFor } from "../../support/wait.ts";
import type { FakeConn } from "./fake_conn.ts";
import { callFrame, Harness, subscribeFrame, valueFrame } from "./harness.ts";

class Scene extends Harness {
  readonly subscribers: Subscriber[] = [];
  readonly replies: Reply[] = [];
  readonly over: number[] = [];

  constructor() {
    const subscribers: Subscriber[] = [];
    const replies: Reply[] = [];
    const over: number[] = [];
    super({
      later: call({}, (_, reply) => void replies.push(reply)),
      values: subscribe({}, (_, subscriber) => {
        subscriber.label = "some/filter";
        subscriber.onClose(() => over.push(subscriber.id));
        subscribers.push(subscriber);
      }),
      bug: subscribe({}, () => Promise.reject(new Error("no"))),
    });
    this.subscribers = subscribers;
    this.replies = replies;
    this.over = over;
  }

  async subscribe(): Promise<[FakeConn, Subscriber]> {
    const conn = await this.connect();
    const before = this.subscribers.length;
    conn.feed(subscribeFrame("values"));
    await waitFor("the request", () => this.subscribers.length > before);
    return [conn, this.subscribers[before]!];
  }
}

/** What a client got: `accepted`, `error N`, or the text of a value. */
function heard(conn: FakeConn): string[] {
  return conn.frames().map(({ headers, payload }) => {
    if (headers.has("accepted")) return "accepted";
    if (headers.has("error")) return `error ${headers.get("error")}`;
    const value = decodeValue(payload);
    assert(value instanceof Uint8Array);
    return fromUtf8(value)!;
  });
}

pureTest(
  "accepted is sent when the handler says so, and values sent before come behind it",
  async () => {
    await using scene = new Scene();
    const [conn, subscriber] = await scene.subscribe();
    subscriber.send(valueFrame("early"));
    assertEquals(subscriber.queuedBytes, valueFrame("early").length);
    assertEquals(scene.server.counters().subscriptions, 0);
    subscriber.accept();
    subscriber.accept();
    subscriber.send(valueFrame("late"));
    await waitFor("the frames", () => heard(conn).length === 3);
    assertEquals(heard(conn), ["accepted", "early", "late"]);
    assertEquals(conn.writes.length, 1);
    assertEquals(scene.server.counters().subscriptions, 1);
    assertEquals(subscriber.queuedBytes, 0);
  },
);

pureTest("accepted waits for the answers of calls before it", async () => {
  await using scene = new Scene();
  const conn = await scene.connect();
  conn.feed(concat([callFrame("later"), subscribeFrame("values")]));
  await waitFor("the request", () => scene.subscribers.length === 1);
  scene.subscribers[0]!.accept();
  scene.subscribers[0]!.send(valueFrame("v"));
  assertEquals(conn.writes.length, 0);
  scene.replies[0]!.respond(new TextEncoder().encode("answer"));
  await waitFor("the frames", () => heard(conn).length === 3);
  assertEquals(heard(conn), ["answer", "accepted", "v"]);
});

pureTest("a refused subscription gets the error and is over", async () => {
  await using scene = new Scene();
  const [conn, subscriber] = await scene.subscribe();
  subscriber.refuse(
    new BusError(BusErrorCode.REMOTE, "Cannot subscribe: refused", "not authorized"),
  );
  subscriber.accept();
  subscriber.send(valueFrame("v"));
  await waitFor("the close", () => conn.closed);
  assertEquals(heard(conn), ["error 14"]);
  assertEquals(scene.over, [1]);
});

pureTest("a subscription that is refused later gets the error behind its values", async () => {
  await using scene = new Scene();
  const [conn, subscriber] = await scene.subscribe();
  subscriber.accept();
  subscriber.send(valueFrame("v"));
  subscriber.refuse(new BusError(BusErrorCode.REMOTE, "Cannot subscribe: refused"));
  await waitFor("the close", () => conn.closed);
  assertEquals(heard(conn), ["accepted", "v", "error 14"]);
});

pureTest("a subscribe handler's bug is FAILURE", async () => {
  await using scene = new Scene();
  const conn = await scene.connect();
  conn.feed(subscribeFrame("bug"));
  await waitFor("the close", () => conn.closed);
  assertEquals(heard(conn), ["error 1"]);
  assertEquals(scene.log.of("A request failed inside the daemon").length, 1);
});

pureTest("a client that goes before it was accepted is told of by onClose", async () => {
  await using scene = new Scene();
  const [conn, subscriber] = await scene.subscribe();
  conn.end();
  await waitFor("onClose", () => scene.over.length === 1);
  let late = false;
  subscriber.onClose(() => late = true);
  assertEquals(late, true);
  subscriber.accept();
  subscriber.send(valueFrame("v"));
  assertEquals(conn.closed, true);
  assertEquals(conn.writes, []);
});

pureTest("close lets what is queued go out first", async () => {
  await using scene = new Scene();
  const [conn, subscriber] = await scene.subscribe();
  subscriber.accept();
  await waitFor("accepted", () => heard(conn).length === 1);
  conn.room = 0;
  subscriber.send(valueFrame("v"));
  subscriber.close("the filter was refused");
  assertEquals(scene.over, [1]);
  subscriber.send(valueFrame("too late"));
  await scene.connect();
  assertEquals(conn.closed, false);
  conn.drain();
  await waitFor("the close", () => conn.closed);
  assertEquals(heard(conn), ["accepted", "v"]);
});

/** A frame of which so many fill a queue. */
const TENTH = valueFrame("x".repeat(MAX_QUEUED_BYTES / 10));

/** Fills the queue of a subscriber whose client takes nothing at first. */
async function filled(scene: Scene): Promise<FakeConn> {
  const [conn, subscriber] = await scene.subscribe();
  subscriber.accept();
  await waitFor("accepted", () => heard(conn).length === 1);
  conn.room = 0;
  for (let sent = 0; sent < 9; sent++) subscriber.send(TENTH);
  assertEquals(scene.held, false);
  subscriber.send(TENTH);
  assertEquals(scene.held, true);
  // One write is under way.
  await scene.connect();
  return conn;
}

pureTest("a full queue holds back what is sent to all, until half of it is taken", async () => {
  await using scene = new Scene();
  const conn = await filled(scene);
  conn.drain(MAX_QUEUED_BYTES / 2 - 1_000);
  await waitFor("the bytes", () => conn.room === 0);
  assertEquals(scene.held, true);
  conn.drain(3_000);
  await waitFor("the release", () => !scene.held);
  conn.drain();
  await waitFor("everything", () => heard(conn).length === 11);
  scene.clock.advance(10 * FULL_QUEUE_MS);
  assertEquals(conn.closed, false);
});

pureTest(
  "with a full queue, who takes less than 64 KiB in a second is closed and named, and the others go on",
  async () => {
    await using scene = new Scene();
    const [good, goodSubscriber] = await scene.subscribe();
    goodSubscriber.accept();
    const slow = await filled(scene);
    slow.drain(LEAST_TAKEN_BYTES - 1);
    await waitFor("the bytes", () => slow.room === 0);
    scene.clock.advance(FULL_QUEUE_MS - 1);
    assertEquals([slow.closed, scene.held], [false, true]);
    scene.clock.advance(1);
    assertEquals([slow.closed, scene.held], [true, false]);
    assertEquals(scene.over, [2]);
    goodSubscriber.send(valueFrame("v"));
    await waitFor("the value", () => heard(good).length === 2);
    const { closed, clients, queuedBytes } = scene.server.counters();
    assertEquals([closed.slow, clients, queuedBytes], [1, 2, 0]);
    const [line] = scene.log.of("closed a client");
    const { client, reason, method, label, why } = line!.fields;
    assertEquals([line!.level, client, reason, method, label], [
      "warn",
      2,
      "slow",
      "values",
      "some/filter",
    ]);
    assertEquals(why, "with a full queue it took 65535 bytes in 1000 ms, less than 65536");
  },
);

pureTest(
  "with a full queue, who takes 64 KiB in each second holds the others back for 1 s at most",
  async () => {
    await using scene = new Scene();
    const slow = await filled(scene);
    for (let second = 0; second < 5; second++) {
      slow.drain(LEAST_TAKEN_BYTES);
      await waitFor("the bytes", () => slow.room === 0);
      assertEquals(scene.held, true);
      scene.clock.advance(FULL_QUEUE_MS);
      assertEquals([slow.closed, scene.held], [false, false]);
      scene.subscribers.at(-1)!.send(TENTH);
      assertEquals(scene.held, true);
    }
  },
);

pureTest(
  "a subscriber that gets messages before it is accepted is accepted when its queue is full",
  async () => {
    await using scene = new Scene();
    const [conn, subscriber] = await scene.subscribe();
    for (let sent = 0; sent < 9; sent++) subscriber.send(TENTH);
    assertEquals(heard(conn), []);
    subscriber.send(TENTH);
    await waitFor("everything", () => heard(conn).length === 11);
    assertEquals([scene.held, conn.closed], [false, false]);
  },
);

pureTest("one frame above the bound goes to a client that reads", async () => {
  await using scene = new Scene();
  const [conn, subscriber] = await scene.subscribe();
  subscriber.accept();
  await waitFor("accepted", () => heard(conn).length === 1);
  const frame = valueFrame("x".repeat(MAX_QUEUED_BYTES));
  subscriber.send(frame);
  await waitFor("the frame", () => conn.writes.length === 2);
  assertEquals(conn.writes[1]!.length, frame.length);
});

pureTest(
  "a subscriber that leaves data unread for 10 s is closed; one that reads slowly is not",
  async () => {
    await using scene = new Scene();
    const [stuck, stuckSubscriber] = await scene.subscribe();
    const [slow, slowSubscriber] = await scene.subscribe();
    for (const subscriber of [stuckSubscriber, slowSubscriber]) subscriber.accept();
    await waitFor("accepted", () => heard(slow).length === 1 && heard(stuck).length === 1);
    stuck.room = slow.room = 0;
    for (const subscriber of [stuckSubscriber, slowSubscriber]) {
      subscriber.send(valueFrame("x".repeat(1000)));
    }
    await scene.connect();
    const steps = 2 + UNREAD_DEADLINE_MS / SWEEP_MS;
    for (let step = 0; step < steps; step++) {
      assertEquals(stuck.closed, step > UNREAD_DEADLINE_MS / SWEEP_MS, `step ${step}`);
      const writes = slow.writes.length;
      slow.drain(1);
      await waitFor("one byte", () => slow.writes.length > writes);
      scene.clock.advance(SWEEP_MS);
    }
    assertEquals([stuck.closed, slow.closed], [true, false]);
    assertEquals(scene.server.counters().closed.slow, 1);
  },
);

pureTest("a subscription has no idle limit", async () => {
  await using scene = new Scene();
  const [conn, subscriber] = await scene.subscribe();
  subscriber.accept();
  await waitFor("accepted", () => heard(conn).length === 1);
  scene.clock.advance(24 * 3_600_000);
  assertEquals(conn.closed, false);
});
