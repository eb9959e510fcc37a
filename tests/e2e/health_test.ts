import { assertEquals, assertStringIncludes } from "../deps.ts";
import { startAwsIotCore } from "../support/aws_iot_core.ts";
import { writePki } from "../support/pki.ts";
import { daemonArgs, runProgram, startProgram } from "../support/program.ts";
import { tempDir } from "../support/temp.ts";
import { within } from "../support/wait.ts";

Deno.test("status ends with 69 without a daemon, 1 without a connection, 0 with one; reconnect tries at once", async () => {
  await using core = await startAwsIotCore();
  await using dir = await tempDir();
  const files = await writePki(dir.path, core.pki);
  core.register(files.device);
  const bus = `${dir.path}/bus`;
  const status = async (...more: readonly string[]): Promise<number> =>
    (await runProgram(["status", "--bus-dir", bus, ...more])).code;

  assertEquals(await status(), 69);
  assertEquals(await status("--wait-connected", "1"), 69);
  await core.close();
  await using daemon = await startProgram(daemonArgs(core, files, bus));
  await daemon.logged("serving the core bus");
  assertEquals(await status(), 1);
  assertEquals(await status("--json"), 1);
  assertEquals(await status("--prometheus"), 1);
  assertEquals(await status("--wait-connected", "1"), 1);

  await core.reopen();
  const waiting = status("--wait-connected", "20");
  assertEquals((await runProgram(["reconnect", "--bus-dir", bus])).code, 0);
  assertEquals(await within("a connection", waiting, 20_000), 0);
  assertStringIncludes(daemon.log(), "Reconnecting: a client asked for it");
  assertEquals(await status(), 0);
});

Deno.test("a FIFO, a folder or a device in the place of a credential file ends the program with 78", async () => {
  await using core = await startAwsIotCore();
  await using dir = await tempDir();
  const files = await writePki(dir.path, core.pki);
  const fifo = `${dir.path}/fifo`;
  await new Deno.Command("mkfifo", { args: [fifo] }).output();
  for (
    const [path, kind] of [[fifo, "a FIFO"], [dir.path, "a folder"], ["/dev/zero", "a device"]]
  ) {
    const args = daemonArgs(core, { ...files, cert: path! }, `${dir.path}/bus`);
    const { code, stderr } = await runProgram(args, {}, 10_000);
    assertEquals(code, 78, stderr);
    assertStringIncludes(stderr, `it must be a regular file, but is ${kind}`);
  }
});

Deno.test("publish --ack broker hears at once of a message that expires while there is no connection", async () => {
  await using core = await startAwsIotCore();
  await using dir = await tempDir();
  const files = await writePki(dir.path, core.pki);
  await core.close();
  const bus = ["--bus-dir", `${dir.path}/bus`];
  await using daemon = await startProgram(daemonArgs(core, files, `${dir.path}/bus`));
  await daemon.logged("serving the core bus");
  const message = ["-t", "a", "-m", "x", "-q", "1", "--ack", "broker", "--message-expiry", "2"];
  const { code, stderr } = await runProgram(["publish", ...bus, ...message]);
  assertEquals(code, 77);
  assertStringIncludes(stderr, "expired (REMOTE)");
});
