import { utf8 } from "../../src/base/bytes.ts";
import { BusError, BusErrorCode } from "../../src/base/errors.ts";
import { call, connectBus } from "../../src/bus/client.ts";
import { readStatus } from "../../src/status/codec.ts";
import type { Value } from "../../src/wire/object.ts";
import { assert, assertEquals, assertRejects, assertStringIncludes } from "../deps.ts";
import { type AwsIotCore, startAwsIotCore } from "../support/aws_iot_core.ts";
import { type ConfigValue, requiredValues, startGgConfig } from "../support/gg_config.ts";
import { listen, publish } from "../support/daemon.ts";
import { createPki, writePki } from "../support/pki.ts";
import { runProgram, startProgram } from "../support/program.ts";
import { tempDir } from "../support/temp.ts";
import { waitFor, within } from "../support/wait.ts";

const pki = await createPki();

function payloads(core: AwsIotCore): string[] {
  return core.published.map(({ payload }) => new TextDecoder().decode(payload));
}

Deno.test("iotcored-7: the program waits for a config service that starts later, then follows what it says", async () => {
  await using dir = await tempDir();
  const files = await writePki(dir.path, pki);
  await using old = await startAwsIotCore({ pki, devices: [files.device] });
  await using next = await startAwsIotCore({ pki, devices: [files.device] });
  await using program = await startProgram(["--bus-dir", dir.path]);
  await program.logged("waiting for the config service");
  await using config = await startGgConfig(dir.path, requiredValues(old, files));
  await program.logged("Connected");
  await waitFor("both watches", () => config.watched.length === 2);

  // Endpoint change under traffic: every accepted message arrives at the old or the new endpoint.
  const socket = `${dir.path}/aws_iot_mqtt`;
  const client = await connectBus(socket);
  const sent: string[] = [];
  const publish = async (): Promise<void> => {
    const payload = `m${sent.length}`;
    const params = new Map<string, Value>([
      ["topic", utf8("t")],
      ["payload", utf8(payload)],
      ["qos", 1n],
    ]);
    await client.call("publish", params);
    sent.push(payload);
    await new Promise((resolve) => setTimeout(resolve, 5));
  };
  while (old.published.length < 20) await publish();
  config.set("iotDataEndpoint", `${next.host}:${next.port}`);
  while (next.published.length < 20) await publish();
  await waitFor("every message", () => {
    const arrived = new Set([...payloads(old), ...payloads(next)]);
    return sent.every((payload) => arrived.has(payload));
  });

  // A bad new value keeps the old one.
  config.set("iotDataEndpoint", "https://nonsense/");
  await program.logged("a changed config is not used; the one before stays");
  assertStringIncludes(program.log(), "--endpoint (config key services/");
  await publish();
  await waitFor("a message after it", () => payloads(next).includes(sent.at(-1)!));

  // The service goes and comes back with another value.
  await config.stop();
  await program.logged("changes of the config are not seen until");
  config.set("iotDataEndpoint", `${old.host}:${old.port}`);
  await config.start();
  await waitFor("the old endpoint again", () => old.received("connect").length === 2);
  for (const before = sent.length; sent.length === before;) await publish();
  await waitFor("the last message", () => payloads(old).includes(sent.at(-1)!));
  client.close();
  await client.closed;
  program.signal("SIGTERM");
  assertEquals(await within("the end", program.exited), 0);
});

Deno.test("while the config service is not there clients are served, and QoS 1 is accepted into the spool", async () => {
  await using dir = await tempDir();
  const files = await writePki(dir.path, pki);
  await using core = await startAwsIotCore({ pki, devices: [files.device] });
  const spool = `${dir.path}/spool`;
  await using program = await startProgram(["--bus-dir", dir.path, "--spool", spool]);
  await program.logged("serving the core bus");
  const socket = `${dir.path}/aws_iot_mqtt`;
  await using listener = await listen(socket, "in");
  const sent = Array.from({ length: 20 }, (_, i) => `m${i}`);
  for (const payload of sent) await publish(socket, { topic: "t", payload, qos: 1 });
  const refused = await assertRejects(() => publish(socket, { topic: "t", qos: 0 }), BusError);
  assertEquals(refused.code, BusErrorCode.NOCONN);
  await using _config = await startGgConfig(dir.path, requiredValues(core, files));
  await waitFor("every message", () => core.published.length === sent.length, 20_000);
  assertEquals(payloads(core), sent);
  await waitFor("the subscription", () => core.connections[0]?.subscriptions.includes("in"));
  core.publish("in", "hello", 1);
  await waitFor("the message in", () => listener.texts().includes("hello"));
});

Deno.test("what was accepted before the config was there is kept by a stop and by the next start", async () => {
  await using dir = await tempDir();
  const spool = `${dir.path}/spool`;
  const socket = `${dir.path}/aws_iot_mqtt`;
  await using program = await startProgram(["--bus-dir", dir.path, "--spool", spool]);
  await program.logged("serving the core bus");
  await publish(socket, { topic: "t", payload: "kept", qos: 1 });
  program.signal("SIGTERM");
  assertEquals(await within("the end", program.exited), 0);
  await using again = await startProgram(["--bus-dir", dir.path, "--spool", spool]);
  await again.logged("serving the core bus");
  const { spool: { messages } } = readStatus(await call(socket, "status"));
  assertEquals(messages, 1);
});

const REFUSED: readonly (readonly [string, Record<string, ConfigValue>, string])[] = [
  ["of the wrong type", { "iotDataEndpoint": [1n] }, "--endpoint (config key services/"],
  ["that is malformed", { "mqtt/port": "x" }, 'must be a whole number from 1 to 65535, got "x"'],
  ["that names no file", { "system/rootCaPath": "{dir}/none.pem" }, "/none.pem"],
];

for (const [what, values, said] of REFUSED) {
  Deno.test(`a config value ${what} ends the program with 78 and one line`, async () => {
    await using dir = await tempDir();
    const files = await writePki(dir.path, pki);
    const required = requiredValues({ host: "localhost", port: 1 }, files);
    await using _config = await startGgConfig(dir.path, {
      ...required,
      ...Object.fromEntries(
        Object.entries(values).map(([key, value]) => [
          key,
          typeof value === "string" ? value.replace("{dir}", dir.path) : value,
        ]),
      ),
    });
    const { code, stderr } = await runProgram(["--bus-dir", dir.path]);
    assertEquals(code, 78, stderr);
    assertStringIncludes(stderr, said);
    assertEquals(stderr.trimEnd().split("\n").length, 1, stderr);
  });
}

Deno.test("a required value that nobody gives ends the program with 78, naming option and key", async () => {
  await using dir = await tempDir();
  await using _config = await startGgConfig(dir.path, { "system/thingName": "thing" });
  const { code, stderr } = await runProgram(["--bus-dir", dir.path]);
  assertEquals(code, 78);
  assertStringIncludes(stderr, "--endpoint (config key services/");
});

Deno.test("a config service that is there is not asked when the command line gives everything", async () => {
  await using dir = await tempDir();
  const files = await writePki(dir.path, pki);
  await using core = await startAwsIotCore({ pki, devices: [files.device] });
  await using config = await startGgConfig(dir.path, { "mqtt/port": "x" });
  await using program = await startProgram([
    ...["-e", `${core.host}:${core.port}`, "-i", "thing", "--bus-dir", dir.path],
    ...["-r", files.rootca, "-c", files.cert, "-k", files.key],
  ]);
  await program.logged("Connected");
  assertEquals([config.reads, config.watched], [[], []]);
  program.signal("SIGTERM");
  assertEquals(await within("the end", program.exited), 0);
});

Deno.test("the proxy's password in the config reaches no log", async () => {
  await using dir = await tempDir();
  const files = await writePki(dir.path, pki);
  await using _config = await startGgConfig(dir.path, {
    ...requiredValues({ host: "broker.invalid", port: 8883 }, files),
    "networkProxy/proxy/url": "http://user:hunter2@127.0.0.1:9",
  });
  await using program = await startProgram(["--bus-dir", dir.path, "--log-level", "debug"]);
  await program.logged("Cannot connect");
  assert(!program.log().includes("hunter2"), program.log());
  program.signal("SIGTERM");
  assertEquals(await within("the end", program.exited), 0);
});
