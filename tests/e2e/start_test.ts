/** The program as a user starts and stops it. */

import { assert, assertEquals, assertStringIncludes } from "../deps.ts";
import { Exit } from "../../src/base/errors.ts";
import { startAwsIotCore } from "../support/aws_iot_core.ts";
import { publish, untilConnected } from "../support/daemon.ts";
import { writePki } from "../support/pki.ts";
import { daemonArgs, runProgram, startProgram } from "../support/program.ts";
import { tempDir } from "../support/temp.ts";
import { waitFor, within } from "../support/wait.ts";

async function namesIn(dir: string): Promise<string[]> {
  return (await Array.fromAsync(Deno.readDir(dir))).map(({ name }) => name);
}

for (const signal of ["SIGTERM", "SIGINT"] as const) {
  Deno.test(`${signal} ends the program with 0: what was accepted is sent, the socket is gone, the broker is told`, async () => {
    await using core = await startAwsIotCore();
    await using dir = await tempDir();
    const files = await writePki(dir.path, core.pki);
    core.register(files.device);
    const socket = `${dir.path}/bus/aws_iot_mqtt`;
    await using program = await startProgram(daemonArgs(core, files, `${dir.path}/bus`));
    await program.logged("serving the core bus");
    assertEquals((await Deno.lstat(socket)).mode! & 0o777, 0o660);
    await untilConnected(socket);
    await Promise.all(
      Array.from(
        { length: 30 },
        (_, index) => publish(socket, { topic: "last", payload: `${index}`, qos: 1 }),
      ),
    );
    program.signal(signal);
    assertEquals(await within("the program to end", program.exited), Exit.OK);
    assertEquals(await namesIn(`${dir.path}/bus`), []);
    assertEquals(core.published.length, 30);
    await waitFor("DISCONNECT", () => core.received("disconnect").length === 1);
    assertEquals(program.output(), "");
  });
}

Deno.test("both spellings of the five options of the seed start the same daemon (iotcored-param-endpoint-1..3, iotcored-param-id-1..3, iotcored-param-rootca-1..3, iotcored-param-cert-1..3, iotcored-param-key-1..3)", async () => {
  await using core = await startAwsIotCore({ behaviour: { connectSpacingMs: 0 } });
  await using dir = await tempDir();
  const files = await writePki(dir.path, core.pki);
  core.register(files.device);
  const values = {
    endpoint: `${core.host}:${core.port}`,
    id: "spelled",
    rootca: files.rootca,
    cert: files.cert,
    key: files.key,
  };
  const long = Object.entries(values).flatMap(([name, value]) => [`--${name}`, value]);
  const short = Object.entries(values).flatMap(([name, value]) => [`-${name[0]}`, value]);
  for (const args of [long, short]) {
    await using program = await startProgram([...args, "-n", "bus", "--bus-dir", dir.path]);
    await program.logged("serving the core bus");
    await untilConnected(`${dir.path}/bus`);
    assertEquals(core.connections.map(({ clientId }) => clientId), ["spelled"]);
    program.signal("SIGTERM");
    assertEquals(await within("the program to end", program.exited), Exit.OK);
    await waitFor("the broker to see it", () => core.connections.length === 0);
  }
});

Deno.test("a certificate that the broker refuses ends the program with 77 and one line, and the socket is gone (iotcored-4)", async () => {
  await using core = await startAwsIotCore();
  await using dir = await tempDir();
  const files = await writePki(dir.path, core.pki);
  const { code, stderr } = await runProgram(daemonArgs(core, files, `${dir.path}/bus`));
  assertEquals(code, Exit.NOPERM, stderr);
  assertStringIncludes(stderr, " error Cannot authenticate");
  assertStringIncludes(stderr, files.cert);
  assertEquals(await namesIn(`${dir.path}/bus`), []);
});

Deno.test("the program serves clients while the broker cannot be reached, and stops with 0", async () => {
  await using core = await startAwsIotCore();
  await using dir = await tempDir();
  const files = await writePki(dir.path, core.pki);
  core.register(files.device);
  await core.close();
  const socket = `${dir.path}/bus/aws_iot_mqtt`;
  await using program = await startProgram(daemonArgs(core, files, `${dir.path}/bus`));
  await program.logged("serving the core bus");
  await publish(socket, { topic: "early", qos: 1 });
  await core.reopen();
  await waitFor("the message", () => core.published.length === 1);
  program.signal("SIGTERM");
  assertEquals(await within("the program to end", program.exited), Exit.OK);
});

Deno.test("--help and --version print and end with 0", async () => {
  const [help, version] = await Promise.all([runProgram(["--help"]), runProgram(["--version"])]);
  assertEquals([help.code, help.stderr, version.code, version.stderr], [0, "", 0, ""]);
  for (const option of ["--endpoint", "--id", "--rootca", "--cert", "--key", "--interface-name"]) {
    assertStringIncludes(help.stdout, option);
  }
  const lines =
    /^iotcored \d+\.\d+\.\d+\ndeno \d+\.\d+\.\d+, v8 [\d.]+\S*, (x86_64|aarch64)-unknown-linux-gnu\ncommit \w.*\n$/;
  assert(lines.test(version.stdout), version.stdout);
});
