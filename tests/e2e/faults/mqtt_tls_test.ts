/** What the broker and the network may do to the daemon. */

import { assert, assertEquals, assertGreaterOrEqual } from "../../deps.ts";
import type { Behaviour } from "../../support/aws_iot_core.ts";
import { connected, listen, publish, publishParams, untilConnected } from "../../support/daemon.ts";
import { startProgram } from "../../support/program.ts";
import { waitFor } from "../../support/wait.ts";
import { assertServes, heard, missing, scene, stop, world } from "./scene.ts";

/** A broker that is no good, and what the log says of it. */
type Bad = readonly [what: string, behaviour: Partial<Behaviour>, says: string];

const AT_THE_START: readonly Bad[] = [
  ["drops TCP at once", { closeOn: "accept" }, "next_attempt_s="],
  ["closes after CONNECT", { closeOn: "connect" }, "next_attempt_s="],
  ["closes after CONNACK", { closeOn: "connack" }, "next_attempt_s="],
  ["sends garbage in place of TLS", { garbage: "tls" }, "next_attempt_s="],
  ["sends garbage in place of CONNACK", { garbage: "connack" }, "next_attempt_s="],
  ["sends garbage after CONNACK", { garbage: "after-connack" }, "next_attempt_s="],
  ["sends a second CONNACK", { secondConnack: true }, "a second CONNACK came"],
  ["accepts TCP and is silent", { silent: "tls" }, "10000 ms"],
  ["completes TLS and is silent", { silent: "connack" }, "10000 ms"],
  ["is busy", { refuseConnect: () => 0x89 }, "next_attempt_s="],
  ["sends a PUBACK for nothing", { strayPuback: true }, "which does not wait for one"],
];

/** Those that may be a busy account. */
const LEFT_ALONE = ["closes after CONNECT", "is busy"];

/** A broker is no good from the start, then it is: the program waits for it, and nothing that it accepted is lost. */
async function waitOut([what, behaviour, says]: Bad): Promise<void> {
  await using place = await world();
  const { core, args, socket } = place;
  Object.assign(core.behaviour, behaviour);
  const good = Object.fromEntries(Object.keys(behaviour).map((key) => [key, undefined]));
  await using program = await startProgram(args);
  await program.logged(says, 30_000);
  await publish(socket, { topic: "t", payload: what, qos: 1 });
  Object.assign(core.behaviour, good, { refuseConnect: () => undefined });
  // A busy account is left alone for up to a minute, unless the operator asks.
  if (LEFT_ALONE.includes(what)) program.signal("SIGHUP");
  await untilConnected(socket);
  await waitFor(`the message of ${what}`, () => missing([what], core).length === 0);
  await assertServes(socket);
  assertEquals([what, await stop(program), core.violations], [what, 0, []]);
}

Deno.test("a broker that misbehaves in any way is waited for, and nothing that was accepted is lost", async () => {
  // At once, as most of the time is spent waiting.
  const results = await Promise.allSettled(AT_THE_START.map(waitOut));
  const failures = results.flatMap((result, n) =>
    result.status === "rejected" ? [`${AT_THE_START[n]![0]}: ${result.reason}`] : []
  );
  assertEquals(failures, []);
});

Deno.test("links that drop again and again under load lose and disorder nothing", async () => {
  await using place = await scene();
  const { core, socket, program } = place;
  await using listener = await listen(socket, "load");
  await using client = await connected(socket);
  const texts = Array.from({ length: 150 }, (_, n) => `${n}`);
  const publishing = (async () => {
    for (const payload of texts) {
      await client.call("publish", publishParams({ topic: "load", payload, qos: 1 }));
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  })();
  for (let drop = 0; drop < 3; drop++) {
    await waitFor("a link", () => core.connections.length === 1, 20_000);
    await new Promise((resolve) => setTimeout(resolve, 200));
    await core.dropLinks();
  }
  await publishing;
  await waitFor("all of it", () => missing(texts, core).length === 0, 20_000);
  for (const text of texts) await heard(listener, text);
  const order = [...new Set(listener.texts())];
  assertEquals(order, texts);
  assertEquals([await stop(program), core.violations], [0, []]);
});

Deno.test("a link that freezes is given up when a SUBSCRIBE stays without an answer, and its client is served", async () => {
  await using place = await scene();
  const { core, socket, program } = place;
  core.freezeLinks();
  const publishing = publish(socket, { topic: "frozen/a", payload: "spooled", qos: 1 });
  await using listener = await listen(socket, "frozen/#");
  await publishing;
  await program.logged("SUBSCRIBE was not answered", 15_000);
  await heard(listener, "spooled");
  await assertServes(socket);
});

Deno.test("another device with the same id is recognised, and never answered by a storm of CONNECTs", async () => {
  await using place = await scene();
  const { core, socket, program } = place;
  for (let round = 0; round < 3; round++) {
    await waitFor("a link", () => core.connections.length === 1, 20_000);
    core.disconnect("thing", 0x8e);
    await waitFor("its end", () => core.connections.length === 0);
  }
  await untilConnected(socket);
  await assertServes(socket);
  const times = core.received("connect").map(({ at }) => at);
  for (const [n, time] of times.entries()) {
    if (n > 0) assertGreaterOrEqual(time - times[n - 1]!, 950);
  }
  assert(/taken over|another (device|client)/.test(program.log()), program.log());
});

Deno.test("a broker that accepts and drops is tried at growing intervals", async () => {
  await using place = await world();
  const { core, args } = place;
  core.behaviour.closeOn = "connack";
  await using program = await startProgram(args);
  await waitFor("some attempts", () => core.received("connect").length >= 4, 30_000);
  const waits = [...program.log().matchAll(/next_attempt_s=([\d.]+)/g)].map(([, s]) => Number(s));
  for (const [n, seconds] of waits.entries()) {
    assert(seconds <= 2 ** n + 1, `attempt ${n} after ${seconds} s: ${waits}`);
  }
  const times = core.received("connect").map(({ at }) => at);
  for (const [n, time] of times.entries()) {
    if (n > 0) assertGreaterOrEqual(time - times[n - 1]!, 950);
  }
  assertEquals(await stop(program), 0);
});
