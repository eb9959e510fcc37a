/** A changed configuration is a reconnect: no client notices, nothing is lost, and what cannot be used is not used. */

import { assert, assertEquals, assertLess, assertStringIncludes } from "../deps.ts";
import type { AwsIotCore } from "../support/aws_iot_core.ts";
import { C_BUFFER_BYTES, cPublish } from "../support/c_client.ts";
import { compileInto } from "../support/compiled.ts";
import { ACTIVATE, type Configured, startConfigured } from "../support/configured.ts";
import { exists } from "../support/exists.ts";
import { createPki, writePki } from "../support/pki.ts";
import { startProxy } from "../support/proxy.ts";
import { waitFor, within } from "../support/wait.ts";

const pki = await createPki();

/** Messages that are published around each change. */
const COUNT = 20;

function texts(core: AwsIotCore): string[] {
  return core.published.map(({ payload }) => new TextDecoder().decode(payload));
}

/** Publishes numbered texts, each over a connection of its own, without a second try. */
async function publishAll(socket: string, name: string): Promise<string[]> {
  const sent = Array.from({ length: COUNT }, (_, i) => `${name} ${i}`);
  for (const payload of sent) await cPublish(socket, "out", payload);
  return sent;
}

/** What the subscriber of `in` got, as texts. */
function heard({ subscriber }: Configured): string[] {
  return subscriber.got.map((value) => {
    assert(value instanceof Map);
    return new TextDecoder().decode(value.get("payload") as Uint8Array);
  });
}

/** Nobody was cut off, what is published leaves, and what `core` sends arrives. */
async function assertServes(place: Configured, core: AwsIotCore, name: string): Promise<void> {
  const { socket, subscriber, status, program } = place;
  await waitFor("the subscription", () => core.connections[0]?.subscriptions.includes("in"));
  core.publish("in", name, 1);
  await waitFor(`${name} at the subscriber`, () => heard(place).includes(name));
  await cPublish(socket, "out", `after ${name}`);
  await waitFor(`after ${name}`, () => texts(core).includes(`after ${name}`));
  assertEquals([subscriber.ended, status.ended], [undefined, undefined], program.log());
}

/** A change, and what has to be true at the broker when it is in use. */
interface Change {
  readonly name: string;
  /** The broker that it leads to. */
  readonly to: "old" | "next";
  write(place: Configured): Promise<void> | void;
  inUse(place: Configured): boolean;
}

/** Every kind of change that makes a new link, on one program, one after the other. */
function changes(proxy: { readonly port: number; readonly requests: string[] }): Change[] {
  return [
    {
      name: "the endpoint",
      to: "next",
      write: ({ config, next }) => config.set("iotDataEndpoint", `${next.host}:${next.port}`),
      inUse: ({ next }) => next.connections.length === 1,
    },
    {
      name: "the port",
      to: "old",
      write: ({ config, old }) => {
        config.set("mqtt/port", BigInt(old.port));
        config.set("iotDataEndpoint", old.host);
      },
      inUse: ({ old }) => old.connections.length === 1,
    },
    {
      name: "the thing name",
      to: "old",
      write: ({ config }) => config.set("system/thingName", "another"),
      inUse: ({ old }) => old.connections.some(({ clientId }) => clientId === "another"),
    },
    {
      name: "the paths of the credentials",
      to: "old",
      write: async ({ config, dir, old, next }) => {
        await Deno.mkdir(`${dir}/rotated`);
        const { device, rootca, cert, key } = await writePki(
          `${dir}/rotated`,
          pki,
          await pki.device(),
        );
        for (const core of [old, next]) core.register(device);
        config.set("system/rootCaPath", rootca);
        config.set("system/certificateFilePath", cert);
        config.set("system/privateKeyPath", key);
      },
      inUse: ({ old, files }) =>
        old.connections.some(({ fingerprint }) => fingerprint !== files.device.fingerprint),
    },
    {
      name: "the MQTT version",
      to: "old",
      write: ({ config }) => config.set("mqtt/version", "mqtt3"),
      inUse: ({ old }) => old.connections.some(({ version }) => version === "3.1.1"),
    },
    {
      name: "the keep-alive",
      to: "old",
      write: ({ config }) => config.set("mqtt/keepAliveTimeoutMs", 77_000n),
      inUse: ({ old }) => old.connections.some(({ keepAliveSeconds }) => keepAliveSeconds === 77),
    },
    {
      name: "the proxy",
      to: "old",
      write: ({ config }) => config.set("networkProxy/proxy/url", `http://127.0.0.1:${proxy.port}`),
      // The trial beside the old link, and the link.
      inUse: () => proxy.requests.length === 2,
    },
    {
      name: "the hosts without proxy",
      to: "next",
      write: ({ config, next }) => {
        config.set("networkProxy/noproxy", next.host);
        config.set("mqtt/port", BigInt(next.port));
      },
      inUse: ({ next }) => next.connections.length === 1 && proxy.requests.length === 2,
    },
  ];
}

for (const activated of [false, true]) {
  const how = activated ? "by a passed socket" : "plainly";
  Deno.test({
    name:
      `a program that was started ${how} changes its link under load: nobody is cut off, nothing lost`,
    ignore: activated && !exists(ACTIVATE),
    fn: async (t) => {
      await using proxy = await startProxy();
      await using place = await startConfigured({ pki, activated });
      const { old, next, socket, status } = place;
      for (const change of changes(proxy)) {
        await t.step(change.name, async () => {
          const target = place[change.to];
          const other = change.to === "old" ? next : old;
          const moves = target.connections.length === 0;
          // What the broker that is left has not acknowledged goes to the new one.
          if (moves) other.behaviour.ackPublish = "never";
          const connects = status.got.length;
          const waiting = moves ? await publishAll(socket, `${change.name}, before`) : [];
          const during = publishAll(socket, `${change.name}, during`);
          await change.write(place);
          const sent = [...waiting, ...await during];
          await waitFor(`${change.name} in use`, () => change.inUse(place), 20_000);
          const arrived = (): string[] => moves ? texts(target) : [...texts(old), ...texts(next)];
          await waitFor(
            `${sent.length} of ${sent.length}`,
            () => sent.every((text) => arrived().includes(text)),
            20_000,
          );
          await assertServes(place, target, change.name);
          assertEquals(status.got.slice(connects), [false, true]);
          other.behaviour.ackPublish = "auto";
        });
      }
      assertEquals((await place.report()).config_waiting, null);
      place.program.signal("SIGTERM");
      assertEquals(await within("the end", place.program.exited), 0);
    },
  });
}

for (const spool of ["memory", "{dir}/spool"]) {
  Deno.test(`another endpoint gets what waited in the spool (${spool}), in its order`, async () => {
    await using place = await startConfigured({ pki, args: ["--spool", spool] });
    const { old, next, config, socket, status } = place;
    await old.close();
    await waitFor("the loss", () => status.got.at(-1) === false);
    const waiting = await publishAll(socket, "waiting");
    config.set("iotDataEndpoint", `${next.host}:${next.port}`);
    await waitFor("everything that waited", () => texts(next).length >= COUNT, 20_000);
    assertEquals(texts(next), waiting);
    await assertServes(place, next, "after");
    place.program.signal("SIGTERM");
    assertEquals(await within("the end", place.program.exited), 0);
  });
}

/** A change that cannot be used, and what is said of it. */
const UNUSABLE: readonly (readonly [
  what: string,
  write: (place: Configured, proxy: number) => Promise<void> | void,
  said: string,
])[] = [
  [
    "an unknown host",
    ({ config }) => config.set("iotDataEndpoint", "none.invalid"),
    "none.invalid",
  ],
  [
    "a certificate that cannot be read",
    ({ config, dir }) => config.set("system/certificateFilePath", `${dir}/none.pem`),
    "/none.pem: it cannot be read",
  ],
  [
    "a key that belongs to another certificate",
    async ({ config, dir }) => {
      const { keyPem } = await pki.device();
      await Deno.writeTextFile(`${dir}/other.pem`, keyPem);
      config.set("system/privateKeyPath", `${dir}/other.pem`);
    },
    "must belong to the certificate",
  ],
  [
    "a proxy that refuses",
    ({ config }, proxy) =>
      config.set("networkProxy/proxy/url", `http://u:hunter2@127.0.0.1:${proxy}`),
    "refused the tunnel: 403",
  ],
  [
    "a root that did not sign the broker's certificate",
    async ({ config, dir }) => {
      await Deno.mkdir(`${dir}/stranger`);
      const { rootca } = await writePki(`${dir}/stranger`, await createPki());
      config.set("system/rootCaPath", rootca);
    },
    "Cannot use the changed configuration",
  ],
  [
    "a malformed endpoint",
    ({ config }) => config.set("iotDataEndpoint", "https://x/"),
    "--endpoint",
  ],
];

Deno.test("a change that cannot be used keeps the link that stands, and is named once in log and status", async (t) => {
  const raw = "HTTP/1.1 403 Forbidden\r\n\r\n";
  await using proxy = await startProxy({ answer: { raw } });
  for (const [what, write, said] of UNUSABLE) {
    await t.step(what, async () => {
      await using place = await startConfigured({ pki });
      const { old, config, program, status } = place;
      const before = status.got.length;
      await write(place, proxy.port);
      await program.logged("a changed config is not used; the one before stays");
      const waiting = (await place.report()).config_waiting ?? "";
      assertStringIncludes(waiting, said);
      config.set("unrelated", "value");
      config.set("mqtt/maxInFlightPublishes", 50n);
      await assertServes(place, old, what);
      assertEquals(old.received("connect").length, 1);
      assertEquals(status.got.length, before);
      assertEquals(program.log().split("a changed config is not used").length - 1, 1);
      assert(!program.log().includes("hunter2"), program.log());
      assert(!waiting.includes("hunter2"), waiting);
    });
  }
});

Deno.test("a thing name that the broker refuses is gone back from, and the next good one is used", async () => {
  await using place = await startConfigured({ pki });
  const { old, config, program } = place;
  // Never answered: the certificate's policy allows `iot:Connect` for another name alone.
  old.behaviour.refuseConnect = (clientId) => clientId === "forbidden" ? 0x87 : undefined;
  config.set("system/thingName", "forbidden");
  await waitFor("the refusal", () => old.received("connect").length >= 2);
  await program.logged("a changed config is not used; the one before stays", 45_000);
  assertStringIncludes(program.log(), "back to the configuration before");
  await assertServes(place, old, "back");
  assertEquals(old.connections.map(({ clientId }) => clientId), ["thing"]);
  assertStringIncludes((await place.report()).config_waiting ?? "", "forbidden");
  config.set("system/thingName", "allowed");
  await waitFor("the good name", () => old.connections[0]?.clientId === "allowed", 20_000);
  await assertServes(place, old, "allowed");
  assertEquals((await place.report()).config_waiting, null);
});

Deno.test("a value outside the permissions waits: the link stays, the compile option is named", async () => {
  await using place = await startConfigured({
    pki,
    command: async (dir, [old]) => {
      const build = `${dir}/build`;
      await Deno.mkdir(build);
      const { command } = await compileInto(build, [
        ...["--endpoint", `${old!.host}:${old!.port}`, "--only-read", dir, "--bus-dir", dir],
      ]);
      return command;
    },
  });
  const { old, next, config, program } = place;
  config.set("iotDataEndpoint", `${next.host}:${next.port}`);
  await program.logged("a changed config is not used; the one before stays");
  const { config_waiting } = await place.report();
  for (const text of [program.log(), config_waiting ?? ""]) {
    assertStringIncludes(text, `Cannot reach ${next.host}:${next.port}`);
    assertStringIncludes(text, `may reach ${old.host}:${old.port}`);
    assertStringIncludes(text, `deno task compile -- --endpoint ${next.host}:${next.port}`);
  }
  await assertServes(place, old, "still");
  config.set("system/certificateFilePath", "/etc/shadow");
  config.set("iotDataEndpoint", `${old.host}:${old.port}`);
  await waitFor("the second refusal", () => program.log().includes("Cannot read /etc/shadow"));
  config.set("system/certificateFilePath", place.files.cert);
  await waitFor("nothing waits", async () => (await place.report()).config_waiting === null);
  await assertServes(place, old, "as before");
  assertEquals([old.received("connect").length, next.accepted.length], [1, 0]);
});

Deno.test("10,000 changes in a second are a few reconnects, and the last value wins", async () => {
  await using place = await startConfigured({ pki });
  const { old, config } = place;
  const started = performance.now();
  for (let i = 0; i < 10_000; i++) {
    config.set("system/thingName", `thing-${i}`);
    if (i % 100 === 0) await new Promise((resolve) => setTimeout(resolve, 5));
  }
  await waitFor("the last name", () => old.connections[0]?.clientId === "thing-9999", 20_000);
  const seconds = (performance.now() - started) / 1_000;
  assertLess(old.received("connect").length, 2 + seconds);
  await assertServes(place, old, "after the flood");
});

Deno.test("a config daemon that comes back with another value is followed, also when it was garbage between", async () => {
  await using place = await startConfigured({ pki });
  const { old, next, config, dir } = place;
  await config.stop();
  {
    using garbage = Deno.listen({ transport: "unix", path: `${dir}/gg_config` });
    const conn = await within("another watch", garbage.accept());
    await conn.write(new TextEncoder().encode("HTTP/1.1 400 Bad\r\n\r\n"));
    conn.close();
  }
  await Deno.remove(`${dir}/gg_config`).catch((error) => {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  });
  config.set("iotDataEndpoint", `${next.host}:${next.port}`);
  await config.start();
  await waitFor("the new endpoint", () => next.connections.length === 1, 30_000);
  await assertServes(place, next, "followed");
  assertEquals(old.connections, []);
});

Deno.test("the C client's buffer takes a message that nearly fills it", async () => {
  await using place = await startConfigured({ pki });
  const { old, subscriber } = place;
  old.publish("in", "x".repeat(C_BUFFER_BYTES - 200), 1);
  await waitFor("the large message", () => subscriber.got.length === 1);
  assertEquals(subscriber.ended, undefined);
});
