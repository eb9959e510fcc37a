/** What a broker says in CONNACK and in its answers, and what it keeps of a session. */

import { BusError, BusErrorCode } from "../../src/base/errors.ts";
import { type AwsIotCore, startAwsIotCore } from "../support/aws_iot_core.ts";
import { assert, assertEquals, assertRejects, assertStringIncludes } from "../deps.ts";
import {
  connected,
  listen,
  listenSoon,
  publish,
  startTestDaemon,
  type TestDaemon,
  untilConnected,
} from "../support/daemon.ts";
import { readStatus } from "../../src/status/codec.ts";
import type { Status } from "../../src/status/types.ts";
import { waitFor, within } from "../support/wait.ts";

const VERSIONS = ["5", "3.1.1"] as const;
const NUMBERS = Array.from({ length: 20 }, (_, number) => `${number}`);

async function statusOf({ socket }: TestDaemon): Promise<Status> {
  await using client = await connected(socket);
  return readStatus(await client.call("status", new Map()));
}

async function refusalOf(work: Promise<unknown>): Promise<BusError> {
  return await assertRejects(() => work, BusError);
}

/** Cuts the link and waits until another one stands. */
async function cut(core: AwsIotCore, daemon: TestDaemon): Promise<void> {
  const links = core.sent("connack").length;
  await core.dropLinks();
  await waitFor("another link", () => core.sent("connack").length > links);
  await untilConnected(daemon.socket);
}

function payloads(core: AwsIotCore): string[] {
  return core.published.map(({ payload }) => new TextDecoder().decode(payload));
}

for (const code of [0x95, 0xc3]) {
  Deno.test(`a PUBACK of 0x${code.toString(16)} gives its message up, and 20 others arrive on the same link`, async () => {
    await using core = await startAwsIotCore({
      behaviour: { refusePublish: (topic) => topic === "bad" ? code : undefined },
    });
    await using daemon = await startTestDaemon(core);
    await untilConnected(daemon.socket);
    const refused = refusalOf(publish(daemon.socket, { topic: "bad", qos: 1, ack: "broker" }));
    await Promise.all(
      NUMBERS.map((payload) => publish(daemon.socket, { topic: "good", payload, qos: 1 })),
    );
    assertEquals((await refused).code, BusErrorCode.REMOTE);
    await waitFor("the others", () => core.published.length === NUMBERS.length);
    assertEquals(core.sent("connack").length, 1);
    assertEquals((await statusOf(daemon)).publishes.refused_by_broker, 1);
  });
}

for (const version of VERSIONS) {
  Deno.test(`MQTT ${version}: a refused filter is REMOTE, whatever its code, and the link stays`, async () => {
    await using core = await startAwsIotCore({
      behaviour: { refuseSubscribe: (filter) => filter === "bad" ? 0xc3 : undefined },
    });
    await using daemon = await startTestDaemon(core, { mqttVersion: version });
    await untilConnected(daemon.socket);
    assertEquals((await refusalOf(listen(daemon.socket, "bad"))).code, BusErrorCode.REMOTE);
    await using good = await listen(daemon.socket, "good");
    core.publish("good", "x", 1);
    await waitFor("a message", () => good.messages.length === 1);
    assertEquals(core.sent("connack").length, 1);
  });
}

Deno.test("a packet that cannot be read ends the link, with its bytes in the debug log", async () => {
  await using core = await startAwsIotCore({ behaviour: { garbage: "after-connack" } });
  await using daemon = await startTestDaemon(core);
  const packet = await waitFor(
    "the bytes",
    () => daemon.log.lines.find(({ text }) => text === "the packet that broke the protocol"),
  );
  assertEquals(packet.level, "debug");
  assertStringIncludes(`${packet.fields?.bytes}`, "0f0f");
});

Deno.test("a message over Maximum Packet Size is RANGE; a spooled one is kept in quarantine, and others go on", async () => {
  await using core = await startAwsIotCore({
    behaviour: { connack: { maximumPacketSize: 2_000 } },
  });
  await using daemon = await startTestDaemon(core);
  await untilConnected(daemon.socket);
  const large = "x".repeat(2_000);
  for (const qos of [0, 1]) {
    const refusal = await refusalOf(publish(daemon.socket, { topic: "t", payload: large, qos }));
    assertEquals(refusal.code, BusErrorCode.RANGE);
  }
  await core.close();
  await untilConnected(daemon.socket, false);
  await publish(daemon.socket, { topic: "t", payload: "before", qos: 1 });
  await publish(daemon.socket, { topic: "t", payload: large, qos: 1 });
  await publish(daemon.socket, { topic: "t", payload: "behind", qos: 1 });
  await core.reopen();
  await waitFor("the others", () => core.published.length === 2);
  assertEquals(payloads(core), ["before", "behind"]);
  const { spool, connections } = await statusOf(daemon);
  assertEquals(spool.quarantined_messages, 1);
  assertStringIncludes(spool.quarantined[0]!.reason, "at most 2000 bytes");
  assertEquals(connections[0]!.max_packet_bytes, 2_000);
  assertEquals([core.violations, core.sent("connack").length], [[], 2]);
});

Deno.test("where Maximum QoS is 0, QoS 1 is REMOTE, what is spooled waits in quarantine, and QoS 0 goes", async () => {
  await using core = await startAwsIotCore();
  await core.close();
  await using daemon = await startTestDaemon(core, { mqttVersion: "5" });
  await publish(daemon.socket, { topic: "t", payload: "early", qos: 1 });
  core.behaviour.connack = { maximumQoS: 0 };
  await core.reopen();
  await untilConnected(daemon.socket);
  const refusal = await refusalOf(publish(daemon.socket, { topic: "t", payload: "late", qos: 1 }));
  assertEquals(refusal.code, BusErrorCode.REMOTE);
  await publish(daemon.socket, { topic: "t", payload: "zero", qos: 0 });
  await waitFor("QoS 0", () => core.published.length === 1);
  assertEquals([payloads(core), core.violations], [["zero"], []]);
  const { spool, connections } = await statusOf(daemon);
  assertEquals([spool.quarantined_messages, connections[0]!.max_qos], [1, 0]);
});

Deno.test("filters that CONNACK denies are refused here, and the link stays", async () => {
  await using core = await startAwsIotCore({
    behaviour: {
      connack: { wildcardSubscriptionAvailable: false, sharedSubscriptionAvailable: false },
    },
  });
  await using daemon = await startTestDaemon(core);
  await untilConnected(daemon.socket);
  for (const filter of ["a/#", "$share/group/a"]) {
    assertEquals((await refusalOf(listen(daemon.socket, filter))).code, BusErrorCode.REMOTE);
  }
  await using plain = await listen(daemon.socket, "a");
  core.publish("a", "x", 1);
  await waitFor("a message", () => plain.messages.length === 1);
  assertEquals([core.violations, core.sent("connack").length], [[], 1]);
});

for (const copies of ["one", "each"] as const) {
  Deno.test(`MQTT 5 with identifiers, the broker sending ${copies}: each message comes once to each subscription`, async () => {
    await using core = await startAwsIotCore({
      behaviour: { copies, connack: { subscriptionIdentifiersAvailable: true } },
    });
    await using daemon = await startTestDaemon(core);
    await untilConnected(daemon.socket);
    await using exact = await listen(daemon.socket, "a/b");
    await using wild = await listen(daemon.socket, "a/+");
    await using both = await listen(daemon.socket, ["a/#", "a/b"]);
    await using virtual = await listen(daemon.socket, "#", { virtual: true });
    // The same again and again: nothing but the identifiers tells a copy from another message.
    for (let count = 0; count < 20; count++) core.publish("a/b", "same", 1);
    core.publish("a/b", "last", 1);
    for (const listener of [exact, wild, both, virtual]) {
      await waitFor("the last", () => listener.texts().includes("last"));
      assertEquals(listener.texts().length, 21);
    }
  });
}

for (const version of VERSIONS) {
  Deno.test(`MQTT ${version} without identifiers: once the broker's copies are known, each message comes once`, async () => {
    await using core = await startAwsIotCore({ behaviour: { copies: "each" } });
    await using daemon = await startTestDaemon(core, { mqttVersion: version });
    await untilConnected(daemon.socket);
    await using exact = await listen(daemon.socket, "a/b");
    await using wild = await listen(daemon.socket, "a/+");
    for (let count = 0; count < 8; count++) core.publish("a/b", `learn ${count}`, 1);
    for (const text of NUMBERS) core.publish("a/b", text, 1);
    core.publish("a/b", "last", 1);
    for (const listener of [exact, wild]) {
      await waitFor("the last", () => listener.texts().includes("last"));
      assertEquals(listener.texts().filter((text) => !text.startsWith("learn")), [
        ...NUMBERS,
        "last",
      ]);
    }
  });

  Deno.test(`MQTT ${version}: a broker that sends one copy loses none of equal messages`, async () => {
    await using core = await startAwsIotCore();
    await using daemon = await startTestDaemon(core, { mqttVersion: version });
    await untilConnected(daemon.socket);
    await using exact = await listen(daemon.socket, "a/b");
    await using wild = await listen(daemon.socket, "a/+");
    for (let count = 0; count < 50; count++) core.publish("a/b", "same", 1);
    for (const listener of [exact, wild]) {
      await waitFor("all of them", () => listener.messages.length === 50);
    }
  });

  Deno.test(`MQTT ${version}: retained messages go to each who joins, once, and not again after a cut`, async () => {
    await using core = await startAwsIotCore({
      behaviour: { connack: { retainAvailable: true } },
    });
    for (const text of NUMBERS) core.retain(`kept/${text}`, text);
    await using daemon = await startTestDaemon(core, { mqttVersion: version });
    await untilConnected(daemon.socket);
    await using first = await listen(daemon.socket, "kept/#");
    await waitFor("the first", () => first.messages.length === 20);
    await using second = await listen(daemon.socket, "kept/#", { retainFlag: true });
    await waitFor("the second", () => second.messages.length === 20);
    for (let count = 0; count < 3; count++) await cut(core, daemon);
    core.publish("kept/live", "live", 1);
    for (const listener of [first, second]) {
      await waitFor("a live one", () => listener.texts().at(-1) === "live");
      assertEquals(listener.texts(), [...NUMBERS, "live"]);
    }
    assertEquals(first.messages.filter(({ retain }) => retain).length, 0);
    assertEquals(second.messages.map(({ retain }) => retain), [...NUMBERS.map(() => true), false]);
  });

  Deno.test(`MQTT ${version}: nobody gets retained messages again though the broker forgot the session`, async () => {
    await using core = await startAwsIotCore({
      behaviour: { connack: { retainAvailable: true }, sessionExpiry: 0 },
    });
    core.retain("kept/1", "1");
    await using daemon = await startTestDaemon(core, { mqttVersion: version });
    await untilConnected(daemon.socket);
    await using listener = await listen(daemon.socket, "kept/#");
    await waitFor("the retained message", () => listener.messages.length === 1);
    await cut(core, daemon);
    await waitFor("the filter again", () => core.sent("suback").length === 2);
    core.publish("kept/live", "live", 1);
    await waitFor("a live one", () => listener.texts().at(-1) === "live");
    assertEquals(listener.texts(), ["1", "live"]);
  });

  Deno.test(`MQTT ${version}: on a resumed session nothing is subscribed again, and messages keep their packet ids`, async () => {
    await using core = await startAwsIotCore();
    await using daemon = await startTestDaemon(core, { mqttVersion: version });
    await untilConnected(daemon.socket);
    // With MQTT 3.1.1 the session of the first link ends with it.
    await cut(core, daemon);
    await using listener = await listen(daemon.socket, ["a", "b", "c/#"]);
    core.behaviour.ackPublish = "never";
    for (const payload of ["1", "2", "3", "4"]) {
      await publish(daemon.socket, { topic: "t", payload, qos: 1 });
    }
    await waitFor("four messages", () => core.published.length === 4);
    const sent = (from: number) =>
      core.received("publish").slice(from).map(({ packet: { messageId: id, dup, payload } }) => ({
        id,
        dup,
        text: `${payload}`,
      }));
    const before = sent(0);
    const subscribes = core.received("subscribe").length;
    core.behaviour.ackPublish = "auto";
    await cut(core, daemon);
    await publish(daemon.socket, { topic: "t", payload: "5", qos: 1 });
    await waitFor("all again and a new one", () => core.published.length === 9);
    const after = sent(4);
    assertEquals(
      after.slice(0, 4),
      before.map((packet) => ({ ...packet, dup: true })),
    );
    assert(before.every(({ id }) => id !== after[4]?.id), "the id of another message is used");
    core.publish("c/d", "x", 1);
    await waitFor("a message", () => listener.messages.length === 1);
    assertEquals(core.received("subscribe").length, subscribes);
  });

  Deno.test(`MQTT ${version}: what arrives while the link is down comes when it is back`, async () => {
    await using core = await startAwsIotCore();
    await using daemon = await startTestDaemon(core, { mqttVersion: version });
    await untilConnected(daemon.socket);
    await cut(core, daemon);
    await using listener = await listen(daemon.socket, "a");
    await core.close();
    core.publish("a", "meanwhile", 1);
    await core.reopen();
    await waitFor("the message", () => listener.texts().includes("meanwhile"));
    const connects = core.received("connect").map(({ packet }) => packet.clean);
    assertEquals(connects, [true, false, false]);
  });
}

Deno.test("a filter that the quota turns away is tried again, and nobody is closed", async () => {
  await using core = await startAwsIotCore({ behaviour: { refuseSubscribe: () => 0x97 } });
  await using daemon = await startTestDaemon(core, { mqttVersion: "5" });
  await untilConnected(daemon.socket);
  const listener = listenSoon(daemon.socket, "a");
  await within("the answer", listener.accepted);
  assertEquals((await statusOf(daemon)).connections[0]!.subscriptions_delayed, 1);
  core.behaviour.refuseSubscribe = () => undefined;
  await waitFor("the filter", () => core.sessions[0]?.subscriptions.includes("a") ?? false);
  core.publish("a", "x", 1);
  await waitFor("a message", () => listener.messages.length === 1);
  await listener.close();
});
