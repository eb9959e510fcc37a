import { assert, assertEquals, assertStringIncludes, assertThrows, pureTest } from "../../deps.ts";
import { BusError, BusErrorCode } from "../../../src/base/errors.ts";
import {
  IDLE_CONNECTION_MS,
  OPEN_CONNECTION_MS,
} from "../../../src/subscribe/filter_assignment.ts";
import {
  LATE_BLOCK_MS,
  REFUSED_BLOCK_MS,
  SUBACK_WAIT_MS,
  Subscriptions,
} from "../../../src/subscribe/subscriptions.ts";
import type { Delivery } from "../../../src/mqtt/link.ts";
import { RETAINED_WAIT_MS } from "../../../src/subscribe/retained_wait.ts";
import { utf8 } from "../../../src/base/bytes.ts";
import { encodeValueFrame } from "../../../src/wire/frame.ts";
import { FakeClock } from "../../support/fake_clock.ts";
import { fakeLog } from "../../support/fake_log.ts";
import { type FakeConnection, FakePool, FakeSink, openGate, settle } from "./fakes.ts";

const NOMEM = `${BusErrorCode.NOMEM}`;

function setUp(maxConnections = 1) {
  const clock = new FakeClock();
  const log = fakeLog();
  /** Every connection that was made, in order. */
  const made: FakeConnection[] = [];
  const pool = new FakePool(made);
  const refusals = new Map<string, string>();
  const subscriptions = new Subscriptions({
    maxConnections,
    pool,
    gate: openGate,
    refusal: (filter) => refusals.get(filter),
    clock,
    log,
    random: () => 0.9,
    onSynced: () => {},
  });
  subscriptions.start();
  const up = async (index: number, sessionPresent = false): Promise<void> => {
    subscriptions.up({ index }, { sessionPresent, receiveMaximum: 100 });
    await settle();
  };
  const add = (
    filters: string | readonly string[],
    virtual = false,
    maxFrameBytes = 10_000,
  ): FakeSink => {
    const sink = new FakeSink();
    subscriptions.add({ filters: [filters].flat(), qos: 1, virtual, maxFrameBytes }, sink);
    return sink;
  };
  const addMany = (count: number, from = 0): FakeSink[] =>
    Array.from({ length: count }, (_, index) => add(`many/${from + index}`));
  const arrive = (topic: string, index = 0): void =>
    subscriptions.deliver({ index }, topic, new Uint8Array(0));
  return { clock, log, made, subscriptions, up, add, addMany, arrive };
}

/** A set-up with connection 0 up and full, so that the next filter needs another one. */
async function setUpFull(maxConnections: number) {
  const all = setUp(maxConnections);
  await all.up(0);
  all.addMany(50);
  await settle();
  await all.clock.advance(3_000);
  await settle();
  all.made[0]!.packets.length = 0;
  return all;
}

pureTest(
  "a client is accepted when the broker has granted all its filters, and not before",
  async () => {
    const { made, add, up, arrive } = setUp();
    await up(0);
    const [connection] = made;
    connection!.hold = true;
    const sink = add(["a", "b"]);
    await settle();
    assertEquals([connection!.packets, sink.is], [["subscribe a b qos 1"], "asked"]);
    connection!.release();
    await settle();
    assertEquals(sink.is, "accepted");
    arrive("a");
    assertEquals(sink.topics, ["a"]);
  },
);

pureTest(
  "a filter is shared by its clients: one at the broker, and one UNSUBSCRIBE when the last one left",
  async () => {
    const { made, subscriptions, add, up } = setUp();
    await up(0);
    const first = add("a");
    await settle();
    assertEquals(made[0]!.packets, ["subscribe a qos 1"]);
    made[0]!.packets.length = 0;
    const second = add("a");
    assertEquals(second.is, "accepted");
    first.leave();
    await settle();
    // For the retained messages, which the second one has not had.
    assertEquals(made[0]!.packets, ["subscribe a qos 1"]);
    second.leave();
    await settle();
    assertEquals(made[0]!.packets, ["subscribe a qos 1", "unsubscribe a"]);
    assertEquals([subscriptions.locals, subscriptions.assignments.get(0)!.trie.nodes], [0, 0]);
  },
);

pureTest("a filter that a client names twice is one", async () => {
  const { made, add, up, arrive } = setUp();
  await up(0);
  const sink = add(["a", "a"]);
  await settle();
  arrive("a");
  assertEquals([made[0]!.packets, sink.topics], [["subscribe a qos 1"], ["a"]]);
});

pureTest("a client with several matching filters gets a message once", async () => {
  const { add, up, arrive } = setUp();
  await up(0);
  const sink = add(["a/#", "a/b", "+/b"]);
  const other = add("a/b");
  await settle();
  arrive("a/b");
  assertEquals([sink.topics, other.topics], [["a/b"], ["a/b"]]);
});

pureTest("a shared subscription matches by its filter without the group", async () => {
  const { made, add, up, arrive } = setUp();
  await up(0);
  const sink = add("$share/group/a/+");
  await settle();
  arrive("a/b");
  sink.leave();
  await settle();
  assertEquals(sink.topics, ["a/b"]);
  assertEquals(made[0]!.packets, [
    "subscribe $share/group/a/+ qos 1",
    "unsubscribe $share/group/a/+",
  ]);
});

pureTest(
  "a virtual subscription is accepted at once, sends no SUBSCRIBE, and takes no room",
  async () => {
    const { made, subscriptions, add, addMany, up, arrive } = setUp();
    await up(0);
    const virtual = add(["a/#", "b"], true);
    assertEquals(virtual.is, "accepted");
    addMany(50);
    const more = add("c", true);
    await settle();
    assert(!made[0]!.packets.join(" ").includes("a/#"));
    arrive("a/b");
    arrive("b");
    arrive("c");
    assertEquals([virtual.topics, more.topics], [["a/b", "b"], ["c"]]);
    virtual.leave();
    arrive("b");
    assertEquals([virtual.topics.length, subscriptions.locals], [2, 51]);
  },
);

pureTest(
  "while offline a client is accepted at once and subscribed on reconnect",
  async () => {
    const { made, add, up } = setUp();
    const sink = add("a");
    await settle();
    assertEquals([sink.is, made[0]!.packets], ["accepted", []]);
    await up(0);
    assertEquals(made[0]!.packets, ["subscribe a qos 1"]);
  },
);

pureTest(
  "a link that breaks before the SUBACK leaves the client accepted, as if it had asked offline",
  async () => {
    const { made, subscriptions, add, up } = setUp();
    await up(0);
    made[0]!.hold = true;
    const sink = add("a");
    await settle();
    made[0]!.lose();
    subscriptions.down({ index: 0 });
    assertEquals(sink.is, "accepted");
    made[0]!.release();
    await up(0);
    assertEquals(made[0]!.packets, ["subscribe a qos 1", "subscribe a qos 1"]);
  },
);

pureTest(
  "a refused filter is REMOTE with the broker's reason for everyone who waits for it, and no other",
  async () => {
    const { made, subscriptions, log, add, up } = setUp();
    await up(0);
    made[0]!.refused.add("forbidden");
    const sinks = [add("fine"), add("forbidden"), add(["forbidden", "too"])];
    await settle();
    assertEquals(sinks.map(({ is }) => is), [
      "accepted",
      `${BusErrorCode.REMOTE} Not authorized`,
      `${BusErrorCode.REMOTE} Not authorized`,
    ]);
    assertEquals(made[0]!.packets.at(-1), "unsubscribe too");
    assertEquals(subscriptions.locals, 1);
    const shown = log.lines.filter(({ level }) => level !== "debug");
    assertEquals(JSON.stringify(shown).includes("forbidden"), false);
    assertEquals(shown.map(({ level }) => level), ["warn"]);
  },
);

pureTest(
  "a filter that is refused on reconnect closes the socket of its subscriber",
  async () => {
    const { made, subscriptions, add, up } = setUp();
    await up(0);
    const sink = add("a");
    await settle();
    subscriptions.down({ index: 0 });
    made[0]!.refused.add("a");
    await up(0);
    assertStringIncludes(sink.is, "closed: the broker refused the subscription: Not authorized");
    assertEquals(subscriptions.locals, 0);
  },
);

pureTest(
  "a client that leaves while its filter is being subscribed leaves nothing behind",
  async () => {
    const { made, subscriptions, add, up } = setUp();
    await up(0);
    made[0]!.hold = true;
    const sink = add(["a", "b"]);
    await settle();
    sink.leave();
    made[0]!.release();
    await settle();
    assertEquals(made[0]!.packets, ["subscribe a b qos 1", "unsubscribe a b"]);
    const line = subscriptions.assignments.get(0)!;
    assertEquals([sink.is, subscriptions.locals, line.trie.size, line.sync.size], [
      "asked",
      0,
      0,
      0,
    ]);
  },
);

pureTest(
  "a client that is gone before its request is handled is not subscribed",
  async () => {
    const { made, subscriptions, up } = setUp();
    await up(0);
    const sink = new FakeSink();
    sink.onClose = (fn) => fn();
    subscriptions.add({ filters: ["a"], qos: 1, virtual: false, maxFrameBytes: 10_000 }, sink);
    await settle();
    assertEquals([made[0]!.packets, subscriptions.locals], [[], 0]);
  },
);

pureTest(
  "a client that comes while the last one's UNSUBSCRIBE is under way waits for a SUBSCRIBE of its own",
  async () => {
    const { made, add, up } = setUp();
    await up(0);
    const first = add("a");
    await settle();
    made[0]!.hold = true;
    first.leave();
    await settle();
    const second = add("a");
    assertEquals(second.is, "asked");
    made[0]!.release();
    await settle();
    assertEquals(second.is, "accepted");
    assertEquals(made[0]!.packets, ["subscribe a qos 1", "unsubscribe a", "subscribe a qos 1"]);
  },
);

pureTest(
  "50 filters fit on a connection, then the next one is opened, up to the most (iotcored-5)",
  async () => {
    const { made, subscriptions, up, add, addMany } = setUp(3);
    await up(0);
    addMany(130);
    assertEquals(made.map(({ index }) => index), [0, 1, 2]);
    assertEquals([...subscriptions.assignments.values()].map(({ sync }) => sync.size), [
      50,
      50,
      30,
    ]);
    addMany(20, 130);
    const error = assertThrows(() => add("one/more"), BusError);
    assertEquals(error.code, BusErrorCode.NOMEM);
    assertEquals(made.length, 3);
  },
);

pureTest("a list that does not fit as a whole is refused as a whole", async () => {
  const { made, subscriptions, up, add, addMany } = setUp();
  await up(0);
  addMany(49);
  await settle();
  const before = made[0]!.packets.length;
  assertThrows(() => add(["a", "b"]), BusError);
  await settle();
  assertEquals([made[0]!.packets.length, subscriptions.locals], [before, 49]);
  add("a");
  assertEquals(subscriptions.assignments.get(0)!.sync.size, 50);
});

pureTest(
  "the client whose filter opens a connection waits for its SUBACK there",
  async () => {
    const { made, up, add } = await setUpFull(2);
    const sink = add("one/more");
    await settle();
    assertEquals(sink.is, "asked");
    await up(1);
    assertEquals([made[1]!.packets, sink.is], [["subscribe one/more qos 1"], "accepted"]);
  },
);

pureTest(
  "a refused connection is NOMEM for its subscribers, said once, and not tried again for ten minutes",
  async () => {
    const { clock, log, made, subscriptions, add } = await setUpFull(3);
    const waiting = add(["many/0", "one/more"]);
    subscriptions.refused({ index: 1 }, "CONNACK 0x87");
    assertEquals([waiting.is, made[1]!.stopped], [NOMEM, true]);
    assertThrows(() => add("another"), BusError);
    const said = log.lines.filter(({ text }) => text.includes("policy"));
    assertEquals(said.length, 1);
    assertEquals(said[0]!.fields, { connection: 1, reason: "CONNACK 0x87" });
    clock.advance(REFUSED_BLOCK_MS - 1);
    assertThrows(() => add("another"), BusError);
    assertEquals(made.length, 2);
    clock.advance(1);
    add("another");
    assertEquals([made.length, made[2]!.index, subscriptions.assignments.size], [3, 1, 2]);
  },
);

pureTest(
  "a connection that is refused after its subscribers were accepted closes their sockets",
  async () => {
    const { subscriptions, up, add } = await setUpFull(2);
    const sink = add("one/more");
    await up(1);
    subscriptions.down({ index: 1 });
    subscriptions.refused({ index: 1 }, "CONNACK 0x87");
    assertStringIncludes(sink.is, "closed: ");
    assertEquals(subscriptions.locals, 50);
  },
);

pureTest(
  "a connection that cannot be made in time closes who was accepted meanwhile, and is tried again after a minute",
  async () => {
    const { clock, log, made, add } = await setUpFull(2);
    const sink = add("one/more");
    made[1]!.status.lastError = "closed before CONNACK";
    clock.advance(OPEN_CONNECTION_MS - 1);
    assertEquals(sink.is, "accepted");
    clock.advance(1);
    assertStringIncludes(
      sink.is,
      "closed: Cannot subscribe: a further connection could not be made",
    );
    assertEquals(made[1]!.stopped, true);
    assertEquals(log.lines.at(-1)!.fields.reason, "closed before CONNACK");
    clock.advance(LATE_BLOCK_MS);
    add("one/more");
    assertEquals(made.length, 3);
  },
);

pureTest(
  "without the network nobody waits for a further connection: it is made when the network is back",
  async () => {
    const { clock, made, subscriptions, up, add } = await setUpFull(2);
    const sink = add("one/more");
    subscriptions.down({ index: 0 });
    assertEquals(sink.is, "accepted");
    clock.advance(OPEN_CONNECTION_MS * 2);
    assertEquals(made[1]!.stopped, false);
    assertEquals(add("and/another").is, "accepted");
    await up(1);
    assertEquals(made[1]!.packets, ["subscribe one/more and/another qos 1"]);
  },
);

pureTest(
  "a further connection without filters is closed after a minute, unless one comes",
  async () => {
    const { clock, made, subscriptions, up, add } = await setUpFull(2);
    const first = add("one/more");
    await up(1);
    first.leave();
    clock.advance(IDLE_CONNECTION_MS - 1);
    const second = add("another");
    clock.advance(IDLE_CONNECTION_MS);
    assertEquals(made[1]!.stopped, false);
    second.leave();
    clock.advance(IDLE_CONNECTION_MS - 1);
    assertEquals(made[1]!.stopped, false);
    clock.advance(1);
    assertEquals([made[1]!.stopped, subscriptions.assignments.size], [true, 1]);
    assertEquals(made[0]!.stopped, false);
  },
);

pureTest("connection 0 stays, with or without filters", async () => {
  const { clock, made, up, add } = setUp();
  await up(0);
  add("a").leave();
  clock.advance(IDLE_CONNECTION_MS * 2);
  assertEquals(made[0]!.stopped, false);
});

pureTest(
  "room on a lower connection is used before a higher one, and nothing is moved",
  async () => {
    const { made, subscriptions, up, add, addMany } = setUp(2);
    await up(0);
    const sinks = addMany(51);
    await up(1);
    sinks[3]!.leave();
    add("new");
    assertEquals([...subscriptions.assignments.values()].map(({ sync }) => sync.size), [50, 1]);
    await settle();
    assertEquals(made[1]!.packets, ["subscribe many/50 qos 1"]);
  },
);

pureTest(
  "when filters overlap on two connections, each message comes once, and only once",
  async () => {
    const { clock, up, add, addMany, arrive } = setUp(2);
    await up(0);
    addMany(49);
    const across = add(["a/#", "a/b", "c"]);
    const second = add("a/b");
    const virtual = add("a/b", true);
    await up(1);
    clock.advance(2_000);
    await settle();
    // The broker sends a copy over each connection, in either order.
    arrive("a/b", 1);
    arrive("a/b", 0);
    assertEquals([across.topics, second.topics, virtual.topics], [["a/b"], ["a/b"], ["a/b"]]);
    arrive("c", 1);
    arrive("a/x", 0);
    assertEquals([across.topics, second.topics], [["a/b", "c", "a/x"], ["a/b"]]);
  },
);

pureTest(
  "while the lower connection is down, or does not have its filters yet, the copy of the higher one counts",
  async () => {
    const { clock, made, subscriptions, up, add, addMany, arrive } = setUp(2);
    await up(0);
    addMany(49);
    const across = add(["a/#", "a/b"]);
    await up(1);
    clock.advance(2_000);
    await settle();
    subscriptions.down({ index: 0 });
    arrive("a/b", 1);
    made[0]!.hold = true;
    await up(0);
    arrive("a/b", 1);
    assertEquals(across.topics.length, 2);
    // In a resumed session the filters are there from the start.
    made[0]!.lose();
    subscriptions.down({ index: 0 });
    await settle();
    await up(0, true);
    arrive("a/b", 1);
    arrive("a/b", 0);
    assertEquals(across.topics.length, 3);
  },
);

pureTest("a message that arrives for nobody is dropped", async () => {
  const { subscriptions, up, add, arrive } = setUp();
  await up(0);
  const sink = add("a");
  await settle();
  arrive("b");
  arrive("a", 7);
  assertEquals([sink.topics, subscriptions.received], [[], 2]);
});

pureTest("a stop forgets every filter and leaves no timer", async () => {
  const { clock, subscriptions, up, add, addMany } = setUp(3);
  await up(0);
  addMany(50);
  add("idle").leave();
  subscriptions.stop();
  assertEquals(subscriptions.assignments.size, 0);
  clock.advance(2_000);
  assertEquals(clock.timers, 0);
});

pureTest(
  "a SUBACK that takes long is not waited for, and a refusal that comes later closes the client",
  async () => {
    const { clock, made, up, add } = setUp();
    await up(0);
    made[0]!.hold = true;
    made[0]!.refused.add("late");
    const [granted, refused] = [add("slow"), add("late")];
    await settle();
    clock.advance(SUBACK_WAIT_MS - 1);
    assertEquals([granted.is, refused.is], ["asked", "asked"]);
    clock.advance(1);
    assertEquals([granted.is, refused.is], ["accepted", "accepted"]);
    made[0]!.release();
    await settle();
    assertEquals(granted.is, "accepted");
    assertStringIncludes(refused.is, "closed: the broker refused the subscription");
    granted.leave();
    await clock.advance(2_000);
    await settle();
    assertEquals(clock.timers, 0);
  },
);

pureTest(
  "a message larger than a client takes is left out for that client, counted, and logged once",
  async () => {
    const { log, subscriptions, up, add } = setUp();
    await up(0);
    const small = add("a/#", false, 10_000);
    const large = add("a/#", false, 1_048_576);
    await settle();
    const around = encodeValueFrame(
      new Map([["topic", utf8("a/b")], ["payload", new Uint8Array(0)]]),
    ).length;
    const payload = new Uint8Array(10_000 - around);
    subscriptions.deliver({ index: 0 }, "a/b", payload);
    for (let i = 0; i < 3; i++) {
      subscriptions.deliver({ index: 0 }, "a/b", new Uint8Array(payload.length + 1));
    }
    assertEquals([small.topics.length, large.topics.length, subscriptions.tooLarge], [1, 4, 3]);
    assertEquals(log.lines.filter(({ text }) => text.includes("max_frame")).length, 1);
  },
);

pureTest("a retained message goes to who waits for it, and a live one to everybody", async () => {
  const { clock, subscriptions, add, up } = setUp();
  await up(0);
  const retained = { retain: true, identifiers: [] };
  const come = (topic: string, delivery?: Delivery): void =>
    subscriptions.deliver({ index: 0 }, topic, new Uint8Array(0), delivery);
  const first = add("a/+");
  const other = add("b");
  const virtual = add("a/1", true);
  await settle();
  for (const topic of ["a/1", "a/2"]) come(topic, retained);
  const second = add("a/#");
  await settle();
  for (const topic of ["a/1", "a/2", "a/3"]) come(topic, retained);
  assertEquals(first.topics, ["a/1", "a/2", "a/3"]);
  assertEquals(second.topics, ["a/1", "a/2", "a/3"]);
  clock.advance(RETAINED_WAIT_MS);
  come("a/4", retained);
  come("a/1");
  assertEquals(first.topics.slice(3), ["a/1"]);
  assertEquals(second.topics.slice(3), ["a/1"]);
  assertEquals([other.topics, virtual.topics], [[], ["a/1"]]);
});

pureTest("copies with identifiers go to the subscribers of their filters, once each", async () => {
  const { subscriptions, add } = setUp();
  subscriptions.up({ index: 0 }, {
    sessionPresent: false,
    receiveMaximum: 100,
    identifiersAvailable: true,
  });
  const exact = add("a/1");
  const wild = add("a/+");
  const both = add(["a/#", "a/1"]);
  await settle();
  const come = (...identifiers: number[]): void =>
    subscriptions.deliver({ index: 0 }, "a/1", new Uint8Array(0), { retain: false, identifiers });
  const counts = (): number[] => [exact, wild, both].map(({ topics }) => topics.length);
  come(1);
  assertEquals(counts(), [1, 0, 1]);
  come(2);
  come(3);
  assertEquals(counts(), [1, 1, 1]);
  come(1, 2, 3);
  assertEquals(counts(), [2, 2, 2]);
  // What is no filter's any more says nothing: it goes to whom it matches.
  come(99);
  assertEquals(counts(), [3, 3, 3]);
});

pureTest(
  "a filter that is turned away for now closes nobody, and is said once each time",
  async () => {
    const { clock, log, made, add, up } = setUp();
    await up(0);
    made[0]!.codes.set("a", 0x97);
    const sink = add("a");
    await settle();
    clock.advance(1_000);
    assertEquals(sink.is, "accepted");
    const warnings = log.lines.filter(({ level }) => level === "warn");
    assertEquals([warnings.length, warnings[0]!.fields?.said], [1, "0x97 (quota exceeded)"]);
    made[0]!.codes.clear();
    clock.advance(10_000);
    await settle();
    assertEquals([sink.is, made[0]!.packets.length], ["accepted", 2]);
  },
);
