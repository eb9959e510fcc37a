import { assert, assertEquals, assertLessOrEqual } from "../../deps.ts";
import { BusErrorCode } from "../../../src/base/errors.ts";
import { HEAD_START_MS } from "../../../src/publish/poison_detector.ts";
import { AWS_RATE_LIMITS } from "../../../src/aws/rate_window.ts";
import { FakeLink, heldLink, LOST, numbers, OK, setUp } from "./publisher_scene.ts";

const pure = { permissions: "none" } as const;

Deno.test(
  "messages leave in the order of their acceptance, and the spool with their PUBACK",
  pure,
  () => {
    const { intake, spool, publisher, link, publishMany, up } = setUp();
    publishMany(0, 3);
    up();
    publishMany(3, 4);
    assertEquals(link.texts, numbers(0, 4));
    assertEquals([spool.stats().messages, publisher.inFlight], [4, 4]);
    link.answer("1");
    assertEquals([spool.stats().messages, publisher.inFlight], [3, 3]);
    link.answer();
    assertEquals([spool.stats().messages, publisher.inFlight], [0, 0]);
    assertEquals(intake.accepted, 4);
    assertEquals(publisher.counters, {
      sent: 4,
      acknowledged: 4,
      refusedByBroker: 0,
      expired: 0,
      dropped: 0,
      throttledMs: 0,
    });
  },
);

Deno.test(
  "no more are in flight than maxInFlight, nor than the broker's receive maximum",
  pure,
  () => {
    for (const [maxInFlight, receiveMaximum, expected] of [[5, 65_535, 5], [100, 3, 3]] as const) {
      const { link, publishMany, up, widen } = setUp({ maxInFlight });
      up(receiveMaximum);
      widen();
      publishMany(0, 10);
      assertEquals(link.texts, numbers(0, expected));
      link.answer("0");
      assertEquals(link.texts, numbers(0, expected + 1));
      link.auto = () => OK;
      link.answer();
      assertEquals(link.texts, numbers(0, 10));
    }
  },
);

Deno.test(
  "after a reconnect what was not acknowledged goes first, as a duplicate, then the rest",
  pure,
  () => {
    const { link, publishMany, lose, up } = setUp();
    up();
    publishMany(0, 4);
    link.answer("1");
    lose();
    publishMany(4, 6);
    link.sent.length = 0;
    up();
    link.answer("0");
    assertEquals(
      link.sent.map(({ payload, dup }) => [new TextDecoder().decode(payload), dup]),
      [["0", true], ["2", true], ["3", true], ["4", false], ["5", false]],
    );
  },
);

Deno.test("an answer that comes when its link is gone changes nothing", pure, () => {
  const { clock, spool, gate, publisher, publish } = setUp();
  const { held, link: first } = heldLink();
  gate.up(first);
  publisher.up(first, 100);
  publish("a");
  gate.down(LOST);
  publisher.down();
  gate.up(new FakeLink(clock));
  publisher.up(new FakeLink(clock), 100);
  held[0]!(OK);
  assertEquals(spool.stats().messages, 1);
});

Deno.test("QoS 0 is sent at once while connected, and refused with NOCONN while not", pure, () => {
  const { spool, link, publish, lose, up } = setUp();
  assertEquals(publish("a", 0).is, `${BusErrorCode.NOCONN}`);
  up();
  assertEquals(publish("b", 0).is, "ok");
  assertEquals([link.texts, spool.stats().messages], [["b"], 0]);
  lose();
  assertEquals(publish("c", 0).is, `${BusErrorCode.NOCONN}`);
});

Deno.test(
  "QoS 0 is kept while not connected when keepQos0WhenOffline says so, and goes with the rest",
  pure,
  () => {
    const { spool, link, publish, up } = setUp({ keepQos0WhenOffline: true });
    publish("a", 1);
    assertEquals(publish("b", 0).is, "ok");
    publish("c", 1);
    up();
    assertEquals(link.sent.map(({ qos, dup }) => [qos, dup]), [[1, false], [0, false], [1, false]]);
    assertEquals(link.texts, ["a", "b", "c"]);
    link.answer();
    assertEquals(spool.stats().messages, 0);
  },
);

Deno.test("QoS 0 does not wait for the PUBACKs of others", pure, () => {
  const { link, publish, publishMany, up } = setUp({ maxInFlight: 1 });
  up();
  publishMany(0, 3);
  publish("zero", 0);
  assertEquals(link.texts, ["0", "zero"]);
});

Deno.test("a full spool refuses with NOMEM and keeps what it has accepted", pure, () => {
  const { link, publish, up } = setUp({ maxBytes: 200 });
  const replies = ["a", "b", "c", "d"].map((text) => publish(text).is);
  assertEquals(replies, ["ok", "ok", "ok", `${BusErrorCode.NOMEM}`]);
  up();
  assertEquals(link.texts, ["a", "b", "c"]);
});

Deno.test(
  "no second holds more than 100 messages, of both QoS together, and none is lost",
  pure,
  () => {
    const { clock, publisher, queue, link, publish, up } = setUp({ limits: AWS_RATE_LIMITS });
    link.auto = () => OK;
    up();
    for (let number = 0; number < 500; number++) publish(`${number}`, number % 2 === 0 ? 0 : 1);
    assertEquals([link.sent.length, queue.length], [50, 225]);
    for (let turn = 0; turn < 100; turn++) clock.advance(100);
    assertEquals(new Set(link.texts).size, 500);
    for (const [index, { at }] of link.sent.entries()) {
      const before = link.sent[index - 100];
      if (before !== undefined) assert(at - before.at > 1_000);
    }
    assertLessOrEqual(link.sent.at(-1)!.at, 5_500);
    assertEquals([queue.length, queue.bytes], [0, 0]);
    assert(publisher.counters.throttledMs > 4_000);
  },
);

Deno.test("what is held up on the way for 300 ms does not double the broker's second", pure, () => {
  const { clock, link, publishMany, up } = setUp({ limits: AWS_RATE_LIMITS });
  link.auto = () => OK;
  up();
  publishMany(0, 500);
  for (let turn = 0; turn < 600; turn++) clock.advance(10);
  for (let from = 0; from < 5_000; from += 50) {
    const arrivals = link.sent.map(({ at }) => at >= from && at < from + 300 ? from + 300 : at);
    for (const [index, at] of arrivals.entries()) {
      const before = arrivals[index - 125];
      if (before !== undefined) assert(at - before > 1_000, `126 in a second, held up at ${from}`);
    }
  }
});

Deno.test(
  "a message counts for the rate until a second after its PUBACK, as the broker may have seen it only then",
  pure,
  () => {
    const { clock, link, publishMany, up, widen } = setUp({ limits: AWS_RATE_LIMITS });
    up();
    widen();
    publishMany(0, 300);
    clock.advance(1_000);
    assertEquals(link.sent.length, 100);
    // They were stuck on the way for a second.
    link.answer();
    clock.advance(999);
    assertEquals(link.sent.length, 100);
    link.auto = () => OK;
    clock.advance(60);
    assert(link.sent.length > 100);
  },
);

Deno.test("QoS 0 that may have been held up with a late QoS 1 message counts with it", pure, () => {
  const { clock, link, publish, up } = setUp({ limits: AWS_RATE_LIMITS });
  up();
  for (let number = 0; number < 30; number++) publish("zero", 0);
  publish("one", 1);
  for (let number = 0; number < 200; number++) publish("more", 0);
  clock.advance(1_000);
  assertEquals(link.sent.length, 100);
  link.answer("one");
  clock.advance(999);
  assertEquals(link.sent.length, 100);
  clock.advance(100);
  assert(link.sent.length > 100);
});

Deno.test(
  "a message without PUBACK for a minute is sent again on the same link, as if for the first time",
  pure,
  () => {
    const { clock, spool, publisher, link, publishMany, up } = setUp();
    up();
    publishMany(0, 3);
    link.answer("0");
    link.answer("2");
    clock.advance(59_999);
    assertEquals(link.texts, ["0", "1", "2"]);
    clock.advance(1);
    assertEquals(link.sent.map(({ dup }) => dup), [false, false, false, false]);
    assertEquals([link.open, link.renewals], [["1", "1"], []]);
    link.answer();
    assertEquals([spool.stats().messages, spool.stats().quarantined], [0, []]);
    assertEquals([publisher.counters.acknowledged, publisher.inFlight], [3, 0]);
    assertEquals(publisher.congestion.resent, 1);
    clock.advance(3_600_000);
    assertEquals([link.texts.length, link.renewals, clock.timers], [4, [], 0]);
  },
);

Deno.test(
  "a message that is acknowledged late, while it waits to be sent again, is not sent",
  pure,
  () => {
    const { clock, spool, publisher, link, publish, up } = setUp({
      limits: { count: 1, bytes: 1e6, windowMs: 100_000 },
    });
    up();
    const reply = publish("slow", 1, { ack: true });
    publish("next");
    clock.advance(60_000);
    assertEquals(link.texts, ["slow"]);
    link.answer();
    assertEquals([reply.is, spool.stats().messages], [`${BusErrorCode.TIMEOUT}`, 1]);
    link.auto = () => OK;
    clock.advance(200_000);
    assertEquals([link.texts, spool.stats().messages], [["slow", "next"], 0]);
    assertEquals([publisher.counters.acknowledged, publisher.inFlight], [2, 0]);
  },
);

Deno.test(
  "a late PUBACK settles a message that is under way again, and its second PUBACK nothing",
  pure,
  () => {
    const { clock, spool, gate, publisher, publish } = setUp();
    const { held, link } = heldLink();
    gate.up(link);
    publisher.up(link, 100);
    publish("a");
    clock.advance(60_000);
    assertEquals([held.length, spool.stats().messages], [2, 1]);
    held[0]!(OK);
    assertEquals([spool.stats().messages, publisher.inFlight], [0, 0]);
    held[1]!({ code: 0x87, reason: "" });
    const { acknowledged, refusedByBroker } = publisher.counters;
    assertEquals([acknowledged, refusedByBroker], [1, 0]);
  },
);

Deno.test("a PUBACK cannot be overdue while the message is still being written", pure, () => {
  const { clock, publisher, link, publishMany, up } = setUp();
  up();
  publishMany(0, 1);
  link.buffered = 1;
  clock.advance(60_000);
  assertEquals(publisher.congestion.overdue, 0);
  link.buffered = 0;
  clock.advance(1_000);
  assertEquals(publisher.congestion.overdue, 1);
});

Deno.test(
  "a link on which nothing is acknowledged for a minute is renewed, after a random wait",
  pure,
  () => {
    const { clock, spool, link, publishMany, lose, up } = setUp();
    up();
    publishMany(0, 3);
    // The random numbers are all 0.5.
    clock.advance(89_999);
    assertEquals(link.renewals, []);
    clock.advance(1);
    assertEquals(link.renewals.length, 1);
    lose({ by: "local", reason: "closed here" });
    up();
    link.auto = () => OK;
    link.answer();
    clock.advance(60_000);
    assertEquals(spool.stats().messages, 0);
  },
);

Deno.test(
  "messages that are lost slow sending down, QoS 0 as well, and the log says so once",
  pure,
  () => {
    const { clock, log, publisher, link, publish, up, widen } = setUp();
    up();
    widen();
    assertEquals([publisher.throttledBy, publisher.congestion.perSecond], [undefined, undefined]);
    publish("lost");
    link.discard("lost");
    clock.advance(5_000);
    // The last were acknowledged at one a second.
    assertEquals(publisher.congestion.perSecond, 1 / 2);
    link.sent.length = 0;
    for (let number = 0; number < 100; number++) publish(`${number}`, number % 2 === 0 ? 0 : 1);
    assertEquals(publisher.throttledBy, "account");
    link.auto = () => OK;
    clock.advance(20_000);
    // Ten at a message in two seconds, and some more as PUBACKs come.
    assert(link.sent.length >= 10 && link.sent.length < 20, `${link.sent.length} were sent`);
    for (let turn = 0; turn < 600; turn++) clock.advance(1_000);
    assertEquals([publisher.throttledBy, link.sent.length], [undefined, 101]);
    for (let turn = 0; turn < 2_000; turn++) {
      publish("more");
      clock.advance(1_000);
    }
    const said = log.lines.map(({ level, text }) => `${level} ${/slowed down/.test(text)}`);
    assertEquals(said, ["warn true", "info true"]);
  },
);

Deno.test(
  "what keeps messages waiting is said: the account, the rate limit or the window",
  pure,
  () => {
    const limited = setUp({ limits: { count: 1, bytes: 1e6, windowMs: 1_000 } });
    limited.up();
    limited.publishMany(0, 2);
    assertEquals(limited.publisher.throttledBy, "rate limit");

    const full = setUp();
    full.up();
    full.publishMany(0, 4);
    assertEquals(full.publisher.throttledBy, undefined);
    full.publishMany(4, 5);
    assertEquals(full.publisher.throttledBy, "broker window");
    full.link.answer("0", { code: 0x97, reason: "" });
    assertEquals(full.publisher.throttledBy, "account");
    full.lose();
    assertEquals(full.publisher.throttledBy, undefined);
  },
);

Deno.test("no second holds more than 512 KiB", pure, () => {
  const { clock, link, publish, up } = setUp({ limits: AWS_RATE_LIMITS, maxBytes: 10_000_000 });
  link.auto = () => OK;
  up();
  for (let number = 0; number < 20; number++) publish("x".repeat(131_072));
  for (let turn = 0; turn < 200; turn++) clock.advance(50);
  assertEquals(link.sent.length, 20);
  for (const [index, { at }] of link.sent.entries()) {
    // Four of them with their topics are more than 512 KiB.
    const before = link.sent[index - 3];
    if (before !== undefined) assert(at - before.at > 1_000);
  }
});

Deno.test("what arrives counts for the rate as well, but never takes all of it", pure, () => {
  const { clock, publisher, link, publishMany, up } = setUp({ limits: AWS_RATE_LIMITS });
  link.auto = () => OK;
  up();
  for (let number = 0; number < 60; number++) publisher.arrived("t", 10);
  publishMany(0, 100);
  clock.advance(1_099);
  assertEquals(link.sent.length, 40);
  for (let second = 0; second < 10; second++) {
    for (let number = 0; number < 1_000; number++) publisher.arrived("t", 10);
    clock.advance(1_100);
  }
  assertEquals(link.sent.length, 100);
});

Deno.test("both queues get their turn when the rate is short", pure, () => {
  const { clock, link, publish, up } = setUp({
    limits: { count: 2, bytes: 1_000_000, windowMs: 1_000 },
  });
  link.auto = () => OK;
  up();
  for (let number = 0; number < 10; number++) publish(`zero ${number}`, 0);
  for (let number = 0; number < 10; number++) publish(`one ${number}`, 1);
  clock.advance(3_000);
  assertEquals(link.texts.slice(1), ["one 0", "zero 1", "one 1", "zero 2", "one 2", "zero 3"]);
});

Deno.test(
  "a QoS 0 message that waits when the link breaks is sent after the reconnect",
  pure,
  () => {
    const { clock, link, publish, lose, up } = setUp({
      limits: { count: 1, bytes: 1_000_000, windowMs: 1_000 },
    });
    up();
    publish("a", 0);
    publish("b", 0);
    lose();
    clock.advance(5_000);
    assertEquals(link.texts, ["a"]);
    up();
    clock.advance(HEAD_START_MS);
    assertEquals(link.texts, ["a", "b"]);
  },
);

Deno.test("more QoS 0 than may wait is refused with NOMEM", pure, () => {
  const { queue, publish, up } = setUp({ limits: AWS_RATE_LIMITS });
  up();
  const answers = new Set<string>();
  for (let number = 0; number < 50; number++) answers.add(publish("x".repeat(131_072), 0).is);
  assertEquals([...answers], ["ok", `${BusErrorCode.NOMEM}`]);
  assertLessOrEqual(queue.bytes, 4_194_304);
});

Deno.test(
  "ack=broker is answered by the PUBACK: with REMOTE and the reason when the broker refuses",
  pure,
  () => {
    const { link, publish, spool, up } = setUp();
    up();
    const [good, bad, other] = [
      publish("good", 1, { ack: true }),
      publish("bad", 1, { ack: true }),
      publish("other"),
    ];
    assertEquals([good.is, bad.is, other.is], ["asked", "asked", "ok"]);
    link.answer("good", { code: 0x10, reason: "" });
    link.answer("bad", { code: 0x87, reason: "Not authorized" });
    assertEquals([good.is, bad.is], ["ok", `${BusErrorCode.REMOTE} Not authorized`]);
    assertEquals(spool.stats().messages, 1);
  },
);

Deno.test(
  "ack=broker is answered with TIMEOUT after 30 s, and the message stays spooled",
  pure,
  () => {
    const { clock, spool, publish } = setUp();
    const reply = publish("a", 1, { ack: true });
    clock.advance(29_999);
    assertEquals(reply.is, "asked");
    clock.advance(1);
    assertEquals([reply.is, spool.stats().messages], [`${BusErrorCode.TIMEOUT}`, 1]);
  },
);

Deno.test(
  "a message that the broker refuses is given up and counted; the log has its size, not its topic",
  pure,
  () => {
    const { log, publisher, spool, link, publish, up } = setUp();
    up();
    publish("a");
    link.answer("a", { code: 0x99, reason: "Payload format invalid" });
    assertEquals([spool.stats().messages, publisher.counters.refusedByBroker], [0, 1]);
    const [line] = log.lines.filter(({ level }) => level === "warn");
    assertEquals([line!.fields.reason, line!.fields.topic_length, line!.fields.topic], [
      "Payload format invalid",
      1,
      undefined,
    ]);
  },
);

Deno.test(
  "quota exceeded (0x97) slows sending down; the messages go again, in order and not as duplicates",
  pure,
  () => {
    const { clock, log, publisher, link, publishMany, up, widen } = setUp();
    up();
    widen();
    publishMany(0, 5);
    for (const text of ["1", "2", "3"]) link.answer(text, { code: 0x97, reason: "Quota exceeded" });
    link.answer("0");
    publishMany(5, 6);
    assertEquals(link.texts, numbers(0, 5));
    assertEquals(publisher.congestion.turnedAway, 3);
    link.sent.length = 0;
    link.auto = () => OK;
    clock.advance(4_000);
    assertEquals(link.texts, ["1", "2"]);
    clock.advance(4_000);
    assertEquals(link.texts, ["1", "2", "3", "5"]);
    assertEquals(link.sent.some(({ dup }) => dup), false);
    assertEquals(log.lines.filter(({ level }) => level === "warn").length, 1);
  },
);

Deno.test("message_expiry is passed on with what is left of it, in whole seconds", pure, () => {
  const { clock, link, publish, up } = setUp();
  publish("a", 1, { expiry: 100 });
  publish("b");
  clock.advance(30_500);
  up();
  publish("c", 0, { expiry: 7 });
  assertEquals(link.sent.map(({ messageExpiry }) => messageExpiry), [70, undefined, 7]);
});

Deno.test("a message that expires before its turn comes is not sent, and counted", pure, () => {
  const { clock, publisher, spool, link, publish, up } = setUp({
    limits: { count: 1, bytes: 1_000_000, windowMs: 5_000 },
  });
  link.auto = () => OK;
  up();
  publish("a");
  publish("b", 1, { expiry: 2 });
  publish("zero", 0, { expiry: 2 });
  publish("c");
  clock.advance(20_000);
  assertEquals([link.texts, spool.stats().messages], [["a", "c"], 0]);
  assertEquals(publisher.counters.expired + spool.stats().expired, 2);
});

Deno.test(
  "draining ends when everything was acknowledged, with the time, or with the link",
  pure,
  async () => {
    const drained = async (act: (all: ReturnType<typeof setUp>) => void): Promise<number> => {
      const all = setUp({ maxInFlight: 1 });
      all.up();
      all.publishMany(0, 3);
      const done = all.publisher.drain(3_000, true).then(() => all.clock.now());
      all.clock.advance(1_000);
      act(all);
      return await done;
    };
    assertEquals(
      await drained(({ link }) => [0, 1, 2].forEach((text) => link.answer(`${text}`))),
      1_000,
    );
    assertEquals(await drained(({ lose }) => lose()), 1_000);
    assertEquals(await drained(({ clock }) => clock.advance(2_000)), 3_000);
  },
);

Deno.test(
  "draining what a disk keeps waits only for what is in flight, and sends no more of it",
  pure,
  async () => {
    const { link, publisher, publishMany, up } = setUp({ maxInFlight: 2 });
    up();
    publishMany(0, 5);
    const done = publisher.drain(3_000, false);
    link.answer("0");
    link.answer("1");
    await done;
    assertEquals(link.texts, ["0", "1"]);
  },
);

Deno.test("stopping answers who waits for a PUBACK and leaves no timer", pure, () => {
  const { clock, gate, publisher, waiters, publish, up } = setUp({ limits: AWS_RATE_LIMITS });
  up();
  const reply = publish("a", 1, { ack: true });
  for (let number = 0; number < 200; number++) publish("b", 0);
  publisher.stop();
  waiters.stop();
  gate.stop();
  assertEquals([reply.is, clock.timers], [`${BusErrorCode.NOCONN}`, 0]);
});

Deno.test("an overdue message gives its place in the window to the next", pure, () => {
  const { clock, link, publish, publishMany, up } = setUp();
  publish("lost");
  up();
  link.discard("lost");
  publishMany(0, 10);
  assertEquals(link.texts, ["lost", "0", "1", "2"]);
  clock.advance(10_000);
  assertEquals(link.texts.length > 4, true);
});

Deno.test("two PUBACKs of one message before it is removed from the disk count once", pure, () => {
  const { clock, spool, gate, publisher, publish } = setUp();
  const { held, link } = heldLink();
  let removals = 0;
  spool.settled = () => void removals++;
  gate.up(link);
  publisher.up(link, 100);
  publish("a");
  clock.advance(60_000);
  for (const done of held) done(OK);
  assertEquals([held.length, removals, publisher.counters.acknowledged], [2, 1, 1]);
});

Deno.test("when PUBACKs were only late, sending goes on at once", pure, () => {
  const { clock, publisher, link, publishMany, up } = setUp();
  up();
  publishMany(0, 30);
  // By now the next message waits for the better part of a minute.
  clock.advance(58_000);
  assert(link.sent.length < 20, `${link.sent.length} were sent`);
  assertEquals(publisher.throttledBy, "account");
  link.auto = () => OK;
  link.answer();
  clock.advance(1);
  assertEquals([link.sent.length, publisher.throttledBy], [30, undefined]);
});

Deno.test(
  "each message is overdue after its own 5 s, though an older one waits to be sent again",
  pure,
  () => {
    const { clock, publisher, publish, up } = setUp();
    up();
    publish("first");
    clock.advance(10_000);
    publish("second");
    clock.advance(4_999);
    assertEquals(publisher.congestion.overdue, 1);
    clock.advance(1);
    assertEquals(publisher.congestion.overdue, 2);
  },
);
