import { utf8 } from "../../src/base/bytes.ts";
import { connectBus } from "../../src/bus/client.ts";
import type { Value } from "../../src/wire/object.ts";
import { assert, assertEquals, assertLess, assertRejects } from "../deps.ts";
import { type AwsIotCore, startAwsIotCore } from "../support/aws_iot_core.ts";
import { createPki, type PkiFiles, writePki } from "../support/pki.ts";
import {
  daemonArgs,
  type Program,
  programCommand,
  programEnv,
  startProgram,
} from "../support/program.ts";
import { tempDir } from "../support/temp.ts";
import { waitFor, within } from "../support/wait.ts";

const pki = await createPki();

/** What the specification promises a supervisor, in ms. */
const STOP_MS = 5_000;

interface Scene {
  readonly core: AwsIotCore;
  readonly files: PkiFiles;
  readonly busDir: string;
  readonly program: Program;
}

/** Runs a test with a program that is connected. */
async function withProgram(
  test: (scene: Scene) => Promise<void>,
  ...args: string[]
): Promise<void> {
  await using dir = await tempDir();
  const files = await writePki(dir.path, pki);
  await using core = await startAwsIotCore({ pki, devices: [files.device] });
  await using program = await startProgram(daemonArgs(core, files, dir.path, ...args));
  await program.logged("Connected");
  await test({ core, files, busDir: dir.path, program });
}

/** Sends a signal and waits for the end; how long it took, in ms. */
async function stopped(program: Program, signal: Deno.Signal = "SIGTERM"): Promise<number> {
  const started = performance.now();
  program.signal(signal);
  assertEquals(await within("the program to end", program.exited, STOP_MS + 2_000), 0);
  return performance.now() - started;
}

async function publish(busDir: string, payload: string): Promise<void> {
  const client = await connectBus(`${busDir}/aws_iot_mqtt`);
  await client.call(
    "publish",
    new Map<string, Value>([["topic", utf8("t")], ["payload", utf8(payload)], ["qos", 1n]]),
  );
  client.close();
  await client.closed;
}

for (const signal of ["SIGTERM", "SIGINT"] as const) {
  Deno.test(`${signal} ends with DISCONNECT, without the socket, with exit code 0`, () =>
    withProgram(async ({ core, busDir, program }) => {
      const took = await stopped(program, signal);
      assertLess(took, 2_000);
      assertEquals(core.received("disconnect").length, 1);
      await assertRejects(() => Deno.lstat(`${busDir}/aws_iot_mqtt`), Deno.errors.NotFound);
      assert(program.log().includes("stopping, as asked by a signal"), program.log());
    }));
}

Deno.test("SIGTERM gives what is in flight its 3 s, then ends within 5 s all the same", () =>
  withProgram(async ({ core, busDir, program }) => {
    core.behaviour.ackPublish = "never";
    await publish(busDir, "unanswered");
    await waitFor("the message", () => core.received("publish").length === 1);
    const took = await stopped(program);
    assert(took > 2_500 && took < STOP_MS, `${took} ms`);
    assert(program.log().includes("given up with the spool in memory"), program.log());
  }));

Deno.test("a third signal ends at once", () =>
  withProgram(async ({ core, busDir, program }) => {
    core.behaviour.ackPublish = "never";
    await publish(busDir, "unanswered");
    await waitFor("the message", () => core.received("publish").length === 1);
    const started = performance.now();
    program.signal("SIGTERM");
    await program.logged("stopping, as asked by a signal");
    program.signal("SIGINT");
    program.signal("SIGTERM");
    assertEquals(await within("the end", program.exited), 0);
    assertLess(performance.now() - started, 2_000);
    assert(program.log().includes("on the third signal"), program.log());
  }));

Deno.test("two signals a moment apart, as of a supervisor and a process group, are one orderly stop", () =>
  withProgram(async ({ core, busDir, program }) => {
    core.behaviour.ackPublish = "never";
    await publish(busDir, "unanswered");
    await waitFor("the message", () => core.received("publish").length === 1);
    program.signal("SIGTERM");
    await program.logged("stopping, as asked by a signal");
    program.signal("SIGTERM");
    await program.logged("asked to stop again");
    assertEquals(core.received("disconnect").length, 0);
    assertEquals(await within("the end", program.exited), 0);
    assertEquals(core.received("disconnect").length, 1);
  }));

Deno.test("SIGTERM during an outage ends within 5 s", () =>
  withProgram(async ({ core, busDir, program }) => {
    await core.close();
    await program.logged("next_attempt_s=");
    await publish(busDir, "spooled");
    assertLess(await stopped(program), STOP_MS);
  }));

for (const kind of ["half-open", "silent at TLS", "silent before CONNACK"] as const) {
  Deno.test(`SIGTERM with a broker that is ${kind} ends within 5 s`, () =>
    withProgram(async ({ core, busDir, program }) => {
      if (kind === "half-open") core.freezeLinks();
      else {
        core.behaviour.silent = kind === "silent at TLS" ? "tls" : "connack";
        const before = core.accepted.length;
        await core.dropLinks();
        await waitFor("another attempt", () => core.accepted.length > before);
      }
      await publish(busDir, "spooled");
      assertLess(await stopped(program), STOP_MS);
    }));
}

Deno.test("a signal while the config service is waited for ends with 0", async () => {
  await using dir = await tempDir();
  await using program = await startProgram(["--bus-dir", dir.path]);
  await program.logged("waiting for the config service");
  program.signal("SIGHUP");
  assertLess(await stopped(program), 2_000);
});

Deno.test("SIGHUP reconnects with credentials that were replaced on disk", () =>
  withProgram(async ({ core, files, program }) => {
    const rotated = await pki.device();
    core.register(rotated);
    await Deno.writeTextFile(files.key, rotated.keyPem);
    await Deno.writeTextFile(files.cert, rotated.certPem);
    program.signal("SIGHUP");
    await waitFor(
      "the new certificate",
      () => core.connections.some(({ fingerprint }) => fingerprint === rotated.fingerprint),
    );
    await stopped(program);
  }));

Deno.test("iotcored-4: SIGHUP in the middle of a rotation is told and retried, and ends nothing", () =>
  withProgram(async ({ core, files, program }) => {
    const rotated = await pki.device();
    core.register(rotated);
    await Deno.writeTextFile(files.key, rotated.keyPem);
    program.signal("SIGHUP");
    await program.logged("must belong to the certificate");
    await Deno.writeTextFile(files.cert, rotated.certPem);
    await waitFor(
      "the new certificate",
      () => core.connections.some(({ fingerprint }) => fingerprint === rotated.fingerprint),
      20_000,
    );
    await stopped(program);
  }));

/** Starts a program whose log is read by nobody but the test; it is gone when the scope ends. */
async function withUnread(
  test: (core: AwsIotCore, busDir: string, child: Deno.ChildProcess) => Promise<void>,
  ...args: string[]
): Promise<void> {
  await using dir = await tempDir();
  const files = await writePki(dir.path, pki);
  await using core = await startAwsIotCore({ pki, devices: [files.device] });
  const [command, ...rest] = [
    ...await programCommand(),
    ...daemonArgs(core, files, dir.path, ...args),
  ];
  const child = new Deno.Command(command!, {
    args: rest,
    clearEnv: true,
    env: programEnv(),
    stdin: "null",
    stdout: "null",
    stderr: "piped",
  }).spawn();
  let ended = false;
  const status = child.status.finally(() => ended = true);
  try {
    await waitFor("the link", () => core.connections.length === 1);
    await test(core, dir.path, child);
    child.kill("SIGTERM");
    assertEquals((await within("the end", status, STOP_MS)).code, 0);
  } finally {
    if (!ended) child.kill("SIGKILL");
    await status;
    if (!child.stderr.locked) await child.stderr.cancel();
  }
}

Deno.test("a reader of the log that has gone away ends nothing", () =>
  withUnread(async (core, _busDir, child) => {
    await child.stderr.cancel();
    await core.dropLinks();
    await waitFor("the second link", () => core.received("connect").length === 2);
  }));

Deno.test("a reader of the log that has stopped reading holds nothing up", () =>
  withUnread(
    async (core, busDir) => {
      // Each of these is logged, with more than the pipe holds in all.
      const topic = "a/".repeat(200) + "#";
      for (let i = 0; i < 800; i++) {
        const refused = await connectBus(`${busDir}/aws_iot_mqtt`);
        await assertRejects(() =>
          within(
            "a refusal",
            refused.call("publish", new Map<string, Value>([["topic", utf8(`${topic}${i}`)]])),
            3_000,
          )
        );
        refused.close();
      }
      await publish(busDir, "goes on");
      await waitFor("the message", () => core.published.length === 1);
    },
    "--log-level",
    "debug",
  ));
