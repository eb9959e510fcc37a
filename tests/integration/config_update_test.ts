import { utf8 } from "../../src/base/bytes.ts";
import { systemClock } from "../../src/base/clock.ts";
import { ExitError } from "../../src/base/errors.ts";
import { type BusConnection, connectBus, subscribe } from "../../src/bus/client.ts";
import { type CliSettings, type Config, resolveConfig } from "../../src/config/resolve.ts";
import { type Daemon, startDaemon } from "../../src/daemon/daemon.ts";
import type { Value } from "../../src/wire/object.ts";
import { assert, assertEquals, assertGreater, assertRejects } from "../deps.ts";
import { type AwsIotCore, startAwsIotCore } from "../support/aws_iot_core.ts";
import { type FakeLog, fakeLog } from "../support/fake_log.ts";
import { statusOf } from "../support/numbered.ts";
import { createPki, type PkiFiles, writePki } from "../support/pki.ts";
import { startProxy } from "../support/proxy.ts";
import { tempDir } from "../support/temp.ts";
import { waitFor, within } from "../support/wait.ts";

const pki = await createPki();

/** A daemon in this process, with two brokers that know its device. */
class House implements AsyncDisposable {
  readonly log: FakeLog = fakeLog();
  daemon!: Daemon;
  config!: Config;
  readonly #stack = new AsyncDisposableStack();

  private constructor(
    readonly dir: string,
    readonly files: PkiFiles,
    readonly old: AwsIotCore,
    readonly next: AwsIotCore,
  ) {}

  static async build(given: CliSettings = {}): Promise<House> {
    const dir = await tempDir();
    const files = await writePki(dir.path, pki);
    const cores = await Promise.all(
      [0, 1].map(() => startAwsIotCore({ pki, devices: [files.device] })),
    );
    const house = new House(dir.path, files, cores[0]!, cores[1]!);
    house.#stack.use(dir);
    for (const core of cores) house.#stack.use(core);
    house.config = house.resolve(given);
    const { log } = house;
    house.daemon = await startDaemon(house.config, {
      clock: systemClock,
      log,
      random: Math.random,
    });
    await house.connected(house.old, "thing");
    return house;
  }

  resolve(given: CliSettings = {}): Config {
    const { old, files, dir } = this;
    return resolveConfig(
      {
        endpoint: `${old.host}:${old.port}`,
        id: "thing",
        rootca: files.rootca,
        cert: files.cert,
        key: files.key,
        busDir: dir,
        ...given,
      },
      {},
      new Map(),
      2,
    );
  }

  async update(given: CliSettings): Promise<void> {
    await this.daemon.update(this.resolve(given));
  }

  get socket(): string {
    return `${this.dir}/aws_iot_mqtt`;
  }

  async connected(core: AwsIotCore, clientId: string): Promise<void> {
    await waitFor(
      `${clientId} to connect`,
      () => core.connections.some((connection) => connection.clientId === clientId),
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.daemon.stop();
    await this.daemon.finished;
    await this.#stack.disposeAsync();
  }
}

function publish(client: BusConnection, payload: string, qos = 1n): Promise<Value> {
  return client.call(
    "publish",
    new Map<string, Value>([["topic", utf8("t")], ["payload", utf8(payload)], ["qos", qos]]),
  );
}

function payloads(core: AwsIotCore): string[] {
  return core.published.map(({ payload }) => new TextDecoder().decode(payload));
}

Deno.test("endpoint change under traffic: every accepted message arrives at the old or the new endpoint", async () => {
  await using house = await House.build();
  const { old, next } = house;
  const client = await connectBus(house.socket);
  const sent: string[] = [];
  let moved = false;
  const publishing = (async () => {
    for (let i = 0; !moved || i % 40 !== 0; i++) {
      await publish(client, `m${i}`);
      sent.push(`m${i}`);
      await new Promise((resolve) => setTimeout(resolve, 4));
    }
  })();
  await waitFor("some at the old endpoint", () => old.published.length > 20);
  await house.update({ endpoint: `${next.host}:${next.port}` });
  await waitFor("some at the new endpoint", () => next.published.length > 20);
  moved = true;
  await publishing;
  await waitFor("all of them", () => {
    const arrived = new Set([...payloads(old), ...payloads(next)]);
    return sent.every((payload) => arrived.has(payload));
  });
  assertGreater(sent.length, 40);
  assertEquals(old.connections, []);
  assertEquals([...old.violations, ...next.violations], []);
  client.close();
  await client.closed;
});

Deno.test("subscriptions and the spool move to the new endpoint", async () => {
  await using house = await House.build();
  const { old, next } = house;
  const got: string[] = [];
  const subscription = subscribe(
    house.socket,
    "subscribe",
    new Map([["topic_filter", utf8("in/#")]]),
    (value) => {
      assert(value instanceof Map);
      got.push(new TextDecoder().decode(value.get("payload") as Uint8Array));
    },
  );
  await within("the subscription", subscription.accepted);
  await old.close();
  const client = await connectBus(house.socket);
  await publish(client, "spooled");
  await house.update({ endpoint: `${next.host}:${next.port}` });
  await waitFor("the spooled message", () => payloads(next).includes("spooled"));
  await waitFor("the subscription", () => next.connections[0]?.subscriptions.includes("in/#"));
  next.publish("in/a", "hello", 1);
  await waitFor("a message from the new endpoint", () => got.includes("hello"));
  subscription.close();
  client.close();
  await Promise.all([subscription.closed, client.closed]);
});

Deno.test("thing name, keep-alive, MQTT version, proxy and credentials apply with a new link", async () => {
  await using house = await House.build();
  const { old } = house;
  const other = await pki.device();
  old.register(other);
  await Deno.mkdir(`${house.dir}/new`);
  const files = await writePki(`${house.dir}/new`, pki, other);
  await using proxy = await startProxy();
  const credentials = { cert: files.cert, key: files.key };
  await house.update({ ...credentials, id: "renamed" });
  await house.connected(old, "renamed");
  await waitFor("the new certificate", () => old.connections[0]?.fingerprint === other.fingerprint);
  await house.update({
    ...credentials,
    id: "third",
    keepAliveS: "77",
    mqttVersion: "3.1.1",
    proxy: `http://127.0.0.1:${proxy.port}`,
  });
  await house.connected(old, "third");
  const [connection] = old.connections;
  assertEquals([connection?.keepAliveSeconds, connection?.version], [77, "3.1.1"]);
  // It is tried beside the link that stands before it carries one.
  const request = `CONNECT ${old.host}:${old.port} HTTP/1.1`;
  assertEquals(proxy.requests, [request, request]);
});

Deno.test("credential files that cannot be used are refused, and the old configuration stays whole", async () => {
  await using house = await House.build();
  const stranger = await writePki(await Deno.makeTempDir({ dir: house.dir }), pki);
  for (
    const [given, said] of [
      [{ cert: `${house.dir}/none.pem` }, "cannot be read"],
      [{ key: stranger.key }, "must belong to the certificate"],
    ] as const
  ) {
    const { next } = house;
    const change = { ...given, endpoint: `${next.host}:${next.port}`, id: "never" };
    await assertRejects(() => house.update(change), ExitError, said);
  }
  house.daemon.reconnect("test");
  await waitFor("a second link", () => house.old.received("connect").length === 2);
  await house.connected(house.old, "thing");
  assertEquals(house.next.accepted, []);
});

Deno.test("what a running daemon can change without a new link is changed at once", async () => {
  await using house = await House.build({ maxInFlight: "1" });
  const { old } = house;
  old.behaviour.ackPublish = "never";
  const client = await connectBus(house.socket);
  for (let i = 0; i < 6; i++) await publish(client, `m${i}`);
  await waitFor("one in flight", () => old.received("publish").length === 1);
  await house.update({ maxInFlight: "4", keepQos0WhenOffline: "true", maxConnections: "2" });
  await waitFor("four in flight", () => old.received("publish").length === 4);
  const { queues } = await statusOf(house.socket);
  assertEquals(queues.filter(({ name }) => /in_flight|^subscriptions/.test(name)), [
    { name: "in_flight", fill: 4, bound: 4 },
    { name: "subscriptions", fill: 0, bound: 100 },
  ]);
  assertEquals(old.received("connect").length, 1);
  old.behaviour.ackPublish = "auto";
  old.releaseAcks();
  await waitFor("all of them", () => payloads(old).length === 6);
  await old.close();
  await waitFor(
    "the loss to be seen",
    () => house.log.lines.some(({ text }) => text.startsWith("The connection was lost")),
  );
  await publish(client, "kept", 0n);
  client.close();
  await client.closed;
});

Deno.test("a change that needs a restart is said and changes nothing; no change says nothing", async () => {
  await using house = await House.build();
  const lines = house.log.lines.length;
  await house.update({});
  assertEquals(house.log.lines.length, lines);
  await house.update({ spoolMaxBytes: "4096" });
  const warnings = house.log.lines.slice(lines).filter(({ level }) => level === "warn");
  assertEquals(warnings.map(({ fields }) => fields.waiting), ["spoolMaxBytes"]);
  assertEquals(house.old.received("connect").length, 1);
});
