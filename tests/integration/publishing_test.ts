/** Publishing to a broker that refuses, delays, closes and comes back. */

import {
  assert,
  assertEquals,
  assertLessOrEqual,
  assertRejects,
  assertStringIncludes,
} from "../deps.ts";
import { BusError, BusErrorCode } from "../../src/base/errors.ts";
import { type AwsIotCore, startAwsIotCore } from "../support/aws_iot_core.ts";
import {
  connected,
  listenToStatus,
  publish,
  publishParams,
  startTestDaemon,
  untilConnected,
} from "../support/daemon.ts";
import { waitFor, within } from "../support/wait.ts";

function payloads(core: AwsIotCore): string[] {
  return core.published.map(({ payload }) => new TextDecoder().decode(payload));
}

/** Publishes numbers at QoS 1, in order, over one connection. */
async function publishNumbers(socket: string, from: number, to: number): Promise<void> {
  await using client = await connected(socket);
  const calls: Promise<unknown>[] = [];
  for (let number = from; number < to; number++) {
    calls.push(
      client.call("publish", publishParams({ topic: "numbers", payload: `${number}`, qos: 1 })),
    );
  }
  await Promise.all(calls);
}

function numbers(from: number, to: number): string[] {
  return Array.from({ length: to - from }, (_, index) => `${from + index}`);
}

Deno.test("what was accepted while the link was down is sent in order when it is back, before anything new", async () => {
  await using core = await startAwsIotCore();
  await using daemon = await startTestDaemon(core);
  await using status = await listenToStatus(daemon.socket);
  await status.until(true);
  await publishNumbers(daemon.socket, 0, 20);
  await core.close();
  await status.until(false);
  await publishNumbers(daemon.socket, 20, 60);
  await core.reopen();
  await status.until(true);
  await publishNumbers(daemon.socket, 60, 80);
  await waitFor("80 messages", () => core.published.length >= 80);
  assertEquals([payloads(core), core.violations], [numbers(0, 80), []]);
});

Deno.test("what was sent and not acknowledged is sent again after a reconnect, in order, as a duplicate", async () => {
  await using core = await startAwsIotCore();
  await using daemon = await startTestDaemon(core);
  await untilConnected(daemon.socket);
  // Ten PUBACKs let more than the first four be on their way together.
  for (let i = 0; i < 10; i++) await publish(daemon.socket, { topic: "t", qos: 1, ack: "broker" });
  core.behaviour.ackPublish = "never";
  await publishNumbers(daemon.socket, 0, 10);
  await waitFor("10 messages", () => core.published.length === 20);
  core.behaviour.ackPublish = "auto";
  await core.dropLinks();
  await waitFor("them again", () => core.published.length >= 30);
  assertEquals(payloads(core).slice(10), [...numbers(0, 10), ...numbers(0, 10)]);
  assertEquals(
    core.published.slice(10).map(({ dup }) => dup),
    [...Array(10).fill(false), ...Array(10).fill(true)],
  );
});

Deno.test("no more than maxInFlight messages are without a PUBACK", async () => {
  await using core = await startAwsIotCore();
  await using daemon = await startTestDaemon(core, { maxInFlight: "7" });
  await untilConnected(daemon.socket);
  for (let i = 0; i < 10; i++) await publish(daemon.socket, { topic: "t", qos: 1, ack: "broker" });
  core.behaviour.ackPublish = "never";
  await publishNumbers(daemon.socket, 0, 20);
  await waitFor("7 messages", () => core.published.length === 17);
  // QoS 0 is not held up by them, and shows that nothing else of QoS 1 was sent before it.
  await publish(daemon.socket, { topic: "zero", payload: "zero", qos: 0 });
  await waitFor("the QoS 0 message", () => core.published.length === 18);
  assertEquals(payloads(core).slice(10), [...numbers(0, 7), "zero"]);
  core.behaviour.ackPublish = "auto";
  core.releaseAcks();
  await waitFor("the rest", () => core.published.length === 31);
  assertEquals(core.violations, []);
});

Deno.test("ack=broker is answered after PUBACK, or with REMOTE and the broker's reason", async () => {
  await using core = await startAwsIotCore({
    behaviour: {
      ackPublish: "never",
      refusePublish: (topic) => topic === "forbidden" ? 0x87 : undefined,
    },
  });
  await using daemon = await startTestDaemon(core);
  await untilConnected(daemon.socket);
  let answered = false;
  const waiting = publish(daemon.socket, { topic: "allowed", qos: 1, ack: "broker" })
    .finally(() => answered = true);
  await waitFor("the message", () => core.published.length === 1);
  // Answered after the spool had it: the answer to the other would have come by now.
  assertEquals(await publish(daemon.socket, { topic: "allowed", qos: 1, ack: "accepted" }), null);
  assertEquals(answered, false);
  core.behaviour.ackPublish = "auto";
  core.releaseAcks();
  assertEquals(await within("the answer", waiting), null);

  const refusal = await assertRejects(
    () => publish(daemon.socket, { topic: "forbidden", qos: 1, ack: "broker" }),
    BusError,
  );
  assertEquals([refusal.code, refusal.reason], [BusErrorCode.REMOTE, "Not authorized"]);
  for (const [ack, qos] of [["broker", 0], ["sometimes", 1]] as const) {
    const wrong = await assertRejects(
      () => publish(daemon.socket, { topic: "allowed", qos, ack }),
      BusError,
    );
    assertEquals(wrong.code, BusErrorCode.INVALID);
  }
});

Deno.test("a message that the broker refuses is given up and logged without its topic, and the rest goes on", async () => {
  await using core = await startAwsIotCore({
    behaviour: { refusePublish: (topic) => topic === "forbidden" ? 0x87 : undefined },
  });
  await using daemon = await startTestDaemon(core);
  await untilConnected(daemon.socket);
  await publish(daemon.socket, { topic: "forbidden", payload: "secret", qos: 1 });
  await publish(daemon.socket, { topic: "allowed", qos: 1, ack: "broker" });
  const said = daemon.log.lines.filter(({ level }) => level !== "debug")
    .map(({ text, fields }) => `${text} ${JSON.stringify(fields)}`).join("\n");
  assertStringIncludes(said, "Not authorized");
  assertEquals(/forbidden|secret/.test(said), false);
});

Deno.test("a message that closes the connection each time is put in quarantine, and all others arrive", async () => {
  await using core = await startAwsIotCore({
    behaviour: { refusePublish: (topic) => topic === "poison" ? "close" : undefined },
  });
  await using daemon = await startTestDaemon(core);
  await untilConnected(daemon.socket);
  await publishNumbers(daemon.socket, 0, 5);
  await publish(daemon.socket, { topic: "poison", payload: "poison", qos: 1 });
  await publishNumbers(daemon.socket, 5, 10);
  await waitFor("all others", () => new Set(payloads(core)).size === 10, 30_000);
  await waitFor(
    "quarantine",
    () =>
      daemon.log.lines.some(({ level, text }) => level === "error" && text.includes("quarantine")),
    30_000,
  );
  await untilConnected(daemon.socket);
  // One with others in flight, two alone; and then no more.
  const closes = core.accepted.length - 1;
  assertEquals(closes, 3);
  await publish(daemon.socket, { topic: "after", payload: "after", qos: 1, ack: "broker" });
  assertEquals([core.accepted.length - 1, payloads(core).includes("poison")], [closes, false]);
});

Deno.test("a refused topic is tried again at once after the method reconnect", async () => {
  let isForbidden = true;
  await using core = await startAwsIotCore({
    behaviour: {
      refusePublish: (topic) => isForbidden && topic === "poison" ? "close" : undefined,
    },
  });
  await using daemon = await startTestDaemon(core);
  await untilConnected(daemon.socket);
  await publish(daemon.socket, { topic: "poison", payload: "first", qos: 1 });
  const refused = async (): Promise<BusError | undefined> => {
    try {
      await publish(daemon.socket, { topic: "poison", payload: "second", qos: 0 });
    } catch (error) {
      if (error instanceof BusError) return error;
      throw error;
    }
    return undefined;
  };
  await waitFor("a refusal", async () => (await refused())?.code === BusErrorCode.REMOTE, 20_000);
  isForbidden = false;
  const links = core.sent("connack").length;
  {
    await using client = await connected(daemon.socket);
    await client.call("reconnect", new Map());
  }
  await waitFor("another link", () => core.sent("connack").length > links);
  await untilConnected(daemon.socket);
  assertEquals(await refused(), undefined);
  await waitFor("the message", () => payloads(core).includes("second"));
});

Deno.test("a broker whose quota is exceeded (0x97) gets the messages again, more slowly", async () => {
  let refusals = 3;
  await using core = await startAwsIotCore({
    behaviour: { refusePublish: () => refusals-- > 0 ? 0x97 : undefined },
  });
  await using daemon = await startTestDaemon(core);
  await untilConnected(daemon.socket);
  const started = performance.now();
  await publishNumbers(daemon.socket, 0, 3);
  await waitFor("3 messages", () => core.published.length === 3);
  assert(performance.now() - started > 900, "it was not slowed down");
  assertEquals(payloads(core), numbers(0, 3));
});

Deno.test("message_expiry is passed on with what is left of it", async () => {
  await using core = await startAwsIotCore();
  await using daemon = await startTestDaemon(core);
  await untilConnected(daemon.socket);
  await publish(daemon.socket, { topic: "a", qos: 1, messageExpiry: 3_600 });
  await publish(daemon.socket, { topic: "b", qos: 0, messageExpiry: 60 });
  await publish(daemon.socket, { topic: "c", qos: 1 });
  await waitFor("3 messages", () => core.published.length === 3);
  const expiries = Object.fromEntries(
    core.published.map(({ topic, properties }) => [topic, properties.messageExpiryInterval]),
  );
  assert([3_600, 3_599].includes(expiries.a!), `${expiries.a}`);
  assert([60, 59].includes(expiries.b!), `${expiries.b}`);
  assertEquals(expiries.c, undefined);
});

Deno.test("a message that expires while the link is down is never sent", async () => {
  await using core = await startAwsIotCore();
  await using daemon = await startTestDaemon(core);
  await using status = await listenToStatus(daemon.socket);
  await status.until(true);
  await core.close();
  await status.until(false);
  await publish(daemon.socket, { topic: "short", qos: 1, messageExpiry: 1 });
  await publish(daemon.socket, { topic: "long", qos: 1 });
  const accepted = performance.now();
  await waitFor("its time to be over", () => performance.now() - accepted > 1_050);
  await core.reopen();
  await waitFor("the other", () => core.published.length > 0);
  assertEquals(core.published.map(({ topic }) => topic), ["long"]);
});

Deno.test("QoS 0 is kept while the link is down only with --keep-qos0-when-offline", async () => {
  await using core = await startAwsIotCore();
  await using keeping = await startTestDaemon(core, { keepQos0WhenOffline: "true" });
  await using status = await listenToStatus(keeping.socket);
  await status.until(true);
  await core.close();
  await status.until(false);
  await publish(keeping.socket, { topic: "zero", payload: "kept", qos: 0 });
  await core.reopen();
  await waitFor("it to arrive", () => core.published.length === 1);
  assertEquals(core.published.map(({ qos }) => qos), [0]);
});

Deno.test("stopping sends what waits in memory, and says how many were given up if it cannot", async () => {
  await using core = await startAwsIotCore();
  await using daemon = await startTestDaemon(core);
  await untilConnected(daemon.socket);
  await publishNumbers(daemon.socket, 0, 150);
  await daemon.daemon.stop();
  assertEquals(payloads(core), numbers(0, 150));

  await using other = await startTestDaemon(core, { id: "other" });
  await untilConnected(other.socket);
  core.behaviour.ackPublish = "never";
  await publishNumbers(other.socket, 0, 3);
  const started = performance.now();
  await other.daemon.stop();
  assertLessOrEqual(performance.now() - started, 5_000);
  const line = other.log.lines.find(({ text }) => text.includes("given up"));
  assertEquals(line?.fields.messages, 3);
});
