/** The daemon against a broker that nobody here wrote, which limits what it takes. */

import { BusError, BusErrorCode } from "../../src/base/errors.ts";
import { readStatus } from "../../src/status/codec.ts";
import { assert, assertEquals, assertRejects } from "../deps.ts";
import { loadMqtt } from "../../deps.ts";
import { CERTAIN_MESSAGES } from "../../src/subscribe/copies.ts";
import {
  connected,
  listen,
  publish,
  startTestDaemon,
  type TestDaemon,
  untilConnected,
} from "../support/daemon.ts";
import { type Mosquitto, mosquittoAvailable, startMosquitto } from "../support/mosquitto.ts";
import { waitFor } from "../support/wait.ts";

const ignore = !mosquittoAvailable();
const VERSIONS = ["5", "3.1.1"] as const;
const NUMBERS = Array.from({ length: 20 }, (_, number) => `${number}`);

/** How often the daemon came to be connected. */
function links(lines: readonly { readonly text: string }[]): number {
  return lines.filter(({ text }) => text.startsWith("Connected")).length;
}

async function codeOf(work: Promise<unknown>): Promise<BusErrorCode> {
  return (await assertRejects(() => work, BusError)).code;
}

Deno.test({
  name: "mosquitto: message_size_limit costs the large message alone",
  ignore,
  fn: async () => {
    await using broker = await startMosquitto({ config: ["message_size_limit 1000"] });
    await using daemon = await startTestDaemon(broker);
    await untilConnected(daemon.socket);
    await using listener = await listen(daemon.socket, "t/#");
    const payload = "x".repeat(1_500);
    const refused = codeOf(
      publish(daemon.socket, { topic: "big", payload, qos: 1, ack: "broker" }),
    );
    for (const text of NUMBERS) {
      await publish(daemon.socket, { topic: "t/1", payload: text, qos: 1, ack: "broker" });
    }
    assertEquals(await refused, BusErrorCode.REMOTE);
    await waitFor("the others", () => listener.texts().length === NUMBERS.length);
    assertEquals([listener.texts(), links(daemon.log.lines)], [NUMBERS, 1]);
  },
});

Deno.test({
  name:
    "mosquitto: max_packet_size, max_qos 0, retain_available false and max_keepalive 20 lose no link",
  ignore,
  fn: async () => {
    const config = [
      "message_size_limit 1000",
      "max_packet_size 2000",
      "max_qos 0",
      "retain_available false",
      "max_keepalive 20",
    ];
    await using broker = await startMosquitto({ config });
    await using daemon = await startTestDaemon(broker);
    await untilConnected(daemon.socket);
    await using listener = await listen(daemon.socket, "t/#");
    await using again = await listen(daemon.socket, "t/#");
    const large = "x".repeat(3_000);
    for (const text of NUMBERS) {
      await publish(daemon.socket, { topic: "t/1", payload: text, qos: 0 });
      const zero = publish(daemon.socket, { topic: "t/1", payload: large, qos: 0 });
      assertEquals(await codeOf(zero), BusErrorCode.RANGE);
      const one = publish(daemon.socket, { topic: "t/1", payload: text, qos: 1 });
      assertEquals(await codeOf(one), BusErrorCode.REMOTE);
    }
    for (const { texts } of [listener, again]) {
      await waitFor("the others", () => texts().length === NUMBERS.length);
      assertEquals(texts(), NUMBERS);
    }
    assertEquals(links(daemon.log.lines), 1);
    await using client = await connected(daemon.socket);
    const [connection] = readStatus(await client.call("status", new Map())).connections;
    const { max_packet_bytes, max_qos, retain_available, keep_alive_ms } = connection!;
    assertEquals([max_packet_bytes, max_qos, retain_available, keep_alive_ms], [
      2_000,
      0,
      false,
      20_000,
    ]);
  },
});

/** Publishes by another client, to be retained. */
async function retain(broker: Mosquitto, topic: string, payloads: readonly string[]) {
  const device = await broker.pki.device();
  const mqtt = await (await loadMqtt()).connectAsync({
    host: broker.host,
    port: broker.port,
    protocol: "mqtts",
    servername: "localhost",
    ca: broker.pki.ca.certPem,
    cert: device.certPem,
    key: device.keyPem,
    clientId: "other",
    protocolVersion: 5,
    reconnectPeriod: 0,
  });
  for (const payload of payloads) {
    await mqtt.publishAsync(`${topic}/${payload}`, payload, { qos: 1, retain: true });
  }
  await mqtt.endAsync();
}

/** How many SUBSCRIBE packets the broker got from the daemon. */
function subscribes(broker: Mosquitto): number {
  return broker.log().match(/Received SUBSCRIBE from thing/g)?.length ?? 0;
}

/** Makes the link anew and waits until it stands. */
async function reconnect({ daemon, log }: TestDaemon): Promise<void> {
  const before = links(log.lines);
  daemon.reconnect("the test");
  await waitFor("another link", () => links(log.lines) > before);
}

for (const version of VERSIONS) {
  Deno.test({
    name: `mosquitto, MQTT ${version}: overlapping filters give each message once to each`,
    ignore,
    fn: async () => {
      await using broker = await startMosquitto({ config: ["allow_duplicate_messages true"] });
      await using daemon = await startTestDaemon(broker, { mqttVersion: version });
      await untilConnected(daemon.socket);
      await using exact = await listen(daemon.socket, "a/b");
      await using wild = await listen(daemon.socket, "a/+");
      await using both = await listen(daemon.socket, ["a/#", "a/b"]);
      const texts = Array.from({ length: 100 }, (_, number) => `${number}`);
      for (const payload of texts) {
        await publish(daemon.socket, { topic: "a/b", payload, qos: 1, ack: "broker" });
      }
      const counts: number[] = [];
      for (const listener of [exact, wild, both]) {
        await waitFor("the last", () => listener.texts().includes("99"), 30_000);
        counts.push(listener.messages.length);
        assertEquals([...new Set(listener.texts())], texts);
      }
      // Without identifiers, the copies of the first messages teach that there are copies.
      const most = version === "5" ? 100 : 100 + 2 * CERTAIN_MESSAGES;
      assert(counts.every((count) => count <= most), `${counts}`);
    },
  });

  Deno.test({
    name:
      `mosquitto, MQTT ${version}: retained messages come once to each who joins, and no filter is sent again on a resumed session`,
    ignore,
    fn: async () => {
      await using broker = await startMosquitto();
      await using daemon = await startTestDaemon(broker, { mqttVersion: version });
      await untilConnected(daemon.socket);
      // With MQTT 3.1.1 the session of the first link ends with it.
      await reconnect(daemon);
      await retain(broker, "kept", NUMBERS);
      await using first = await listen(daemon.socket, "kept/#");
      await waitFor("the first", () => first.messages.length === NUMBERS.length);
      await using second = await listen(daemon.socket, "kept/#");
      await waitFor("the second", () => second.messages.length === NUMBERS.length);
      const before = subscribes(broker);
      for (let count = 0; count < 3; count++) await reconnect(daemon);
      await publish(daemon.socket, { topic: "kept/live", payload: "live", qos: 1 });
      for (const listener of [first, second]) {
        await waitFor("a live one", () => listener.texts().includes("live"));
        assertEquals(listener.texts().toSorted(), [...NUMBERS, "live"].toSorted());
      }
      assertEquals(subscribes(broker), before);
    },
  });
}
