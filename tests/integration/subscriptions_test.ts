/** Many subscriptions over few connections to a broker that enforces its limits. */

import { assert, assertEquals, assertLess, assertRejects, assertStringIncludes } from "../deps.ts";
import { BusError, BusErrorCode } from "../../src/base/errors.ts";
import { type AwsIotCore, startAwsIotCore } from "../support/aws_iot_core.ts";
import {
  listen,
  type Listener,
  listenSoon,
  listenToStatus,
  publish,
  startTestDaemon,
  type TestDaemon,
  untilConnected,
} from "../support/daemon.ts";
import { utf8 } from "../../src/base/bytes.ts";
import { connect } from "../../src/client/client.ts";
import { cSubscribe } from "../support/c_client.ts";
import { waitFor, within } from "../support/wait.ts";

/** Subscribes many clients, one filter each, at once. */
async function listenMany(
  stack: AsyncDisposableStack,
  socket: string,
  count: number,
  from = 0,
): Promise<Listener[]> {
  return await Promise.all(
    Array.from(
      { length: count },
      async (_, index) => stack.use(await listen(socket, `many/${from + index}`)),
    ),
  );
}

/** What each session holds, by client id. */
function sizes(core: AwsIotCore): Record<string, number> {
  return Object.fromEntries(
    core.sessions.map(({ clientId, subscriptions }) => [clientId, subscriptions.length]),
  );
}

/** Publishes to each listener and waits until each has got just that. */
async function reachEach(core: AwsIotCore, listeners: readonly Listener[], text: string) {
  for (const index of listeners.keys()) core.publish(`many/${index}`, `${text} ${index}`, 1);
  await waitFor(
    `${listeners.length} messages`,
    () => listeners.every((listener, index) => listener.texts().at(-1) === `${text} ${index}`),
  );
}

function warnings({ log }: TestDaemon): string {
  return log.lines.filter(({ level }) => level === "warn")
    .map(({ text, fields }) => `${text} ${JSON.stringify(fields)}`).join("\n");
}

Deno.test("130 filters with a ceiling of 3 are 50 on thing, 50 on thing_1 and 30 on thing_2 (iotcored-5, iotcored-6, iotcored-param-id-1)", async () => {
  await using core = await startAwsIotCore();
  await using daemon = await startTestDaemon(core, { ceiling: 3 });
  await using stack = new AsyncDisposableStack();
  await untilConnected(daemon.socket);
  const listeners = await listenMany(stack, daemon.socket, 130);
  assertEquals(sizes(core), { thing: 50, thing_1: 50, thing_2: 30 });
  await reachEach(core, listeners, "to");
  assertEquals(listeners.map(({ messages }) => messages.length), Array(130).fill(1));
  for (const { packet } of core.received("subscribe")) {
    assert(packet.subscriptions.length <= 8, `${packet.subscriptions.length} filters in a packet`);
  }
  assertEquals(core.violations, []);
});

Deno.test("with a ceiling of 1 the 51st filter is NOMEM with a logged explanation, and the 50 still work (iotcored-6)", async () => {
  await using core = await startAwsIotCore();
  await using daemon = await startTestDaemon(core);
  await using stack = new AsyncDisposableStack();
  await untilConnected(daemon.socket);
  const listeners = await listenMany(stack, daemon.socket, 50);
  const refusal = await assertRejects(() => listen(daemon.socket, "one/more"), BusError);
  assertEquals(refusal.code, BusErrorCode.NOMEM);
  assertStringIncludes(warnings(daemon), "50 subscriptions");
  await reachEach(core, listeners, "to");

  // A filter that somebody has takes no room, and one that is left makes room.
  stack.use(await listen(daemon.socket, "many/7"));
  await listeners[0]!.close();
  stack.use(await listen(daemon.socket, "one/more"));
  assertEquals([sizes(core), core.violations], [{ thing: 50 }, []]);
});

Deno.test("after a link was cut, 150 subscriptions are made again before a client sees true, in packets of at most 8, paced", async () => {
  await using core = await startAwsIotCore();
  await using daemon = await startTestDaemon(core, { ceiling: 3, mqttVersion: "3.1.1" });
  await using stack = new AsyncDisposableStack();
  await untilConnected(daemon.socket);
  const listeners = await listenMany(stack, daemon.socket, 150);
  await using status = await listenToStatus(daemon.socket);
  await core.close();
  await status.until(false);
  core.clearRecords();
  let atTrue: Record<string, number> | undefined;
  await core.reopen();
  await waitFor("connection_status to be true", () => {
    if (status.heard.at(-1) === true) atTrue ??= sizes(core);
    return atTrue;
  });
  assertEquals(atTrue, { thing: 50, thing_1: 50, thing_2: 50 });
  for (const clientId of ["thing", "thing_1", "thing_2"]) {
    const packets = core.received("subscribe", clientId);
    assertEquals(packets.map(({ packet }) => packet.subscriptions.length), [8, 8, 8, 8, 8, 8, 2]);
  }
  await reachEach(core, listeners, "again to");
  assertEquals(core.violations, []);
});

Deno.test("SUBSCRIBE and UNSUBSCRIBE packets are paced: at most 20 in a second of one connection", async () => {
  await using core = await startAwsIotCore();
  await using daemon = await startTestDaemon(core, { mqttVersion: "5" });
  await using stack = new AsyncDisposableStack();
  await untilConnected(daemon.socket);
  // One after the other, so that each has a packet of its own.
  for (let index = 0; index < 12; index++) {
    await using passing = await listen(daemon.socket, `passing/${index}`);
    await passing.close();
  }
  stack.use(await listen(daemon.socket, "last"));
  const times = [...core.received("subscribe"), ...core.received("unsubscribe")]
    .map(({ at }) => at).sort((a, b) => a - b);
  for (const [index, at] of times.entries()) {
    const before = times[index - 20];
    if (before !== undefined) assert(at - before > 900, `21 packets within ${at - before} ms`);
  }
  assertEquals(times.length, 25);
});

Deno.test("two clients with the same filter are one SUBSCRIBE; one leaves: no UNSUBSCRIBE; both leave: one", async () => {
  await using core = await startAwsIotCore();
  await using daemon = await startTestDaemon(core);
  await untilConnected(daemon.socket);
  await using first = await listen(daemon.socket, "same/+");
  await using second = await listen(daemon.socket, "same/+");
  core.publish("same/1", "to both");
  await waitFor("both to get it", () => first.messages.length + second.messages.length === 2);
  assertEquals(core.received("subscribe").length, 1);

  await first.close();
  core.publish("same/1", "to the second");
  await waitFor("the second to get it", () => second.messages.length === 2);
  // A SUBSCRIBE that is answered shows that no UNSUBSCRIBE was on its way before it.
  await using _other = await listen(daemon.socket, "other");
  assertEquals(core.received("unsubscribe").length, 0);

  await second.close();
  await waitFor("the UNSUBSCRIBE", () => core.received("unsubscribe").length === 1);
  await waitFor("the broker to have forgotten it", () => sizes(core).thing === 1);
  assertEquals(first.texts(), ["to both"]);
});

Deno.test("a broker that refuses thing_1: NOMEM at once, one log line that names the policy, and the 50 still work", async () => {
  await using core = await startAwsIotCore({
    behaviour: { refuseConnect: (clientId) => clientId === "thing" ? undefined : 0x87 },
  });
  await using daemon = await startTestDaemon(core, { ceiling: 3 });
  await using stack = new AsyncDisposableStack();
  await untilConnected(daemon.socket);
  const listeners = await listenMany(stack, daemon.socket, 50);
  for (const filter of ["one/more", "and/another"]) {
    const refusal = await assertRejects(() => listen(daemon.socket, filter), BusError);
    assertEquals(refusal.code, BusErrorCode.NOMEM);
  }
  const said = warnings(daemon).split("\n").filter((line) => line.includes("policy"));
  assertEquals(said.length, 1, said.join("\n"));
  assertEquals(core.received("connect").map(({ packet }) => packet.clientId), ["thing", "thing_1"]);
  await reachEach(core, listeners, "to");
});

for (const version of ["5", "3.1.1"] as const) {
  Deno.test(`a refused SUBACK is REMOTE with the broker's reason, and leaves nothing behind: MQTT ${version}`, async () => {
    await using core = await startAwsIotCore({
      behaviour: { refuseSubscribe: (filter) => filter === "forbidden" ? 0x87 : undefined },
    });
    await using daemon = await startTestDaemon(core, { mqttVersion: version });
    await untilConnected(daemon.socket);
    const listener = listenSoon(daemon.socket, ["allowed", "forbidden"]);
    const refusal = await assertRejects(() => listener.accepted, BusError);
    assertEquals(refusal.code, BusErrorCode.REMOTE);
    assertStringIncludes(refusal.reason!, version === "5" ? "Not authorized" : "");
    assert(refusal.reason !== "");
    await waitFor("the other filter to be left", () => sizes(core).thing === 0);
    assertEquals(warnings(daemon).includes("forbidden"), false);
    assertEquals(core.connections.length, 1);
  });
}

Deno.test("a subscription that is refused on reconnect closes that subscriber's socket and no other", async () => {
  await using core = await startAwsIotCore();
  await using daemon = await startTestDaemon(core, { mqttVersion: "3.1.1" });
  await untilConnected(daemon.socket);
  await using doomed = await listen(daemon.socket, "doomed");
  await using fine = await listen(daemon.socket, "fine");
  core.behaviour.refuseSubscribe = (filter) => filter === "doomed" ? 0x80 : undefined;
  await core.dropLinks();
  await doomed.closed;
  await untilConnected(daemon.socket);
  core.publish("fine", "still there");
  await waitFor("the other to get it", () => fine.messages.length === 1);
});

Deno.test("a client that leaves while its SUBSCRIBE is under way leaves nothing behind", async () => {
  await using core = await startAwsIotCore({ behaviour: { subackDelayMs: 100 } });
  await using daemon = await startTestDaemon(core);
  await untilConnected(daemon.socket);
  const leaving = listenSoon(daemon.socket, "left/behind");
  await waitFor("the SUBSCRIBE", () => core.received("subscribe").length === 1);
  await leaving.close();
  await waitFor("the UNSUBSCRIBE", () => core.received("unsubscribe").length === 1);
  await waitFor("the filter to be gone", () => sizes(core).thing === 0);
});

Deno.test("with MQTT 5 the session is resumed: QoS 1 messages of a short outage reach their subscribers, each once", async () => {
  await using core = await startAwsIotCore();
  await using daemon = await startTestDaemon(core);
  await untilConnected(daemon.socket);
  await using one = await listen(daemon.socket, "outage/1");
  await using both = await listen(daemon.socket, ["outage/1", "outage/2"]);
  await using none = await listen(daemon.socket, "elsewhere");
  await using status = await listenToStatus(daemon.socket);
  await core.close();
  await status.until(false);
  for (let index = 0; index < 20; index++) core.publish(`outage/${1 + index % 2}`, `${index}`, 1);
  await core.reopen();
  await status.until(true);
  await waitFor("the messages of the outage", () => both.messages.length >= 20);
  core.publish("elsewhere", "now");
  await waitFor("what comes after them", () => none.messages.length > 0);
  const all = Array.from({ length: 20 }, (_, index) => `${index}`);
  assertEquals(both.texts(), all);
  assertEquals(one.texts(), all.filter((_, index) => index % 2 === 0));
  assertEquals(none.texts(), ["now"]);
  const [, second] = core.received("connect");
  assertEquals([second?.packet.clean, core.sessions[0]?.inFlight], [false, 0]);
});

Deno.test("filters that overlap on two connections bring each message once to a subscription", async () => {
  await using core = await startAwsIotCore();
  await using daemon = await startTestDaemon(core, { ceiling: 2 });
  await using stack = new AsyncDisposableStack();
  await untilConnected(daemon.socket);
  await listenMany(stack, daemon.socket, 49);
  await using across = await listen(daemon.socket, ["over/#", "over/lap", "over/+"]);
  await using second = await listen(daemon.socket, "over/lap");
  await using virtual = await listen(daemon.socket, "over/lap", { virtual: true });
  assertEquals(sizes(core), { thing: 50, thing_1: 2 });
  for (const text of ["1", "2"]) core.publish("over/lap", text, 1);
  core.publish("over/lap/deep", "3", 1);
  core.publish("many/0", "last");
  await waitFor(
    "the copies to arrive",
    () => core.sent("publish").filter(({ packet }) => packet.topic.startsWith("over")).length === 5,
  );
  await waitFor("the messages", () => across.messages.length >= 3 && second.messages.length >= 2);
  // One more round, behind which nothing of the first can be on its way.
  core.publish("over/lap", "4", 1);
  await waitFor(
    "the last message",
    () => [across, second, virtual].every((listener) => listener.texts().at(-1) === "4"),
  );
  assertEquals(across.texts(), ["1", "2", "3", "4"]);
  assertEquals(second.texts(), ["1", "2", "4"]);
  assertEquals(virtual.texts(), ["1", "2", "4"]);
});

Deno.test("a SUBACK after 5 s is waited for 1 s by its client, and by nobody who publishes", async () => {
  await using core = await startAwsIotCore();
  await using daemon = await startTestDaemon(core);
  await untilConnected(daemon.socket);
  core.behaviour.subackDelayMs = 5_000;
  const asked = performance.now();
  await using listener = await listen(daemon.socket, "slow");
  assertLess(performance.now() - asked, 3_000);
  await publish(daemon.socket, { topic: "t", payload: "meanwhile", qos: 1 });
  await waitFor("the message", () => core.published.length === 1, 2_000);
  assertEquals(core.received("subscribe").length, 1);
  await waitFor("the SUBACK", () => core.connections[0]?.subscriptions.includes("slow"));
  core.publish("slow", "hello", 1);
  await waitFor("what was subscribed to", () => listener.texts().includes("hello"));
});

Deno.test("a SUBSCRIBE that is refused after 3 s closes the client that was accepted, and no other", async () => {
  await using core = await startAwsIotCore();
  await using daemon = await startTestDaemon(core);
  await untilConnected(daemon.socket);
  await using other = await listen(daemon.socket, "allowed");
  core.behaviour.subackDelayMs = 3_000;
  core.behaviour.refuseSubscribe = (filter) => filter === "forbidden" ? 0x87 : undefined;
  await using listener = await listen(daemon.socket, "forbidden");
  await within("the close", listener.closed, 10_000);
  assertStringIncludes(warnings(daemon), "the broker refused a subscription");
  core.publish("allowed", "hello", 1);
  await waitFor("the other's message", () => other.texts().includes("hello"));
});

Deno.test("a message larger than a C client takes is left out for it, and its subscription goes on", async () => {
  await using core = await startAwsIotCore();
  await using daemon = await startTestDaemon(core);
  await untilConnected(daemon.socket);
  await using client = await cSubscribe(
    daemon.socket,
    "subscribe",
    new Map([["topic_filter", utf8("in")]]),
  );
  await using library = await connect({ socket: daemon.socket });
  const messages = library.subscribe("in");
  await messages.accepted;
  for (const text of ["x".repeat(100_000), "small"]) core.publish("in", text, 1);
  await waitFor("the small one", () => client.got.length === 1);
  assertEquals(client.ended, undefined);
  const sizes: number[] = [];
  for await (const { payload } of messages) if (sizes.push(payload.length) === 2) break;
  assertEquals(sizes, [100_000, 5]);
  assertEquals((await library.status()).clients.too_large, 1);
});
