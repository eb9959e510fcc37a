/** What may happen to the folder of the spool. */

import { assert, assertEquals, assertGreater, assertStringIncludes } from "../../deps.ts";
import { BusError, BusErrorCode, Exit } from "../../../src/base/errors.ts";
import { connected, publishParams, untilConnected } from "../../support/daemon.ts";
import { daemonArgs, runProgram, startProgram } from "../../support/program.ts";
import { canMount, mountTmpfs } from "../../support/tmpfs.ts";
import { waitFor } from "../../support/wait.ts";
import { assertServes, type DaemonDependencies, missing, scene, stop, world } from "./scene.ts";

const ignore = !(await canMount());

/** Publishes numbered texts of 10 kB at QoS 1; those that were accepted, and the codes of those that were not. */
async function publishMany(socket: string, name: string, count: number) {
  await using client = await connected(socket);
  const accepted: string[] = [];
  const codes: number[] = [];
  const filling = "x".repeat(10_000);
  for (let n = 0; n < count; n++) {
    const text = `${name} ${n} ${filling}`;
    const params = publishParams({ topic: "disk", payload: text, qos: 1 });
    try {
      await client.call("publish", params);
      accepted.push(text);
    } catch (error) {
      if (!(error instanceof BusError)) throw error;
      codes.push(error.code);
      // The daemon closes a connection after a refusal.
      if (codes.length > 1) throw error;
      break;
    }
  }
  return { accepted, codes };
}

/** The daemon's arguments with a spool on a small file system. */
function argsOn(place: DaemonDependencies, spool: string): readonly string[] {
  return [...place.args, "--spool", spool];
}

Deno.test({
  name:
    "a disk that fills up refuses with NOMEM, says so once, and takes again when messages have left",
  ignore,
  fn: async () => {
    await using place = await world();
    const { core, dir, socket } = place;
    await Deno.mkdir(`${dir}/small`);
    await using _mount = mountTmpfs(`${dir}/small`, "size=4m");
    await core.close();
    core.behaviour.enforceLimits = false;
    const args = [...argsOn(place, `${dir}/small/spool`), "--no-rate-limit"];
    await using program = await startProgram(args);
    await program.logged("serving the core bus");
    const full = await publishMany(socket, "full", 1_000);
    assertEquals(full.codes, [BusErrorCode.NOMEM]);
    assertGreater(full.accepted.length, 50);
    const again = await publishMany(socket, "again", 1);
    assertEquals(again.codes, [BusErrorCode.NOMEM]);
    assertEquals(program.log().match(/cannot write to the spool/g)?.length, 1);
    await core.reopen();
    await waitFor("what was accepted", () => missing(full.accepted, core).length === 0, 30_000);
    // The broker has them before their removal is on disk, which is what makes room.
    await waitFor("room", async () => (await publishMany(socket, "room", 1)).codes.length === 0);
    const after = await publishMany(socket, "after", 10);
    assertEquals([after.codes, after.accepted.length], [[], 10]);
    await assertServes(socket);
    assertEquals(await stop(program), 0);
  },
});

Deno.test({
  name: "a disk that is read-only at the start ends the program with 73 and one line",
  ignore,
  fn: async () => {
    await using place = await world();
    const { dir } = place;
    await Deno.mkdir(`${dir}/fixed`);
    await using _mount = mountTmpfs(`${dir}/fixed`, "size=1m,ro");
    const { code, stderr } = await runProgram(argsOn(place, `${dir}/fixed/spool`));
    assertEquals(code, Exit.CANTCREATE, stderr);
    assertStringIncludes(stderr, `--spool ${dir}/fixed/spool`);
    assertEquals(stderr.split("\n").filter((line) => / error .* exit=\d+/.test(line)).length, 1);
  },
});

Deno.test("a spool whose folder is removed while it is used does not stop the daemon, which sends what it has", async () => {
  await using place = await scene("--spool", "{dir}/spool");
  const { core, dir, socket, program } = place;
  await core.close();
  await waitFor("the end of the link", () => program.log().includes("next_attempt_s="));
  const before = await publishMany(socket, "before", 20);
  await Deno.remove(`${dir}/spool`, { recursive: true });
  const after = await publishMany(socket, "after", 20);
  await core.reopen();
  await untilConnected(socket);
  const accepted = [...before.accepted, ...after.accepted];
  await waitFor("what was accepted", () => missing(accepted, core).length === 0, 20_000);
  assertEquals(await stop(program), 0);
});

Deno.test("a spool that another daemon uses ends the second one with 73, and the first goes on", async () => {
  await using place = await scene("--spool", "{dir}/spool");
  const { core, dir, files, socket } = place;
  const second = daemonArgs(core, files, `${dir}/other`, "--spool", `${dir}/spool`);
  const { code, stderr } = await runProgram(second);
  assertEquals(code, Exit.CANTCREATE, stderr);
  assert(stderr.includes(`${dir}/spool`), stderr);
  await assertServes(socket);
});
