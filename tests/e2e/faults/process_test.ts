/** What may happen to the program as a process: it is stopped, killed, started twice, cut off from its streams, or has a bug. */

import { assert, assertEquals, assertMatch, assertRejects } from "../../deps.ts";
import { BusError, BusErrorCode, Exit } from "../../../src/base/errors.ts";
import { connected, listen, publish, publishParams } from "../../support/daemon.ts";
import { startFaultyProgram } from "../../support/faulty_program.ts";
import { FROM_SOURCE, runProgram, startProgram } from "../../support/program.ts";
import { waitFor, within } from "../../support/wait.ts";
import { assertServes, heard, missing, scene, stop, taken, world } from "./scene.ts";

/** Publishes numbered texts at QoS 1 until it is told to stop or the program is gone; returns those that were accepted. */
function publishOn(socket: string, name: string) {
  const accepted: string[] = [];
  let going = true;
  const done = (async () => {
    await using client = await connected(socket);
    for (let i = 0; going; i++) {
      const payload = `${name} ${i}`;
      try {
        await client.call("publish", publishParams({ topic: "load", payload, qos: 1 }));
        accepted.push(payload);
      } catch (error) {
        if (error instanceof BusError && error.code === BusErrorCode.NOCONN) return;
        throw error;
      }
    }
  })();
  return {
    accepted,
    stop: async (): Promise<void> => {
      going = false;
      await done;
    },
  };
}

Deno.test("a program that is frozen for seconds goes on where it was", async () => {
  await using place = await scene();
  const { core, program, socket } = place;
  await using listener = await listen(socket, "t");
  program.signal("SIGSTOP");
  const waiting = publish(socket, { topic: "t", payload: "while frozen", qos: 1 });
  core.publish("t", "from the cloud", 1);
  await new Promise((resolve) => setTimeout(resolve, 3_000));
  program.signal("SIGCONT");
  await within("the publish", waiting);
  await heard(listener, "while frozen");
  await heard(listener, "from the cloud");
  assertEquals(await stop(program), 0);
});

Deno.test("a program that is killed under load has lost nothing that it accepted", async () => {
  await using place = await world("--spool", "{dir}/spool");
  const accepted: string[] = [];
  for (let round = 0; round < 2; round++) {
    await using program = await startProgram(place.args);
    await program.logged("serving the core bus");
    const loads = ["a", "b", "c"].map((name) => publishOn(place.socket, `${round}${name}`));
    await waitFor("load", () => loads.every(({ accepted }) => accepted.length > 30));
    program.signal("SIGKILL");
    await program.exited;
    for (const load of loads) {
      await load.stop();
      accepted.push(...load.accepted);
    }
  }
  await using program = await startProgram(place.args);
  await program.logged("Connected");
  await waitFor("all of it", () => missing(accepted, place.core).length === 0, 20_000);
  await assertServes(place.socket);
});

Deno.test("SIGTERM under load ends with 0, and what was accepted is there after the next start", async () => {
  await using place = await scene("--spool", "{dir}/spool");
  const loads = ["a", "b", "c"].map((name) => publishOn(place.socket, name));
  await waitFor("load", () => loads.every(({ accepted }) => accepted.length > 30));
  assertEquals(await stop(place.program), 0);
  for (const load of loads) await load.stop();
  const accepted = loads.flatMap(({ accepted }) => accepted);
  await using _again = await startProgram(place.args);
  await waitFor("all of it", () => missing(accepted, place.core).length === 0, 20_000);
});

Deno.test("a second daemon ends with 73 and one line while the first one is under load", async () => {
  await using place = await scene("--no-rate-limit");
  place.core.behaviour.enforceLimits = false;
  const load = publishOn(place.socket, "load");
  await waitFor("load", () => load.accepted.length > 10);
  const second = await runProgram(place.args);
  assertEquals(second.code, Exit.CANTCREATE);
  assertEquals(second.stderr.match(/another daemon is running/g)?.length, 1, second.stderr);
  const before = load.accepted.length;
  await waitFor("more load", () => load.accepted.length > before + 10);
  await load.stop();
  await waitFor("all of it", () => missing(load.accepted, place.core).length === 0);
  assertEquals(place.core.received("connect").length, 1);
});

Deno.test("a standard input that closes means nothing to the daemon", async () => {
  await using place = await scene();
  await place.program.stdin.close();
  await assertServes(place.socket);
  assertEquals(await stop(place.program), 0);
});

Deno.test(
  "a bug in one request's handling is FAILURE for its client and a line in the log; the daemon stands",
  FROM_SOURCE,
  async () => {
    await using place = await world();
    await using program = await startFaultyProgram(place.dir, place.args);
    await program.logged("serving the core bus");
    await using other = await connected(place.socket);
    const error = await assertRejects(
      () => publish(place.socket, { topic: "bug/handler", payload: "secret", qos: 1 }),
      BusError,
    );
    assertEquals(error.code, BusErrorCode.FAILURE);
    await other.call("publish", publishParams({ topic: "good", qos: 1 }));
    await assertServes(place.socket);
    const [line] = /.*A request failed inside the daemon.*/.exec(program.log())!;
    assertMatch(line, /error .* client=\d+ method=publish error="a bug in a handler" stack=/);
    assert(!program.log().includes("secret"));
    assertEquals(await stop(program), 0);
  },
);

for (const where of ["timer", "microtask", "rejection"]) {
  Deno.test(
    `an error that nothing caught (${where}) ends the program with 70, its spool safe`,
    FROM_SOURCE,
    async () => {
      await using place = await world("--spool", "{dir}/spool");
      const { core, dir, args, socket } = place;
      await core.close();
      {
        await using program = await startFaultyProgram(dir, args);
        await program.logged("serving the core bus");
        await using client = await connected(socket);
        const before = publishParams({ topic: "t", payload: "before", qos: 1 });
        await client.call("publish", before);
        const guilty = publishParams({ topic: `bug/${where}`, payload: "guilty", qos: 1 });
        client.call("publish", guilty).catch(() => {});
        assertEquals(await within("the end", program.exited), Exit.INTERNAL, program.log());
        assertMatch(program.log(), / error unexpected error: a bug in a \w+ exit=70 /);
        assertMatch(program.log(), /faulty_interface\.ts:\d+/);
      }
      await core.reopen();
      await using again = await startProgram(args);
      await waitFor("both messages", () => core.published.length === 2);
      assertEquals(taken(core), ["before", "guilty"]);
      assertEquals(await stop(again), 0);
    },
  );
}

Deno.test(
  "an error that nothing caught at a signal ends the program with 70, and nothing accepted is lost",
  FROM_SOURCE,
  async () => {
    await using place = await world("--spool", "{dir}/spool");
    const { core, dir, args, socket } = place;
    await core.close();
    {
      await using program = await startFaultyProgram(dir, args);
      await program.logged("serving the core bus");
      await publish(socket, { topic: "t", payload: "accepted", qos: 1 });
      program.signal("SIGHUP");
      assertEquals(await within("the end", program.exited), Exit.INTERNAL, program.log());
      assertMatch(program.log(), / error unexpected error: a bug at a signal exit=70 /);
      assertMatch(program.log(), /faulty_signals\.ts:\d+/);
    }
    await core.reopen();
    await using again = await startProgram(args);
    await waitFor("the message", () => taken(core).includes("accepted"));
    assertEquals(await stop(again), 0);
  },
);
