import type { IClientOptions, MqttClient } from "../../deps.ts";
import { loadMqtt } from "../../deps.ts";
import {
  assert,
  assertEquals,
  assertGreaterOrEqual,
  assertMatch,
  assertRejects,
  assertStringIncludes,
  generatePacket,
  type Packet,
} from "../deps.ts";
import {
  type AwsIotCore,
  type AwsIotCoreOptions,
  busiestSecond,
  startAwsIotCore,
} from "../support/aws_iot_core.ts";
import { mosquittoAvailable, startMosquitto } from "../support/mosquitto.ts";
import { createPki, type Identity } from "../support/pki.ts";
import { waitFor, within } from "../support/wait.ts";

const pki = await createPki();
const device = await pki.device({ cn: "thing" });

/** An MQTT.js client that does not reconnect by itself and goes when its scope ends. */
interface Client extends AsyncDisposable {
  readonly mqtt: MqttClient;
  readonly messages: {
    readonly topic: string;
    readonly text: string;
    readonly qos: number;
    readonly dup: boolean;
  }[];
  readonly closed: Promise<void>;
  readonly disconnects: number[];
}

async function connect(
  at: Pick<AwsIotCore, "host" | "port">,
  options: IClientOptions & { readonly identity?: Identity } = {},
): Promise<Client> {
  const { identity = device, ...rest } = options;
  const mqtt = (await loadMqtt()).connect({
    host: at.host,
    port: at.port,
    protocol: "mqtts",
    servername: "localhost",
    ca: pki.ca.certPem,
    cert: identity.certPem,
    key: identity.keyPem,
    clientId: "thing",
    protocolVersion: 5,
    reconnectPeriod: 0,
    ...rest,
  });
  const client: Client = {
    mqtt,
    messages: [],
    disconnects: [],
    closed: new Promise((resolve) => mqtt.once("close", () => resolve())),
    [Symbol.asyncDispose]: () => end(mqtt),
  };
  mqtt.on(
    "message",
    (topic, payload, { qos, dup }) =>
      client.messages.push({ topic, text: String(payload), qos, dup }),
  );
  mqtt.on("disconnect", ({ reasonCode }) => client.disconnects.push(reasonCode ?? -1));
  await within(
    "CONNACK",
    new Promise<void>((resolve, reject) => {
      mqtt.once("connect", () => resolve());
      mqtt.once("error", reject);
      mqtt.once("close", () => reject(new Error("closed before CONNACK")));
    }),
  ).catch(async (error) => {
    await end(mqtt);
    throw error;
  });
  // Once connected, an error comes with a close, which the tests look at.
  mqtt.removeAllListeners("error").on("error", () => {});
  return client;
}

/** Its store sets a timer of 0 ms at each connect; the sanitizer wants it over. */
async function end(mqtt: MqttClient): Promise<void> {
  await mqtt.endAsync(true);
  await new Promise((resolve) => setTimeout(resolve, 0));
}

function start(options: AwsIotCoreOptions = {}): Promise<AwsIotCore> {
  return startAwsIotCore({ pki, devices: [device], ...options });
}

for (const protocolVersion of [4, 5] as const) {
  const name = protocolVersion === 4 ? "MQTT 3.1.1" : "MQTT 5";

  for (const tls of ["TLSv1.2", "TLSv1.3"] as const) {
    Deno.test(`the stand-in carries messages over ${tls} with ${name}`, async () => {
      await using core = await start({ minVersion: tls, maxVersion: tls });
      await using client = await connect(core, { protocolVersion });
      await client.mqtt.subscribeAsync({ "a/+": { qos: 1 }, "a/#": { qos: 0 } });
      await client.mqtt.publishAsync("a/b", "one", { qos: 1 });
      await client.mqtt.publishAsync("a/b", "two", { qos: 0 });
      await waitFor("both to arrive", () => core.published.length === 2);
      core.publish("a/c", "three", 1);
      core.publish("b/c", "not for us", 1);
      await waitFor("three messages", () => client.messages.length === 3);
      assertEquals(client.messages.map(({ text, qos }) => [text, qos]), [["one", 1], ["two", 0], [
        "three",
        1,
      ]]);
      assertEquals(core.published.map(({ topic, qos, clientId }) => [topic, qos, clientId]), [
        ["a/b", 1, "thing"],
        ["a/b", 0, "thing"],
      ]);
      const [connection] = core.connections;
      assertEquals([connection?.tlsVersion, connection?.serverName], [tls, "localhost"]);
      await waitFor("PUBACKs", () => core.received("puback").length === 2);
      assertEquals(core.violations, []);
    });
  }

  Deno.test(`an unregistered certificate is refused by CONNACK with ${name}`, async () => {
    await using core = await start();
    const identity = await pki.device();
    const error = await assertRejects(() => connect(core, { protocolVersion, identity }), Error);
    assertEquals((error as { code?: number }).code, protocolVersion === 4 ? 5 : 0x87);
  });

  Deno.test(`an unregistered certificate may also get a close before CONNACK with ${name}`, async () => {
    await using core = await start({ behaviour: { unregistered: "close" } });
    const identity = await pki.device({ ca: await pki.otherCa() });
    await assertRejects(() => connect(core, { protocolVersion, identity }), Error);
    assertEquals([core.received("connect").length, core.sent("connack").length], [1, 0]);
  });

  Deno.test(`a revoked certificate loses its connection with ${name}`, async () => {
    await using core = await start();
    await using client = await connect(core, { protocolVersion });
    core.revoke(device);
    await within("close", client.closed);
    assertEquals(client.disconnects, protocolVersion === 4 ? [] : [0x87]);
  });

  Deno.test(`the 51st subscription is refused and the 50 stay, with ${name}`, async () => {
    await using core = await start();
    await using client = await connect(core, { protocolVersion });
    for (let first = 0; first < 48; first += 8) {
      await client.mqtt.subscribeAsync(Array.from({ length: 8 }, (_, i) => `f/${first + i}`));
    }
    await client.mqtt.subscribeAsync(["f/48", "f/49"]);
    await client.mqtt.subscribeAsync("f/50").catch(() => {});
    const refusal = protocolVersion === 4 ? 0x80 : 0x97;
    assertEquals(core.sent("suback").at(-1)?.packet.granted, [refusal]);
    assertEquals(core.connections[0]?.subscriptions.length, 50);
    assertEquals(core.violations, ["thing: more than 50 subscriptions"]);
  });

  const fatal: readonly [string, RegExp, (mqtt: MqttClient) => void][] = [
    ["nine filters in a SUBSCRIBE", /9 filters/, (mqtt) => mqtt.subscribe("abcdefghi".split(""))],
    [
      "a payload of 131,073 bytes",
      /131073 bytes/,
      (mqtt) => mqtt.publish("t", "x".repeat(131_073), { qos: 1 }),
    ],
    ["a topic of 257 bytes", /257 bytes/, (mqtt) => mqtt.publish("t".repeat(257), "x", { qos: 1 })],
    [
      "a topic with 8 slashes",
      /8 slashes/,
      (mqtt) => mqtt.publish("1/2/3/4/5/6/7/8/9", "x", { qos: 1 }),
    ],
    ["a filter with 8 slashes", /8 slashes/, (mqtt) => mqtt.subscribe("1/2/3/4/5/6/7/8/9")],
  ];
  for (const [what, violation, misbehave] of fatal) {
    Deno.test(`${what} closes the connection with ${name}`, async () => {
      await using core = await start();
      await using client = await connect(core, { protocolVersion });
      misbehave(client.mqtt);
      await within("close", client.closed);
      assertMatch(core.violations.join(), violation);
      assertEquals(client.disconnects.length, protocolVersion === 4 ? 0 : 1);
      assertEquals(core.published, []);
    });
  }

  Deno.test(`a session is resumed with its subscriptions and messages, with ${name}`, async () => {
    await using core = await start({ behaviour: { connectSpacingMs: 0 } });
    const options: IClientOptions = { protocolVersion, clean: false };
    if (protocolVersion === 5) options.properties = { sessionExpiryInterval: 60 };
    {
      await using first = await connect(core, options);
      await first.mqtt.subscribeAsync("s/#", { qos: 1 });
      await core.dropLinks();
      await within("close", first.closed);
    }
    core.publish("s/1", "while away", 1);
    core.publish("s/2", "QoS 0 is not kept", 0);
    await using second = await connect(core, options);
    await waitFor("the message", () => second.messages.length === 1);
    assertEquals(second.messages[0], { topic: "s/1", text: "while away", qos: 1, dup: false });
    assertEquals(core.sent("connack").map(({ packet }) => packet.sessionPresent), [false, true]);
    await using third = await connect(core, { ...options, clean: true });
    assertEquals(core.sent("connack").at(-1)?.packet.sessionPresent, false);
    assertEquals(third.mqtt.connected && core.connections[0]?.subscriptions, []);
  });

  Deno.test(`a second connection with the same id closes the first, with ${name}`, async () => {
    await using core = await start({ behaviour: { connectSpacingMs: 0 } });
    await using first = await connect(core, { protocolVersion });
    await using second = await connect(core, { protocolVersion });
    await within("close", first.closed);
    assertEquals(first.disconnects, protocolVersion === 4 ? [] : [0x8e]);
    assert(second.mqtt.connected);
    assertEquals(core.connections.length, 1);
  });
}

Deno.test("a message that was not acknowledged comes again, marked as a duplicate", async () => {
  await using core = await start({ behaviour: { connectSpacingMs: 0 } });
  const options: IClientOptions = { clean: false, properties: { sessionExpiryInterval: 60 } };
  {
    await using first = await connect(core, { ...options, customHandleAcks: () => {} });
    await first.mqtt.subscribeAsync("s", { qos: 1 });
    core.publish("s", "again", 1);
    await waitFor("the message to go out", () => core.sent("publish").length === 1);
    await core.dropLinks();
    await within("close", first.closed);
  }
  await using second = await connect(core, options);
  await waitFor("the message", () => second.messages.length === 1);
  assertEquals(second.messages[0], { topic: "s", text: "again", qos: 1, dup: true });
});

Deno.test("the 101st publish within a second is discarded without an answer", async () => {
  await using core = await start();
  await using client = await connect(core);
  for (let i = 0; i < 101; i++) client.mqtt.publish("t", String(i), { qos: 1 }, () => {});
  await waitFor("the violation", () => core.violations.length > 0);
  await waitFor("the answers", () => core.sent("puback").length === 100);
  assertEquals(core.violations, ["thing: publish rate"]);
  assertEquals(core.published.at(-1)?.payload, new TextEncoder().encode("99"));
  assertEquals(busiestSecond(core.published), { messages: 100, bytes: 100 + 190 });
  assertEquals(core.connections.length, 1);
});

Deno.test("the rules prefix does not count for a topic, nor the group for a shared filter", async () => {
  await using core = await start();
  await using client = await connect(core);
  await client.mqtt.publishAsync(`$aws/rules/some_rule/${"t".repeat(256)}`, "x", { qos: 1 });
  await client.mqtt.subscribeAsync("$share/group/1/2/3/4/5/6/7/8");
  assertEquals(core.violations, []);
});

Deno.test("a Basic Ingest subscription is refused and QoS 2 gets no answer", async () => {
  await using core = await start({ behaviour: { receiveMaximum: 10 } });
  await using client = await connect(core);
  await client.mqtt.subscribeAsync("$aws/rules/r/t").catch(() => {});
  assertEquals(core.sent("suback")[0]?.packet.granted, [0x8f]);
  client.mqtt.subscribe("t", { qos: 2 });
  await waitFor("both violations", () => core.violations.length === 2);
  await client.mqtt.publishAsync("t", "x", { qos: 1 });
  assertEquals(core.sent("suback").length, 1);
});

Deno.test("a client id that is too long or starts with $ is refused, and so is a hasty CONNECT", async () => {
  await using core = await start();
  for (const clientId of ["$thing", "x".repeat(129)]) {
    const error = await assertRejects(() => connect(core, { clientId }), Error);
    assertEquals((error as { code?: number }).code, 0x85);
  }
  await using _client = await connect(core);
  const error = await assertRejects(() => connect(core), Error);
  assertEquals((error as { code?: number }).code, 0x97);
  assertEquals(core.violations.length, 3);
});

Deno.test("refusals that a test asks for reach the client", async () => {
  await using core = await start();
  core.behaviour.refuseSubscribe = (filter) => filter === "secret" ? 0x87 : undefined;
  core.behaviour.refusePublish = (topic) =>
    topic === "secret" ? 0x87 : topic === "fatal" ? "close" : undefined;
  core.behaviour.refuseConnect = (clientId) => clientId.endsWith("_1") ? 0x87 : undefined;
  await assertRejects(() => connect(core, { clientId: "thing_1" }), Error, "Not authorized");
  await using client = await connect(core);
  await client.mqtt.subscribeAsync(["open", "secret"]).catch(() => {});
  assertEquals(core.sent("suback")[0]?.packet.granted, [0, 0x87]);
  await assertRejects(
    () => client.mqtt.publishAsync("secret", "x", { qos: 1 }),
    Error,
    "Not authorized",
  );
  client.mqtt.publish("fatal", "x", { qos: 1 }, () => {});
  await within("close", client.closed);
  assertEquals(core.published, []);
});

Deno.test("acknowledgements can be held back and released", async () => {
  await using core = await start({ behaviour: { ackPublish: "never" } });
  await using client = await connect(core);
  const done = client.mqtt.publishAsync("t", "x", { qos: 1 });
  await waitFor("the publish", () => core.published.length === 1);
  assertEquals(core.sent("puback"), []);
  core.releaseAcks();
  await within("PUBACK", done);
});

Deno.test("an outage closes connections and refuses new ones until the same port is open again", async () => {
  await using core = await start({ behaviour: { connectSpacingMs: 0 } });
  const { port } = core;
  await using client = await connect(core);
  await core.close();
  await within("close", client.closed);
  await assertRejects(() => connect(core), Error);
  await core.reopen();
  assertEquals(core.port, port);
  await using again = await connect(core);
  assert(again.mqtt.connected);
});

Deno.test("a frozen connection stays open and silent, also when it is taken over, and can go on", async () => {
  await using core = await start({ behaviour: { connectSpacingMs: 0 } });
  await using client = await connect(core);
  await client.mqtt.subscribeAsync("t");
  core.freezeLinks();
  core.publish("t", "held up");
  client.mqtt.publish("u", "unheard");
  await using other = await connect(core, { clientId: "other" });
  await other.mqtt.publishAsync("u", "heard", { qos: 1 });
  assertEquals(core.published.map(({ clientId }) => clientId), ["other"]);
  assertEquals(client.messages, []);
  core.thawLinks();
  await waitFor("both messages", () => client.messages.length === 1 && core.published.length === 2);
  core.freezeLinks();
  await using _heir = await connect(core);
  assertEquals(core.connections.map(({ clientId }) => clientId).sort(), ["other", "thing"]);
  assert(client.mqtt.connected);
});

Deno.test("a device that is silent for 1.5 times its keep-alive is dropped, one that pings is not", async () => {
  await using core = await start();
  await using silent = await connect(core, { clientId: "silent", keepalive: 1 });
  await using lively = await connect(core, { clientId: "lively", keepalive: 1 });
  // Stops the pings without closing anything.
  (silent.mqtt as unknown as { keepaliveManager?: { clear(): void } }).keepaliveManager?.clear();
  await within("close", silent.closed);
  assertEquals(silent.disconnects, [0x8d]);
  await waitFor("a second ping", () => core.received("pingreq", "lively").length >= 2);
  assert(lively.mqtt.connected);
});

Deno.test("a server disconnect carries its reason", async () => {
  await using core = await start();
  await using client = await connect(core);
  assert(core.disconnect("thing", 0x8b));
  await within("close", client.closed);
  assertEquals(client.disconnects, [0x8b]);
  assertEquals(core.disconnect("thing"), false);
});

Deno.test("each way to leave a client without a CONNACK works", async () => {
  await using core = await start({ behaviour: { connectSpacingMs: 0 } });
  const { behaviour } = core;
  const attempt = (): Promise<Error> =>
    assertRejects(() => connect(core, { connectTimeout: 300 }), Error);
  behaviour.tlsAlert = 46;
  assertStringIncludes((await attempt()).message, "CertificateUnknown");
  behaviour.tlsAlert = undefined;
  for (const silent of ["tls", "connack"] as const) {
    behaviour.silent = silent;
    const before = performance.now();
    await attempt();
    assertGreaterOrEqual(performance.now() - before, 250);
  }
  behaviour.silent = undefined;
  for (const garbage of ["tls", "connack"] as const) {
    behaviour.garbage = garbage;
    await attempt();
  }
  behaviour.garbage = undefined;
  for (const closeOn of ["accept", "connect"] as const) {
    behaviour.closeOn = closeOn;
    await attempt();
  }
  behaviour.closeOn = undefined;
  await using client = await connect(core);
  assert(client.mqtt.connected);
  assertEquals(core.sent("connack").length, 1);
});

Deno.test("each misbehaviour after CONNACK reaches the client", async () => {
  await using core = await start({ behaviour: { connectSpacingMs: 0 } });
  core.behaviour.closeOn = "connack";
  await using dropped = await connect(core);
  await within("close", dropped.closed);
  core.behaviour.closeOn = undefined;
  core.behaviour.garbage = "after-connack";
  await assertRejects(() => connect(core), Error, "QoS bits");
  core.behaviour.garbage = undefined;
  core.behaviour.strayPuback = true;
  core.behaviour.secondConnack = true;
  core.clearRecords();
  await using _client = await connect(core);
  await waitFor("the packets", () => core.sent("puback").length === 1);
  assertEquals(core.sent("connack").length, 2);
});

Deno.test("a packet that nobody can read, and a second CONNECT, close the connection", async () => {
  await using core = await start({ behaviour: { connectSpacingMs: 0 } });
  const hello: Packet = {
    cmd: "connect",
    protocolId: "MQTT",
    protocolVersion: 5,
    clientId: "thing",
    clean: true,
    keepalive: 60,
  };
  const reserved = Uint8Array.of(0x0f, 0, 0, 0);
  for (const [bytes, code] of [[reserved, 0x81], [generatePacket(hello), 0x82]] as const) {
    await using client = await connect(core);
    client.mqtt.stream.write(bytes);
    await within("close", client.closed);
    assertEquals(client.disconnects, [code]);
  }
  assertEquals(core.violations.length, 2);
});

Deno.test("more messages in flight than announced end an MQTT 5 connection", async () => {
  await using core = await start({ behaviour: { ackPublish: "never", receiveMaximum: 2 } });
  await using client = await connect(core);
  // MQTT.js does not count: it may send more than the CONNACK allows.
  for (let i = 0; i < 3; i++) client.mqtt.publish("t", String(i), { qos: 1 }, () => {});
  await within("close", client.closed);
  assertEquals(client.disconnects, [0x93]);
  assertEquals(core.published.length, 2);
});

Deno.test("acknowledgements wait as long as they are told to", async () => {
  await using core = await start({
    behaviour: { ackPublish: 60, connackDelayMs: 60, subackDelayMs: 60 },
  });
  await using client = await connect(core);
  await client.mqtt.subscribeAsync("t");
  await client.mqtt.publishAsync("t", "x", { qos: 1 });
  for (
    const [asked, answered] of [["connect", "connack"], ["subscribe", "suback"], [
      "publish",
      "puback",
    ]] as const
  ) {
    const waited = core.sent(answered)[0]!.at - core.received(asked)[0]!.at;
    assertGreaterOrEqual(waited, 55, answered);
  }
});

Deno.test("a publish that reaches nobody says so, and unsubscribing ends deliveries", async () => {
  await using core = await start();
  await using client = await connect(core);
  await client.mqtt.subscribeAsync("t/#");
  await client.mqtt.publishAsync("t/1", "x", { qos: 1 });
  await client.mqtt.unsubscribeAsync("t/#");
  await client.mqtt.publishAsync("t/2", "x", { qos: 1 });
  assertEquals(core.sent("puback").map(({ packet }) => packet.reasonCode), [0, 0x10]);
  assertEquals(client.messages.map(({ topic }) => topic), ["t/1"]);
});

Deno.test("a/# delivers a only when the stand-in is told to follow the standard", async () => {
  await using core = await start();
  await using client = await connect(core);
  await client.mqtt.subscribeAsync(["a/#", "#"]);
  await client.mqtt.unsubscribeAsync("#");
  assertEquals([core.publish("a", "x"), core.publish("a/", "x"), core.publish("$a/b", "x")], [
    false,
    true,
    false,
  ]);
  core.behaviour.hashMatchesParent = true;
  assertEquals(core.publish("a", "x"), true);
});

Deno.test("what expires while a device is away is not delivered, and its session ends in time", async () => {
  await using core = await start({ behaviour: { connectSpacingMs: 0 } });
  const options: IClientOptions = { clean: false, properties: { sessionExpiryInterval: 1 } };
  {
    await using first = await connect(core, options);
    await first.mqtt.subscribeAsync("t", { qos: 1 });
    await core.dropLinks();
    await within("close", first.closed);
  }
  core.publish("t", "gone", 1, { messageExpiryInterval: 0 });
  core.publish("t", "kept", 1, { messageExpiryInterval: 60 });
  assertEquals(core.sessions, [
    { clientId: "thing", connected: false, subscriptions: ["t"], inFlight: 0, waiting: 2 },
  ]);
  {
    await using second = await connect(core, options);
    await waitFor("the message", () => second.messages.length === 1);
    assertEquals(second.messages[0]?.text, "kept");
  }
  await waitFor("the end of the session", () => core.sessions.length === 0);
});

Deno.test("SUBSCRIBE and PINGREQ can go without an answer", async () => {
  await using core = await start({ behaviour: { silent: "suback" } });
  await using client = await connect(core);
  client.mqtt.subscribe("t", () => {});
  await waitFor("the SUBSCRIBE", () => core.received("subscribe").length === 1);
  core.behaviour.silent = "ping";
  client.mqtt.sendPing();
  await waitFor("the PINGREQ", () => core.received("pingreq").length === 1);
  await client.mqtt.publishAsync("u", "x", { qos: 1 });
  assertEquals([core.sent("suback").length, core.sent("pingresp").length], [0, 0]);
});

Deno.test("a shared subscription gives each message to one member of its group", async () => {
  await using core = await start();
  await using one = await connect(core, { clientId: "one" });
  await using two = await connect(core, { clientId: "two" });
  await one.mqtt.subscribeAsync("$share/g/t");
  await two.mqtt.subscribeAsync("$share/g/t");
  for (let i = 0; i < 10; i++) core.publish("t", String(i));
  await waitFor("ten messages", () => one.messages.length + two.messages.length === 10);
  assertEquals([one.messages.length, two.messages.length], [5, 5]);
});

Deno.test({
  name: "a real mosquitto with mutual TLS carries messages, goes and comes back",
  ignore: !mosquittoAvailable(),
  fn: async () => {
    await using broker = await startMosquitto({ pki });
    await using client = await connect(broker);
    await client.mqtt.subscribeAsync("t", { qos: 1 });
    await client.mqtt.publishAsync("t", "hello", { qos: 1 });
    await waitFor("the message", () => client.messages.length === 1);
    await broker.stop();
    await within("close", client.closed);
    await assertRejects(() => connect(broker), Error);
    await broker.start();
    await using again = await connect(broker);
    assert(again.mqtt.connected);
    const identity = await pki.device({ ca: await pki.otherCa() });
    await assertRejects(() => connect(broker, { identity }), Error, "alert");
  },
});
