import { utf8 } from "../../src/base/bytes.ts";
import { call, subscribe } from "../../src/bus/client.ts";
import type { Value } from "../../src/wire/object.ts";
import { assert, assertEquals, assertStringIncludes } from "../deps.ts";
import { type AwsIotCore, startAwsIotCore } from "../support/aws_iot_core.ts";
import { exists } from "../support/exists.ts";
import { writePki } from "../support/pki.ts";
import {
  daemonArgs,
  FROM_SOURCE,
  programEnv,
  runProgram,
  startProgram,
} from "../support/program.ts";
import { tempDir } from "../support/temp.ts";
import { waitFor, within } from "../support/wait.ts";

// These tests play systemd's part: sd_notify(3), and sd_listen_fds(3) by systemd-socket-activate. A compiled program notifies
// systemd's own socket only.

const ACTIVATE = "/usr/bin/systemd-socket-activate";

/** The other end of `NOTIFY_SOCKET`. */
interface NotifySocket extends AsyncDisposable {
  readonly path: string;
  /** Every line so far. */
  readonly lines: readonly string[];
}

function listenForNotify(dir: string): NotifySocket {
  const path = `${dir}/notify`;
  const socket = Deno.listenDatagram({ transport: "unixpacket", path });
  const lines: string[] = [];
  const reading = (async () => {
    for await (const [bytes] of socket) lines.push(...new TextDecoder().decode(bytes).split("\n"));
  })();
  return {
    path,
    lines,
    [Symbol.asyncDispose]: async () => {
      socket.close();
      await reading;
    },
  };
}

function publish(socket: string, payload: string): Promise<unknown> {
  return call(
    socket,
    "publish",
    new Map<string, Value>([["topic", utf8("t")], ["payload", utf8(payload)], ["qos", 1n]]),
  );
}

async function arrived(core: AwsIotCore, payload: string): Promise<void> {
  await waitFor(
    `${payload} to arrive`,
    () => core.published.some((message) => new TextDecoder().decode(message.payload) === payload),
  );
}

Deno.test(
  "systemd is told of readiness, status, watchdog, reload and stop",
  FROM_SOURCE,
  async () => {
    await using dir = await tempDir();
    await using core = await startAwsIotCore({ behaviour: { connectSpacingMs: 0 } });
    const files = await writePki(dir.path, core.pki);
    core.register(files.device);
    await using notify = listenForNotify(dir.path);
    await Deno.mkdir(`${dir.path}/run`);
    await using program = await startProgram(daemonArgs(core, files, `${dir.path}/bus`), {
      NOTIFY_SOCKET: notify.path,
      RUNTIME_DIRECTORY: `${dir.path}/run`,
      WATCHDOG_USEC: "300000",
    });
    const told = (line: string): Promise<true> =>
      waitFor(`systemd to be told ${line}`, () => notify.lines.includes(line) || undefined);
    await told("READY=1");
    assert(program.log().includes("serving the core bus"), "READY came before clients were served");
    await told("STATUS=connected");
    await waitFor(
      "three watchdog beats",
      () => notify.lines.filter((line) => line === "WATCHDOG=1").length >= 3,
    );
    program.signal("SIGHUP");
    await told("RELOADING=1");
    await waitFor("READY after it", () => {
      const after = notify.lines.slice(notify.lines.indexOf("RELOADING=1"));
      return after.includes("READY=1") && after.includes("STATUS=connected");
    });
    program.signal("SIGTERM");
    assertEquals(await within("the end", program.exited), 0, program.log());
    await told("STOPPING=1");
    assertEquals(
      [...Deno.readDirSync(`${dir.path}/run`)],
      [],
      "the sender's socket is left behind",
    );
  },
);

Deno.test(
  "a unit without RuntimeDirectory= is warned about, and the daemon runs",
  FROM_SOURCE,
  async () => {
    await using dir = await tempDir();
    await using core = await startAwsIotCore();
    const files = await writePki(dir.path, core.pki);
    core.register(files.device);
    await using program = await startProgram(daemonArgs(core, files, `${dir.path}/bus`), {
      NOTIFY_SOCKET: `${dir.path}/nobody`,
    });
    await program.logged("systemd is not notified: the unit needs RuntimeDirectory=");
    await program.logged("Connected");
  },
);

/** What systemd gives a service whose folder in `/run` is `dir`/run. */
async function serviceEnv(dir: string, notify: NotifySocket): Promise<Record<string, string>> {
  await Deno.mkdir(`${dir}/run`);
  return { NOTIFY_SOCKET: notify.path, RUNTIME_DIRECTORY: `${dir}/run` };
}

Deno.test(
  "under systemd the first failure ends the program at once, a second one later or when it is told to stop",
  FROM_SOURCE,
  async () => {
    await using dir = await tempDir();
    await using notify = listenForNotify(dir.path);
    const env = await serviceEnv(dir.path, notify);
    const wrong = ["--bus-dir", `${dir.path}/bus`, "--port", "no"];
    const first = await runProgram(wrong, env);
    assertEquals([first.code, first.stderr.trimEnd().split("\n").length], [64, 1], first.stderr);
    assertStringIncludes(first.stderr, "Cannot use --port");

    await using second = await startProgram(wrong, env);
    await second.logged("(2 times in a row)");
    await waitFor(
      "what systemctl status shows",
      () =>
        notify.lines.some((line) =>
          line.startsWith("STATUS=failed 2 times in a row: Cannot use --port")
        ),
    );
    second.signal("SIGTERM");
    assertEquals(await within("the end", second.exited), 0, second.log());
    // Who stopped it may have mended it, and is told at once if not.
    const third = await runProgram(wrong, env);
    assertEquals([third.code, third.stderr.includes("in a row")], [64, false], third.stderr);
  },
);

Deno.test("a connection to the broker ends the row of failures", FROM_SOURCE, async () => {
  await using dir = await tempDir();
  await using core = await startAwsIotCore({ behaviour: { connectSpacingMs: 0 } });
  const files = await writePki(dir.path, core.pki);
  core.register(files.device);
  await using notify = listenForNotify(dir.path);
  const env = await serviceEnv(dir.path, notify);
  const args = daemonArgs(core, files, `${dir.path}/bus`);
  const key = await Deno.readFile(files.key);
  await Deno.writeTextFile(files.key, "no key");
  assertEquals((await runProgram(args, env)).code, 78);
  await Deno.writeFile(files.key, key);
  await using program = await startProgram(args, env);
  await program.logged("Connected");
  await waitFor("the row to end", () => !exists(`${dir.path}/run/failures.json`));
});

Deno.test(
  "refused credentials end the program with 77 under systemd too",
  FROM_SOURCE,
  async () => {
    await using dir = await tempDir();
    await using core = await startAwsIotCore({ behaviour: { connectSpacingMs: 0 } });
    const files = await writePki(dir.path, core.pki);
    await using notify = listenForNotify(dir.path);
    const env = await serviceEnv(dir.path, notify);
    assertEquals((await runProgram(daemonArgs(core, files, `${dir.path}/bus`), env)).code, 77);
  },
);

Deno.test({
  name: "a client that came before the daemon is served over the socket that systemd made",
  ignore: !exists(ACTIVATE) || FROM_SOURCE.ignore,
  fn: async () => {
    await using dir = await tempDir();
    await using core = await startAwsIotCore();
    const files = await writePki(dir.path, core.pki);
    core.register(files.device);
    await using notify = listenForNotify(dir.path);
    await Deno.mkdir(`${dir.path}/run`);
    const socket = `${dir.path}/aws_iot_mqtt`;
    const variables = [`NOTIFY_SOCKET=${notify.path}`, `RUNTIME_DIRECTORY=${dir.path}/run`];
    const kept = Object.keys(programEnv());
    await using program = await startProgram(daemonArgs(core, files, `${dir.path}/other`), {}, [
      ACTIVATE,
      ...["--listen", socket, "--fdname", "aws_iot_mqtt"],
      ...[...variables, ...kept].flatMap((setting) => ["--setenv", setting]),
    ]);
    await waitFor("systemd's socket", () => exists(socket));
    // The daemon is started by this very connection, which waits for it in the kernel's queue.
    await within("the first publish", publish(socket, "first"));
    await arrived(core, "first");
    for (const payload of ["second", "third"]) {
      await publish(socket, payload);
      await arrived(core, payload);
    }
    const got = Promise.withResolvers<Value>();
    const topic = new Map<string, Value>([
      ["topic_filter", utf8("in")],
      ["qos", 1n],
      ["max_frame", 1_048_576n],
    ]);
    const subscription = subscribe(socket, "subscribe", topic, got.resolve);
    await subscription.accepted;
    // Larger than what is read at once.
    core.publish("in", "x".repeat(100_000), 1);
    const message = await within("the message", got.promise) as ReadonlyMap<string, Uint8Array>;
    assertEquals(message.get("payload")!.length, 100_000);
    await publish(socket, "y".repeat(100_000));
    await arrived(core, "y".repeat(100_000));
    subscription.close();
    await subscription.closed;
    assert(notify.lines.includes("READY=1"));
    program.signal("SIGTERM");
    assertEquals(await within("the end", program.exited), 0, program.log());
    // It is systemd's, and so is its folder; no other was made.
    assert(exists(socket), "the daemon removed a socket that is not its own");
    assert(!exists(`${dir.path}/other`), "the daemon made a bus folder that it does not need");
    assertStringIncludes(program.log(), "stopped");
  },
});
