import { utf8 } from "../../src/base/bytes.ts";
import type { ExitError } from "../../src/base/errors.ts";
import { createLog } from "../../src/base/log.ts";
import { Connection } from "../../src/mqtt/connection.ts";
import { createDial, type Target } from "../../src/mqtt/dial.ts";
import type { MqttVersion, PublishResult } from "../../src/mqtt/link.ts";
import { assert, assertEquals, assertGreaterOrEqual, assertStringIncludes } from "../deps.ts";
import { startAwsIotCore } from "../support/aws_iot_core.ts";
import { mosquittoAvailable, startMosquitto } from "../support/mosquitto.ts";
import { createPki, writePki } from "../support/pki.ts";
import { tempDir } from "../support/temp.ts";
import { waitFor, within } from "../support/wait.ts";

const pki = await createPki();
const device = await pki.device();

/** A connection with its credential files and a record of what happened. */
interface Bench extends AsyncDisposable {
  readonly connection: Connection;
  readonly target: { -readonly [K in keyof Target]: Target[K] };
  readonly ups: boolean[];
  readonly downs: string[];
  readonly messages: string[];
  readonly failures: ExitError[];
  readonly log: () => string;
  publish(topic: string, qos: 0 | 1): Promise<PublishResult | undefined>;
}

async function startBench(port: number, changes: Partial<Target> = {}): Promise<Bench> {
  const dir = await tempDir();
  const files = await writePki(dir.path, pki, device);
  const target: Target = {
    host: "localhost",
    port,
    clientId: "thing",
    version: "5",
    keepAliveS: 60,
    credentials: { rootca: files.rootca, cert: files.cert, key: files.key },
    ...changes,
  };
  let lines = "";
  const log = createLog({
    level: "debug",
    format: "text",
    write: (line) => void (lines += line),
    wallNow: Date.now,
  });
  const ups: boolean[] = [];
  const downs: string[] = [];
  const messages: string[] = [];
  const failures: ExitError[] = [];
  const connection = new Connection({
    target: () => target,
    dial: createDial({ log }),
    handler: {
      onUp: ({ sessionPresent }) => void ups.push(sessionPresent),
      onDown: ({ by }) => void downs.push(by),
      onMessage: (topic) => void messages.push(topic),
      onFailed: (error) => void failures.push(error),
    },
    log,
    // The shortest wait: what remains is one CONNECT per second.
    random: () => 0,
  });
  connection.start();
  return {
    connection,
    target,
    ups,
    downs,
    messages,
    failures,
    log: () => lines,
    publish: (topic, qos) => {
      const answer = Promise.withResolvers<PublishResult | undefined>();
      assert(connection.publish({ topic, payload: utf8("x"), qos }, answer.resolve));
      return within("PUBACK", answer.promise);
    },
    [Symbol.asyncDispose]: async () => {
      await connection.stop();
      await dir[Symbol.asyncDispose]();
    },
  };
}

Deno.test("iotcored-3: the link comes back after a drop, resumes its session and misses nothing", async () => {
  await using server = await startAwsIotCore({ pki, devices: [device] });
  await using bench = await startBench(server.port);
  await waitFor("the link", () => bench.ups.length === 1);
  assertEquals((await bench.connection.subscribe(["in/#"], 1))?.map(({ code }) => code), [1]);
  await server.close();
  await waitFor("the loss", () => bench.downs.length === 1);
  server.publish("in/meanwhile", "x", 1);
  await server.reopen();
  await waitFor("the link again", () => bench.ups.length === 2);
  await waitFor("the message", () => bench.messages.length === 1);
  assertEquals(bench.ups, [false, true]);
  assertEquals((await bench.publish("out", 1))?.reason, "");
  const [first, ...others] = server.received("connect").map(({ packet }) => packet);
  assertEquals([first?.clean, others.every(({ clean }) => !clean)], [true, true]);
  assertEquals(first?.properties?.sessionExpiryInterval, 3_600);
  assertEquals(server.violations, []);
});

Deno.test("a broker that accepts and drops at once never sees two CONNECTs within a second", async () => {
  await using server = await startAwsIotCore({
    pki,
    devices: [device],
    behaviour: { closeOn: "connack" },
  });
  await using bench = await startBench(server.port);
  await waitFor("three attempts", () => server.received("connect").length >= 3);
  await bench.connection.stop();
  const times = server.received("connect").map(({ at }) => at);
  for (let i = 1; i < times.length; i++) assertGreaterOrEqual(times[i]! - times[i - 1]!, 995);
  assertEquals(server.violations, []);
});

Deno.test("iotcored-4: a certificate that is revoked while the link stands ends in exit code 77", async () => {
  await using server = await startAwsIotCore({ pki, devices: [device] });
  await using bench = await startBench(server.port);
  await waitFor("the link", () => bench.ups.length === 1);
  server.revoke(device);
  await waitFor("the failure", () => bench.failures.length === 1);
  const [error] = bench.failures;
  assertEquals(error?.exit, 77);
  assertStringIncludes(error!.message, bench.target.credentials.cert);
  assertStringIncludes(error!.message, "CONNACK 0x87 (not authorized)");
});

Deno.test("credentials are read again for each connect; with a bad file the old ones stay in use", async () => {
  await using server = await startAwsIotCore({ pki, devices: [device] });
  await using bench = await startBench(server.port);
  await waitFor("the link", () => bench.ups.length === 1);
  assertStringIncludes(bench.log(), "The certificate is valid");
  await Deno.writeTextFile(bench.target.credentials.key, "half a file");
  bench.connection.reconnect("SIGHUP");
  await waitFor("the complaint", () => /must be a private key in PEM/.test(bench.log()));
  await waitFor("a link with the old ones", () => bench.ups.length === 2);
  assertEquals(server.connections[0]?.fingerprint, device.fingerprint);
  const renewed = await pki.device();
  server.register(renewed);
  await Deno.writeTextFile(bench.target.credentials.cert, renewed.certPem);
  await Deno.writeTextFile(bench.target.credentials.key, renewed.keyPem);
  bench.connection.reconnect("SIGHUP");
  await waitFor("the link with the new certificate", () => bench.ups.length === 3);
  assertEquals(server.connections[0]?.fingerprint, renewed.fingerprint);
  assertEquals(bench.failures, []);
});

Deno.test("a root CA file with a block that cannot be decoded connects, and the block is named once", async () => {
  await using server = await startAwsIotCore({ pki, devices: [device] });
  await using dir = await tempDir();
  const rootca = `${dir.path}/roots.pem`;
  const bad = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
  await Deno.writeTextFile(rootca, pki.ca.certPem + bad);
  const files = await writePki(dir.path, pki, device);
  const credentials = { rootca, cert: files.cert, key: files.key };
  await using bench = await startBench(server.port, { credentials });
  await waitFor("the link", () => bench.ups.length === 1);
  bench.connection.reconnect("to read the files again");
  await waitFor("the next link", () => bench.ups.length === 2);
  assertEquals(bench.log().match(/A root certificate is left out: .*block 2/g)?.length, 1);
});

Deno.test("a bad credential file at the start ends in exit code 78, before any connection", async () => {
  await using server = await startAwsIotCore({ pki, devices: [device] });
  const credentials = { rootca: "/no/ca", cert: "/no/cert", key: "/no/key" };
  await using bench = await startBench(server.port, { credentials });
  await waitFor("the failure", () => bench.failures.length === 1);
  assertEquals(bench.failures[0]?.exit, 78);
  assertEquals(server.accepted.length, 0);
});

Deno.test("a changed endpoint takes effect by reconnect", async () => {
  await using one = await startAwsIotCore({ pki, devices: [device] });
  await using two = await startAwsIotCore({ pki, devices: [device] });
  await using bench = await startBench(one.port);
  await waitFor("the first link", () => bench.ups.length === 1);
  bench.target.port = two.port;
  bench.connection.reconnect("the endpoint changed");
  await waitFor("the second link", () => two.connections.length === 1);
  assertEquals(one.received("disconnect").length, 1);
  assertEquals(bench.downs, ["local"]);
});

Deno.test("stop sends DISCONNECT", async () => {
  await using server = await startAwsIotCore({ pki, devices: [device] });
  await using bench = await startBench(server.port);
  await waitFor("the link", () => bench.ups.length === 1);
  await within("the stop", bench.connection.stop());
  assertEquals(server.received("disconnect").length, 1);
  assertEquals(bench.connection.status.connected, false);
});

Deno.test("stop does not wait for a frozen broker", async () => {
  await using server = await startAwsIotCore({ pki, devices: [device] });
  await using bench = await startBench(server.port);
  await waitFor("the link", () => bench.ups.length === 1);
  server.freezeLinks();
  await within("the stop", bench.connection.stop(), 2_000);
});

for (const version of ["5", "3.1.1"] as const satisfies readonly MqttVersion[]) {
  Deno.test({
    name: `mosquitto, MQTT ${version}: connects, publishes, subscribes, and comes back`,
    ignore: !mosquittoAvailable(),
    fn: async () => {
      await using server = await startMosquitto({ pki });
      await using bench = await startBench(server.port, { version });
      await waitFor("the link", () => bench.ups.length === 1);
      const granted = await bench.connection.subscribe(["in/+", "x"], 1);
      assertEquals(granted?.map(({ code }) => code), [1, 1]);
      assertEquals((await bench.publish("in/one", 1))?.reason, "");
      await bench.publish("in/zero", 0);
      await waitFor("both messages", () => bench.messages.length === 2);
      assertEquals(await bench.connection.unsubscribe(["in/+"]), [{ code: 0, reason: "" }]);
      await server.stop();
      await waitFor("the loss", () => bench.downs.length === 1);
      await server.start();
      await waitFor("the link again", () => bench.ups.length === 2);
      await bench.connection.subscribe(["in/+"], 1);
      await bench.publish("in/two", 1);
      await waitFor("the third message", () => bench.messages.length === 3);
      assertEquals(bench.messages, ["in/one", "in/zero", "in/two"]);
    },
  });
}
