import { loadMqtt } from "../../deps.ts";
import { utf8 } from "../../src/base/bytes.ts";
import { ConnectError } from "../../src/mqtt/connect_error.ts";
import type { MqttVersion, PublishResult } from "../../src/mqtt/link.ts";
import {
  assert,
  assertEquals,
  assertGreater,
  assertGreaterOrEqual,
  assertLess,
  assertRejects,
  assertStringIncludes,
} from "../deps.ts";
import { startAwsIotCore } from "../support/aws_iot_core.ts";
import { openProbe, type Probe } from "../support/link_probe.ts";
import { createPki } from "../support/pki.ts";
import { startScript } from "../support/script_broker.ts";
import { waitFor, within } from "../support/wait.ts";

const pki = await createPki();
const device = await pki.device();
const core = { pki, devices: [device] } as const;
const VERSIONS: readonly MqttVersion[] = ["5", "3.1.1"];

function publish(
  { link }: Probe,
  topic: string,
  qos: 0 | 1,
  dup = false,
): Promise<PublishResult | undefined> {
  const answer = new Promise<PublishResult | undefined>((resolve) => {
    link.publish({ topic, payload: utf8("payload"), qos, dup }, resolve);
  });
  return within(`the answer to ${topic}`, answer);
}

for (const version of VERSIONS) {
  Deno.test(`MQTT ${version}: publishes at QoS 0 and 1 are answered`, async () => {
    await using server = await startAwsIotCore(core);
    await using probe = await openProbe(server, device, { version });
    assertEquals(probe.link.connack.sessionPresent, false);
    assertEquals(probe.link.connack.receiveMaximum, version === "5" ? 100 : 65_535);
    assertEquals(await publish(probe, "a/zero", 0), { code: 0, reason: "" });
    assertEquals((await publish(probe, "a/one", 1))?.reason, "");
    await waitFor("both messages", () => server.published.length === 2);
    assertEquals(server.published.map(({ topic, qos }) => [topic, qos]), [
      ["a/zero", 0],
      ["a/one", 1],
    ]);
    await probe.link.close();
    assertEquals(probe.ends, [{ by: "local", reason: "closed here" }]);
    assertEquals(server.received("disconnect").length, 1);
  });

  Deno.test(`MQTT ${version}: messages arrive, and are acknowledged after the handler returned`, async () => {
    await using server = await startAwsIotCore(core);
    const written: number[] = [];
    await using probe = await openProbe(server, device, {
      version,
      onMessage: () => void written.push(probe.link.buffered),
    });
    const granted = await probe.link.subscribe(["in/+", "other"], 1);
    assertEquals(granted?.map(({ code }) => code), [1, 1]);
    const big = new Uint8Array(131_072).fill(7);
    server.publish("in/big", big, 1);
    await waitFor("the message", () => probe.messages.length === 1);
    assertEquals(probe.messages[0]?.topic, "in/big");
    assertEquals(new Uint8Array(probe.messages[0]!.payload), big);
    await waitFor("PUBACK", () => server.received("puback").length === 1);
    assertEquals(written, [0]);
    assertEquals(await probe.link.unsubscribe(["in/+"]), [{ code: 0, reason: "" }]);
    assertEquals(server.publish("in/big", "x", 1), false);
  });

  Deno.test(`MQTT ${version}: a refused filter does not hide the granted ones`, async () => {
    await using server = await startAwsIotCore({
      ...core,
      behaviour: { refuseSubscribe: (filter) => filter === "no" ? 0x87 : undefined },
    });
    await using probe = await openProbe(server, device, { version });
    const results = await within("SUBACK", probe.link.subscribe(["yes", "no", "also"], 1));
    assertEquals(results?.map(({ code }) => code), [1, version === "5" ? 0x87 : 0x80, 1]);
    assertEquals(results?.[0]?.reason, "");
    assert(results?.[1]?.reason !== "");
    assertEquals(probe.ends, []);
  });

  Deno.test(`MQTT ${version}: a dropped link answers everything that waits, once`, async () => {
    await using server = await startAwsIotCore({
      ...core,
      behaviour: { ackPublish: "never", silent: "suback" },
    });
    await using probe = await openProbe(server, device, { version });
    const answers = [
      publish(probe, "a", 1),
      publish(probe, "b", 1),
      probe.link.subscribe(["f"], 1),
      probe.link.unsubscribe(["g"]),
    ];
    await waitFor("SUBSCRIBE", () => server.received("unsubscribe").length === 1);
    await server.dropLinks();
    assertEquals(await within("the answers", Promise.all(answers)), [
      undefined,
      undefined,
      undefined,
      undefined,
    ]);
    assertEquals((await within("the end", probe.ended)).by, "peer");
    assertEquals(await publish(probe, "late", 1), undefined);
    assertEquals(await probe.link.subscribe(["late"], 1), undefined);
    assertEquals(probe.ends.length, 1);
  });

  Deno.test(`MQTT ${version}: a frozen link is seen within 1.5 times the keep-alive`, async () => {
    await using server = await startAwsIotCore(core);
    await using probe = await openProbe(server, device, { version, keepAliveS: 1 });
    const begin = performance.now();
    server.freezeLinks();
    const end = await within("the end", probe.ended);
    const took = performance.now() - begin;
    assertEquals(end.by, "keep-alive");
    assertLess(took, 1_900);
    assertGreaterOrEqual(took, 1_000);
  });

  Deno.test(`MQTT ${version}: pings keep an idle link alive`, async () => {
    await using server = await startAwsIotCore(core);
    await using probe = await openProbe(server, device, { version, keepAliveS: 1 });
    await waitFor("two pings", () => server.received("pingreq").length >= 2);
    assertEquals(probe.ends, []);
  });

  Deno.test(`MQTT ${version}: a second CONNACK, garbage and a PUBACK for nothing end the link`, async () => {
    const breaches = [
      { secondConnack: true },
      { garbage: "after-connack" },
      { strayPuback: true },
    ] as const;
    for (const behaviour of breaches) {
      await using server = await startAwsIotCore({ ...core, behaviour });
      const outcome = await openProbe(server, device, { version }).then(
        (probe) => within("the end", probe.ended).then(({ by }) => by),
        (error) => error instanceof ConnectError ? error.kind : error,
      );
      assertEquals(outcome, "protocol", JSON.stringify(behaviour));
    }
  });
}

Deno.test("QoS 0 messages that the socket does not take at once are each answered once it did, or at the end", async () => {
  await using server = await startAwsIotCore(core);
  await using probe = await openProbe(server, device);
  const answers: (PublishResult | undefined)[] = [];
  const payload = new Uint8Array(100_000);
  const send = (count: number): void => {
    for (let i = 0; i < count; i++) {
      probe.link.publish({ topic: "zero", payload, qos: 0 }, (result) => answers.push(result));
    }
  };
  send(40);
  assertLess(answers.length, 40);
  await waitFor("the answers", () => answers.length === 40);
  assert(answers.every((result) => result?.code === 0));
  await waitFor("the messages", () => server.published.length === 40);
  server.freezeLinks();
  send(200);
  // In the same turn: the stand-in reads on while it is frozen, and keeps what it reads.
  assertGreater(probe.link.buffered, 1_000_000);
  await server.dropLinks();
  await within("the end", probe.ended);
  assertEquals(answers.length, 240);
  assertEquals(answers.at(-1), undefined);
});

Deno.test("MQTT.js still has the undocumented methods that are replaced to spare copies", async () => {
  const { MqttClient } = await loadMqtt();
  const { _storeAndSend, _writePacket } = MqttClient.prototype as unknown as {
    [name: string]: ((...parameters: unknown[]) => unknown) | undefined;
  };
  assertEquals([_storeAndSend?.length, _writePacket?.length], [3, 2]);
});

Deno.test("MQTT 5: PUBACK codes and reasons reach the caller, with 0x10 for no subscriber", async () => {
  await using server = await startAwsIotCore({
    ...core,
    behaviour: { refusePublish: (topic) => topic === "forbidden" ? 0x87 : undefined },
  });
  await using probe = await openProbe(server, device);
  const refused = await publish(probe, "forbidden", 1);
  assertEquals(refused?.code, 0x87);
  assert(refused?.reason !== "");
  assertEquals(await publish(probe, "nobody/listens", 1), { code: 0x10, reason: "" });
  assertEquals(probe.ends, []);
});

Deno.test("MQTT 5: DISCONNECT of the broker is told with its code", async () => {
  await using server = await startAwsIotCore(core);
  await using probe = await openProbe(server, device);
  server.disconnect("probe", 0x8e);
  const end = await within("the end", probe.ended);
  assertEquals([end.by, end.code], ["peer", 0x8e]);
  assertStringIncludes(end.reason, "session taken over");
});

Deno.test("MQTT 5: a resumed session delivers what came meanwhile", async () => {
  await using server = await startAwsIotCore({ ...core, behaviour: { connectSpacingMs: 0 } });
  const first = await openProbe(server, device, { sessionExpiryS: 60 });
  await first.link.subscribe(["kept"], 1);
  await first.link.close(true);
  server.publish("kept", "while away", 1);
  await using second = await openProbe(server, device, { sessionExpiryS: 60, cleanStart: false });
  assertEquals(second.link.connack.sessionPresent, true);
  await waitFor("the message", () => second.messages.length === 1);
  await waitFor("PUBACK", () => server.received("puback").length === 1);
  const connect = server.received("connect")[0]?.packet.properties;
  assertEquals(connect?.receiveMaximum, 100);
  assertEquals(connect?.sessionExpiryInterval, 60);
});

Deno.test("a duplicate is marked, and an expiry goes with MQTT 5 only", async () => {
  for (const version of VERSIONS) {
    await using server = await startAwsIotCore(core);
    await using probe = await openProbe(server, device, { version });
    const done = Promise.withResolvers<unknown>();
    probe.link.publish(
      { topic: "t", payload: utf8("x"), qos: 1, dup: true, messageExpiry: 9 },
      done.resolve,
    );
    await within("PUBACK", done.promise);
    const [sent] = server.published;
    assertEquals(sent?.dup, true);
    assertEquals(sent?.properties.messageExpiryInterval, version === "5" ? 9 : undefined);
  }
});

Deno.test("70,000 publishes pass one that is never acknowledged: its packet id is not used again", async () => {
  await using server = await startAwsIotCore({
    ...core,
    record: false,
    behaviour: { enforceLimits: false },
  });
  await using probe = await openProbe(server, device);
  server.behaviour.ackPublish = "never";
  let first = 0;
  probe.link.publish({ topic: "stuck", payload: utf8("x"), qos: 1 }, () => first++);
  let behind = false;
  server.behaviour.onPacket = (packet) => {
    behind ||= packet.cmd === "publish" && packet.topic === "behind";
  };
  await publish(probe, "behind", 0);
  // Then the broker has handled the stuck one.
  await waitFor("the one behind it", () => behind);
  server.behaviour.onPacket = () => {};
  server.behaviour.ackPublish = "auto";
  const total = 70_000;
  let sent = 0;
  let answered = 0;
  const message = { topic: "t", payload: utf8("x"), qos: 1 } as const;
  await within(
    "all answers",
    new Promise<void>((resolve) => {
      const next = (): void => {
        while (sent < total && sent - answered < 100) {
          sent++;
          probe.link.publish(message, (result) => {
            answered++;
            if (result === undefined || answered === total) resolve();
            else next();
          });
        }
      };
      next();
    }),
    60_000,
  );
  assertEquals(answered, total);
  assertEquals(first, 0);
  server.releaseAcks();
  await waitFor("the answer to the stuck one", () => first === 1);
});

Deno.test("an attempt that is given up leaves no socket", async () => {
  await using server = await startAwsIotCore({ ...core, behaviour: { silent: "connack" } });
  const abort = new AbortController();
  const opening = openProbe(server, device, { signal: abort.signal });
  await waitFor("CONNECT", () => server.received("connect").length === 1);
  abort.abort();
  const error = await assertRejects(() => within("the end", opening), ConnectError);
  assertEquals(error.kind, "aborted");
});

/** The packets that scripted brokers send, in MQTT 5. */
const RAW = {
  connack: [0x20, 3, 0, 0, 0],
  publish: [0x30, 5, 0, 1, 0x61, 0, 0x78],
  publishQos2: [0x34, 7, 0, 1, 0x61, 0, 9, 0, 0x78],
  disconnect: [0xe0, 2, 0x8b, 0],
  /** Of a message of 100,000 bytes, the first five. */
  publishHead: [0x30, 0xa0, 0x8d, 0x06, 0],
} as const;

for (const early of ["publish", "publishQos2", "disconnect"] as const) {
  Deno.test(`a broker that sends ${early} before CONNACK breaks the protocol, and nothing is delivered`, async () => {
    await using server = await startScript(pki, (socket) => {
      socket.write(Uint8Array.from([...RAW[early], ...RAW.connack]));
    });
    const seen: string[] = [];
    const onMessage = (topic: string): void => void seen.push(topic);
    const opening = openProbe(server, device, { onMessage });
    const error = await assertRejects(() => within("the refusal", opening), ConnectError);
    assertEquals([error.kind, seen], ["protocol", []]);
  });
}

Deno.test("a message of QoS 2, which nobody subscribed to, breaks the protocol", async () => {
  await using server = await startScript(pki, (socket) => {
    socket.write(Uint8Array.from(RAW.connack));
    setTimeout(() => socket.write(Uint8Array.from(RAW.publishQos2)), 50);
  });
  await using probe = await openProbe(server, device);
  assertEquals((await within("the end", probe.ended)).by, "protocol");
  assertEquals(probe.messages, []);
});

Deno.test("a SUBACK with too few codes breaks the protocol", async () => {
  await using server = await startScript(pki, (socket) => {
    socket.write(Uint8Array.from(RAW.connack));
    // The first packet id is 1.
    socket.once("data", () => socket.write(Uint8Array.from([0x90, 4, 0, 1, 0, 1])));
  });
  await using probe = await openProbe(server, device);
  assertEquals(await within("the answer", probe.link.subscribe(["a", "b"], 1)), undefined);
  assertEquals((await within("the end", probe.ended)).by, "protocol");
});

Deno.test("a message that takes longer than the keep-alive keeps the link, until it stalls", async () => {
  let stalled = 0;
  await using server = await startScript(pki, (socket) => {
    socket.write(Uint8Array.from([...RAW.connack, ...RAW.publishHead]));
    let left = 12;
    const timer = setInterval(() => {
      stalled = performance.now();
      if (--left > 0 && !socket.destroyed) socket.write(new Uint8Array(1));
      else clearInterval(timer);
    }, 200);
  });
  await using probe = await openProbe(server, device, { keepAliveS: 1 });
  const begin = performance.now();
  const end = await within("the end", probe.ended);
  const now = performance.now();
  assertEquals(end.by, "keep-alive");
  assertGreaterOrEqual(now - begin, 2_000);
  assertLess(now - stalled, 1_700);
});

Deno.test("a long topic is sent once and then by its alias, which the broker understands, until a new link", async () => {
  await using server = await startAwsIotCore({ ...core, behaviour: { connectSpacingMs: 0 } });
  const topic = "plant/line/7/machine/12/temperature";
  for (const version of VERSIONS) {
    await using probe = await openProbe(server, device, { version, cleanStart: true });
    await probe.link.subscribe(["plant/#"], 1);
    for (const qos of [0, 1, 1] as const) await publish(probe, topic, qos);
    await waitFor("the messages back", () => probe.messages.length === 3);
    assertEquals(probe.messages.map((message) => message.topic), [topic, topic, topic]);
    await probe.link.close();
  }
  assertEquals(server.received("publish").map(({ packet }) => packet.topic), [
    ...[topic, "", ""],
    ...[topic, topic, topic],
  ]);
  assertEquals([server.published.length, server.violations], [6, []]);
});

Deno.test("no ping goes out while messages are acknowledged more often than the keep-alive", async () => {
  await using server = await startAwsIotCore({ ...core, behaviour: { enforceLimits: false } });
  await using probe = await openProbe(server, device, { keepAliveS: 1 });
  const end = performance.now() + 2_500;
  await waitFor("the time", async () => {
    await publish(probe, "a/one", 1);
    return performance.now() >= end;
  });
  assertEquals([server.received("pingreq").length, probe.ends], [0, []]);
});

Deno.test("a close right behind CONNACK is the end of a link that stood, however soon it comes", async () => {
  await using server = await startAwsIotCore({
    ...core,
    behaviour: { closeOn: "connack", connectSpacingMs: 0 },
  });
  for (let round = 0; round < 40; round++) {
    await using probe = await openProbe(server, device, {});
    await waitFor("the end", () => probe.ends.length === 1);
    assertEquals(probe.ends[0]!.by, "peer");
  }
});
