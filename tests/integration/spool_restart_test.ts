/** What a daemon with its spool on disk keeps over a restart, and what clients hear of a full spool. */

import { assert, assertEquals, assertRejects, assertStringIncludes } from "../deps.ts";
import { BusError, BusErrorCode } from "../../src/base/errors.ts";
import { type AwsIotCore, startAwsIotCore } from "../support/aws_iot_core.ts";
import { publish, startTestDaemon, untilConnected } from "../support/daemon.ts";
import { statusOf } from "../support/numbered.ts";
import { tempDir } from "../support/temp.ts";
import { waitFor } from "../support/wait.ts";

function startCore(behaviour: Partial<AwsIotCore["behaviour"]> = {}): Promise<AwsIotCore> {
  return startAwsIotCore({ behaviour: { connectSpacingMs: 0, ...behaviour } });
}

async function refusalOf(publishing: Promise<unknown>): Promise<BusErrorCode> {
  return (await assertRejects(() => publishing, BusError)).code;
}

Deno.test("message_expiry goes on counting over a restart: what expires is counted and not sent", async () => {
  await using core = await startCore();
  await using dir = await tempDir();
  const spool = `${dir.path}/spool`;
  await core.close();
  const accepted = performance.now();
  {
    await using daemon = await startTestDaemon(core, { spool });
    await publish(daemon.socket, { topic: "short", qos: 1, messageExpiry: 1 });
    await publish(daemon.socket, { topic: "long", qos: 1, messageExpiry: 3_600 });
    await publish(daemon.socket, { topic: "for/ever", qos: 1 });
  }
  await waitFor("its time to be over", () => performance.now() - accepted > 1_500);
  await core.reopen();
  await using daemon = await startTestDaemon(core, { spool });
  await waitFor("the others", () => core.published.length === 2);
  await waitFor("the removal", async () => (await statusOf(daemon.socket)).spool.messages === 0);
  const [long, forEver] = core.published;
  assertEquals([long!.topic, forEver!.topic], ["long", "for/ever"]);
  const left = long!.properties.messageExpiryInterval!;
  assert(left < 3_600 && left > 3_580, `${left} s`);
  assertEquals(forEver!.properties.messageExpiryInterval, undefined);
  assertEquals((await statusOf(daemon.socket)).spool.expired, 1);
});

Deno.test("a message in quarantine stays there over a restart: named in the status, never sent, and all others are", async () => {
  const attempts: string[] = [];
  await using core = await startCore({
    refusePublish: (topic) => {
      attempts.push(topic);
      return topic === "poison" ? "close" : undefined;
    },
  });
  await using dir = await tempDir();
  const spool = `${dir.path}/spool`;
  {
    await using daemon = await startTestDaemon(core, { spool });
    await untilConnected(daemon.socket);
    await publish(daemon.socket, { topic: "poison", payload: "poison", qos: 1 });
    await publish(daemon.socket, { topic: "before", qos: 1 });
    await waitFor(
      "the quarantine",
      async () => (await statusOf(daemon.socket)).spool.quarantined_messages === 1,
      30_000,
    );
    await waitFor("the other", () => core.published.some(({ topic }) => topic === "before"));
  }
  const tries = attempts.filter((topic) => topic === "poison").length;
  const connects = core.accepted.length;
  await using daemon = await startTestDaemon(core, { spool });
  await untilConnected(daemon.socket);
  await publish(daemon.socket, { topic: "after", qos: 1, ack: "broker" });
  const status = await statusOf(daemon.socket);
  assertEquals(status.spool.quarantined.map(({ topic }) => topic), ["poison"]);
  assertStringIncludes(status.spool.quarantined[0]!.reason, "closed the connection for it");
  await waitFor(
    "all but that one to be gone",
    async () => (await statusOf(daemon.socket)).spool.messages === 1,
  );
  assertEquals(attempts.filter((topic) => topic === "poison").length, tries);
  assertEquals(core.accepted.length, connects + 1, "no more closes");
});

Deno.test("a message that expires while it waits for a place in flight is not sent", async () => {
  await using core = await startCore({ ackPublish: "never" });
  await using dir = await tempDir();
  const options = { spool: `${dir.path}/spool`, noRateLimit: "true", maxInFlight: "2" };
  await using daemon = await startTestDaemon(core, options);
  await untilConnected(daemon.socket);
  // Both places in flight are taken, so the others wait with the clock running.
  for (const topic of ["first", "second"]) await publish(daemon.socket, { topic, qos: 1 });
  await publish(daemon.socket, { topic: "short", qos: 1, messageExpiry: 1 });
  await publish(daemon.socket, { topic: "last", qos: 1 });
  const accepted = performance.now();
  await waitFor("its time to be over", () => performance.now() - accepted > 1_100);
  core.behaviour.ackPublish = "auto";
  core.releaseAcks();
  await waitFor("the last", () => core.published.length === 3);
  assertEquals(core.published.map(({ topic }) => topic), ["first", "second", "last"]);
  assertEquals((await statusOf(daemon.socket)).spool.expired, 1);
});

for (const kind of ["memory", "disk"]) {
  Deno.test(`a full spool (${kind}) evicts QoS 0, oldest first, then refuses with NOMEM, and nothing accepted at QoS 1 is dropped`, async () => {
    await using core = await startCore();
    await using dir = await tempDir();
    await core.close();
    await using daemon = await startTestDaemon(core, {
      spool: kind === "disk" ? `${dir.path}/spool` : "memory",
      spoolMaxBytes: "10000",
      keepQos0WhenOffline: "true",
    });
    const payload = new Uint8Array(1_000);
    const put = (qos: number, n: number) =>
      publish(daemon.socket, { topic: `qos${qos}/${n}`, payload, qos });
    for (let n = 0; n < 5; n++) await put(0, n);
    // Each takes 1,070 bytes: 9 fit.
    for (let n = 0; n < 7; n++) await put(1, n);
    const { spool } = await statusOf(daemon.socket);
    assertEquals([spool.messages, spool.evicted, spool.refused], [9, 3, 0]);
    for (let n = 7; n < 9; n++) await put(1, n);
    assertEquals(await refusalOf(put(1, 9)), BusErrorCode.NOMEM);
    assertEquals(await refusalOf(put(0, 9)), BusErrorCode.NOMEM);
    assertEquals((await statusOf(daemon.socket)).spool.refused, 2);
    await core.reopen();
    await waitFor("the accepted ones", () => core.published.length === 9, 20_000);
    await untilConnected(daemon.socket);
    await publish(daemon.socket, { topic: "room/again", qos: 1, ack: "broker" });
    assertEquals(
      core.published.map(({ topic }) => topic),
      [...Array.from({ length: 9 }, (_, n) => `qos1/${n}`), "room/again"],
    );
  });
}

Deno.test("ack=broker waits over the disk spool too, and is refused with REMOTE and the broker's reason", async () => {
  await using core = await startCore({
    refusePublish: (topic) => topic === "forbidden" ? 0x87 : undefined,
  });
  await using dir = await tempDir();
  await using daemon = await startTestDaemon(core, { spool: `${dir.path}/spool` });
  await untilConnected(daemon.socket);
  await publish(daemon.socket, { topic: "allowed", qos: 1, ack: "broker" });
  assertEquals(core.published.length, 1);
  const refusal = await assertRejects(
    () => publish(daemon.socket, { topic: "forbidden", qos: 1, ack: "broker" }),
    BusError,
  );
  assertEquals([refusal.code, refusal.reason], [BusErrorCode.REMOTE, "Not authorized"]);
  await waitFor("it to be gone", async () => (await statusOf(daemon.socket)).spool.messages === 0);
});
