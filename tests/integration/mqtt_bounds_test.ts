import type { TLSSocket } from "node:tls";
import { systemClock } from "../../src/base/clock.ts";
import type { MqttVersion } from "../../src/mqtt/link.ts";
import { ReadGate } from "../../src/mqtt/read_gate.ts";
import { assert, assertEquals, assertLess, assertStringIncludes } from "../deps.ts";
import { openProbe } from "../support/link_probe.ts";
import { createPki } from "../support/pki.ts";
import { startScript } from "../support/script_broker.ts";
import { waitFor, within } from "../support/wait.ts";

const pki = await createPki();
const device = await pki.device();

const CONNACK: Readonly<Record<MqttVersion, number[]>> = {
  "5": [0x20, 3, 0, 0, 0],
  "3.1.1": [0x20, 2, 0, 0],
};

/** A PUBLISH of MQTT 5 to `t`. */
function publish(topic: readonly number[], id: number, payload = 0): Uint8Array {
  const body = [0, topic.length, ...topic, 0, id, 0];
  const length = body.length + payload;
  const head = length < 0x80 ? [length] : [length & 0x7f | 0x80, length >> 7];
  const packet = new Uint8Array(1 + head.length + length);
  packet.set([0x32, ...head, ...body]);
  return packet;
}

for (const version of ["5", "3.1.1"] as const) {
  Deno.test(`MQTT ${version}: a packet that declares 256 MB ends the link before anything of it is kept`, async () => {
    const heard: number[] = [];
    await using server = await startScript(pki, (socket) => {
      socket.on("data", (bytes: Uint8Array) => heard.push(...bytes));
      socket.write(Uint8Array.from(CONNACK[version]));
      socket.write(Uint8Array.of(0x30, 0xff, 0xff, 0xff, 0x7f));
    });
    await using probe = await openProbe(server, device, { version });
    const { by, reason } = await within("the end", probe.ended);
    assertEquals(by, "protocol");
    assertStringIncludes(reason, "at most 262144 are allowed");
    if (version === "5") {
      await waitFor("DISCONNECT 0x95", () => heard.slice(-3).join() === "224,1,149");
    }
  });
}

Deno.test("messages whose topic is none are acknowledged and not handed out, and the link goes on", async () => {
  const heard: number[] = [];
  await using server = await startScript(pki, (socket) => {
    socket.on("data", (bytes: Uint8Array) => heard.push(...bytes));
    socket.write(Uint8Array.from(CONNACK["5"]));
    const topics = [[0x61, 0x2f, 0x23], [0x2b], [0x61, 0], [0xc3, 0x28], [0x61]];
    topics.forEach((topic, n) => socket.write(publish(topic, n + 1)));
  });
  await using probe = await openProbe(server, device);
  await waitFor("the good message", () => probe.messages.length === 1);
  await waitFor("every PUBACK", () => heard.length >= 20);
  assertEquals(heard.slice(-20).filter((_, n) => n % 4 === 3), [1, 2, 3, 4, 5]);
  assertEquals([probe.messages[0]!.topic, probe.rejected.length, probe.ends], ["a", 4, []]);
});

Deno.test("while the gate is held nothing is read, until the broker can send no more; then everything comes in order", async () => {
  const gate = new ReadGate(systemClock);
  const count = 2_000;
  let socket: TLSSocket | undefined;
  await using server = await startScript(pki, (accepted) => {
    accepted.write(Uint8Array.from(CONNACK["5"]));
    socket ??= accepted;
  });
  await using probe = await openProbe(server, device, { gate });
  gate.hold();
  let taken = 0;
  for (let n = 0; n < count; n++) {
    socket!.write(publish([0x61], 1 + n % 100, 16_000), () => taken++);
  }
  await waitFor("the first messages to be taken by the network", () => taken > 0);
  // Another link gets all the way there and back meanwhile.
  await using _other = await openProbe(server, device, { clientId: "other" });
  assertEquals(probe.messages.length, 0);
  assertLess(taken, count);
  gate.release();
  await waitFor("everything", () => probe.messages.length === count, 20_000);
  assertEquals(probe.ends, []);
});

/** A broker that reads CONNECT and nothing more, and sends messages all the time. */
function startDeafBroker(): AsyncDisposable & { readonly port: number } {
  const { certPem: cert, keyPem: key } = pki.server;
  const listener = Deno.listenTls({ hostname: "127.0.0.1", port: 0, cert, key });
  const serving = (async () => {
    using conn = await listener.accept();
    await conn.read(new Uint8Array(1_000));
    await conn.write(Uint8Array.from(CONNACK["5"]));
    for (;;) {
      await conn.write(publish([0x61], 1));
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  })().catch((error: Error) => {
    if (!Object.hasOwn(Deno.errors, error.name)) throw error;
  });
  return {
    port: listener.addr.port,
    [Symbol.asyncDispose]: async () => {
      listener.close();
      await serving;
    },
  };
}

Deno.test("a broker that takes nothing for 1.5 times the keep-alive is gone, although it sends all the time", async () => {
  await using server = startDeafBroker();
  await using probe = await openProbe({ port: server.port, pki }, device, { keepAliveS: 1 });
  // More than the kernel takes for a socket.
  const payload = new Uint8Array(131_072);
  for (let n = 0; n < 300; n++) probe.link.publish({ topic: "a", payload, qos: 0 }, () => {});
  const end = await within("the end", probe.ended);
  assertEquals(end.by, "keep-alive");
  assertStringIncludes(end.reason, "was taken for 1.5 s");
  assert(probe.messages.length > 10);
});

Deno.test("what ends a link right behind CONNACK ends one that stood", async () => {
  const behind: readonly (readonly number[])[] = [[], [0xe0, 1, 0x8b], [0x0f, 0]];
  const ends: string[] = [];
  for (const bytes of behind) {
    await using server = await startScript(pki, (socket) => {
      socket.end(Uint8Array.from([...CONNACK["5"], ...bytes]));
    });
    await using probe = await openProbe(server, device);
    ends.push((await within("the end", probe.ended)).by);
  }
  assertEquals(ends, ["peer", "peer", "protocol"]);
});
