import { utf8 } from "../../src/base/bytes.ts";
import { systemClock } from "../../src/base/clock.ts";
import { BusError, BusErrorCode } from "../../src/base/errors.ts";
import { VERSION } from "../../src/base/version.ts";
import { call, connectBus, notify, subscribe } from "../../src/bus/client.ts";
import { call as callMethod, either, subscribe as subscribeMethod } from "../../src/bus/methods.ts";
import { startServer } from "../../src/bus/server.ts";
import { type Client, connect, type Status } from "../../src/client/mod.ts";
import { encodeValueFrame } from "../../src/wire/frame.ts";
import type { Value } from "../../src/wire/object.ts";
import { assertEquals, assertMatch, assertRejects } from "../deps.ts";
import { startAwsIotCore } from "../support/aws_iot_core.ts";
import { fakeLog } from "../support/fake_log.ts";
import { writePki } from "../support/pki.ts";
import { daemonArgs, startProgram } from "../support/program.ts";
import { tempDir } from "../support/temp.ts";
import { waitFor, within } from "../support/wait.ts";

Deno.test("a method of both kinds is called and subscribed to, and others of one kind still are not", async () => {
  await using dir = await tempDir();
  const path = `${dir.path}/s`;
  const server = await startServer({
    path,
    log: fakeLog(),
    clock: systemClock,
    table: {
      both: either(
        callMethod({}, () => 1n),
        subscribeMethod({}, (_params, subscriber) => {
          subscriber.accept();
          subscriber.send(encodeValueFrame(2n));
        }),
      ),
      only: callMethod({}, () => 3n),
    },
  });
  assertEquals(await call(path, "both"), 1n);
  await notify(path, "both");
  const got = Promise.withResolvers<Value>();
  const subscription = subscribe(path, "both", new Map(), (value) => got.resolve(value));
  assertEquals(await within("a value", got.promise), 2n);
  subscription.close();
  await subscription.closed;
  const refused = subscribe(path, "only", new Map(), () => {});
  const error = await assertRejects(() => refused.accepted, BusError);
  assertEquals(error.code, BusErrorCode.INVALID);
  await refused.closed;
  await server.close(0);
});

function figures({ publishes, spool, received, clients }: Status): Record<string, number> {
  // Not counted, but as it is at the moment.
  const {
    throttled_ms: _,
    throttled_by: _by,
    rate_per_minute: _rate,
    window: _window,
    ...counted
  } = publishes;
  return {
    ...counted,
    received,
    spooled: spool.messages,
    spool_refused: spool.refused,
    spool_expired: spool.expired,
    requests_refused: clients.refused,
    subscribed: clients.subscriptions,
  };
}

const NOTHING = {
  accepted: 0,
  sent: 0,
  acknowledged: 0,
  refused_by_broker: 0,
  expired: 0,
  waiting_qos0_messages: 0,
  waiting_qos0_bytes: 0,
  turned_away: 0,
  overdue: 0,
  resent: 0,
  received: 0,
  spooled: 0,
  spool_refused: 0,
  spool_expired: 0,
  requests_refused: 0,
  subscribed: 0,
};

async function until(
  client: Client,
  what: string,
  holds: (status: Status) => boolean,
): Promise<Status> {
  return await waitFor(what, async () => {
    const status = await client.status();
    return holds(status) ? status : undefined;
  });
}

Deno.test("the status of the daemon matches what was done, counter by counter", async () => {
  await using dir = await tempDir();
  await using core = await startAwsIotCore({
    behaviour: {
      connectSpacingMs: 0,
      refusePublish: (topic) => topic === "forbidden" ? 0x87 : undefined,
    },
  });
  const files = await writePki(dir.path, core.pki);
  core.register(files.device);
  const args = daemonArgs(core, files, `${dir.path}/bus`, "--spool-max-bytes", "20000");
  await using program = await startProgram(args);
  await program.logged("serving the core bus");
  await using client = await connect({ socket: `${dir.path}/bus/aws_iot_mqtt` });

  const begin = await until(client, "the connection", (s) => s.connections[0]?.connected === true);
  assertEquals(figures(begin), NOTHING);
  assertEquals(begin.connections[0]?.client_id, "thing");
  assertEquals(begin.connections[0]?.last_error, null);
  assertEquals(begin.spool.max_bytes, 20_000);
  assertEquals(begin.spool.storage, "memory");

  const messages = client.subscribe("in/#", { qos: 1 });
  await messages.accepted;
  for (let i = 0; i < 5; i++) await client.publish("in/a", `${i}`, { qos: 1, ack: "broker" });
  for (let i = 0; i < 3; i++) await client.publish("out/b", `${i}`);
  await assertRejects(() => client.publish("forbidden", "x", { qos: 1, ack: "broker" }), BusError);
  await assertRejects(() => client.publish("wild/#", "x"), BusError);
  for (let i = 0; i < 5; i++) await within("a message", messages.next());
  const online = { ...NOTHING, accepted: 9, sent: 9, acknowledged: 5, refused_by_broker: 1 };
  const middle = await until(client, "everything to be sent", (s) => s.publishes.sent === 9);
  assertEquals(figures(middle), {
    ...online,
    received: 5,
    requests_refused: 2,
    subscribed: 1,
  });
  assertEquals(middle.connections[0]?.subscriptions, 1);

  await core.close();
  const down = await until(client, "the cut", (s) => s.connections[0]?.connected === false);
  assertMatch(down.connections[0]!.last_error!, /./);
  assertEquals(down.connections[0]?.since, null);
  await client.publish("out/c", "x".repeat(15_000), { qos: 1 });
  await assertRejects(() => client.publish("out/c", "x".repeat(15_000), { qos: 1 }), BusError);
  await assertRejects(() => client.publish("out/c", "qos 0"), BusError);
  assertEquals(figures(await client.status()), {
    ...online,
    accepted: 10,
    received: 5,
    spooled: 1,
    spool_refused: 1,
    requests_refused: 4,
    subscribed: 1,
  });

  await core.reopen();
  const back = await until(client, "the spool to drain", (s) => s.publishes.acknowledged === 6);
  assertEquals(figures(back), {
    ...online,
    accepted: 10,
    sent: 10,
    acknowledged: 6,
    received: 5,
    spool_refused: 1,
    requests_refused: 4,
    subscribed: 1,
  });
  assertEquals(back.connections[0]?.connected, true);
});

Deno.test("who subscribes to the status gets one at once, and more by themselves", async () => {
  await using dir = await tempDir();
  await using core = await startAwsIotCore({ behaviour: { connectSpacingMs: 0 } });
  const files = await writePki(dir.path, core.pki);
  core.register(files.device);
  await using program = await startProgram(daemonArgs(core, files, `${dir.path}/bus`));
  await program.logged("serving the core bus");
  await using client = await connect({ socket: `${dir.path}/bus/aws_iot_mqtt` });
  const uptimes: number[] = [];
  for await (const status of client.watchStatus()) {
    uptimes.push(status.uptime);
    if (uptimes.length === 3) break;
  }
  assertEquals(uptimes, [...uptimes].sort((a, b) => a - b));
  const raw = await connectBus(client.socket);
  assertEquals((await raw.call("status") as Map<string, Value>).get("version"), utf8(VERSION));
  raw.close();
  await raw.closed;
});
