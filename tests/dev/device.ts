/**
 * Drives the units as a device does, where the program is installed and the machine's systemd may be used, such as the runner of a
 * release. As root:
 *
 *     deno run -A tests/dev/device.ts HOST PACKAGE
 *
 * PACKAGE, a Debian package of the program, is installed; HOST is a name that the program may reach and that leads to this
 * machine. Writes credentials and options into `/etc/iotcored` and a drop-in for the service, and takes all of it away again.
 *
 * @module
 */

import { BusError, messageOf } from "../../src/base/errors.ts";
import { type AwsIotCore, startAwsIotCore } from "../support/aws_iot_core.ts";
import { publish } from "../support/daemon.ts";
import { createPki, type PkiFiles, writePki } from "../support/pki.ts";
import { waitFor, within } from "../support/wait.ts";
import { say } from "./say.ts";

const SOCKET = "/run/greengrass/aws_iot_mqtt";
const CREDENTIALS = "/etc/iotcored";
const OPTIONS = `${CREDENTIALS}/options`;
const DROP_IN = "/etc/systemd/system/iotcored.service.d";
const UNITS = ["iotcored.socket", "iotcored.service"];

/** `WatchdogSec=` while this runs, in seconds: the 60 of the unit are long for a test. */
const WATCHDOG_S = 5;

/** How long a daemon may stay away, in ms: its end, `RestartSec=`, a start that waits 10 s, `RestartSec=`, a start. */
const BACK_MS = 60_000;

/** Clients that connect again and again while nobody can serve them. */
const CROWD = 20;

/** How long they do, in ms. */
const CROWD_MS = 15_000;

/** A command to its end. */
async function run(command: string, ...args: string[]): Promise<{ code: number; output: string }> {
  const { code, stdout, stderr } = await new Deno.Command(command, { args, stdin: "null" })
    .output();
  const decoder = new TextDecoder();
  return { code, output: (decoder.decode(stdout) + decoder.decode(stderr)).trimEnd() };
}

async function must(command: string, ...args: string[]): Promise<string> {
  const { code, output } = await run(command, ...args);
  if (code !== 0) throw new Error(`${command} ${args.join(" ")} ended with ${code}: ${output}`);
  return output;
}

function property(unit: string, name: string): Promise<string> {
  return must("systemctl", "show", "--value", "--property", name, unit);
}

/** What is driven, and what it talks to. */
interface Scene {
  /** The path of the Debian package. */
  readonly deb: string;
  readonly core: AwsIotCore;
  readonly files: PkiFiles;
}

/** Something that happens to a device; what it is shown by throws when it does not come. */
type Step = readonly [name: string, run: (scene: Scene) => Promise<void>];

const STEPS: readonly Step[] = [
  ["a client at the socket starts the service, and its message goes through", async (scene) => {
    if (await property("iotcored.service", "ActiveState") !== "inactive") {
      throw new Error("The service runs before a client has come");
    }
    await goesThrough(scene);
  }],
  ["a tool publishes as ggcore", async ({ core }) => {
    const args = ["publish", "-t", "device/tool", "-m", "by hand", "-q", "1", "--ack", "broker"];
    await must("runuser", "-u", "ggcore", "--", "/usr/bin/iotcored", ...args);
    await waitFor("it", () => core.published.some(({ topic }) => topic === "device/tool"));
  }],
  ["systemctl restart", async (scene) => {
    await must("systemctl", "restart", "iotcored.service");
    await goesThrough(scene);
  }],
  ["an upgrade of the package: no client is refused", async (scene) => {
    const before = await property("iotcored.service", "MainPID");
    const clients = crowd();
    await must("dpkg", "--install", scene.deb);
    await waitFor(
      "another process",
      async () => !["0", before].includes(await property("iotcored.service", "MainPID")),
      BACK_MS,
    );
    const refusals = await clients;
    if (refusals.length > 0) throw new Error(`Clients were refused: ${refusals.join(", ")}`);
    await goesThrough(scene);
  }],
  ["kill -9", async (scene) => {
    await must("systemctl", "kill", "--signal=SIGKILL", "iotcored.service");
    await goesThrough(scene);
  }],
  ["a process that hangs is ended by the watchdog", async (scene) => {
    const before = await property("iotcored.service", "NRestarts");
    await must("systemctl", "kill", "--signal=SIGSTOP", "iotcored.service");
    await waitFor(
      "the restart",
      async () => await property("iotcored.service", "NRestarts") !== before,
      BACK_MS,
    );
    await goesThrough(scene);
  }],
  ["77: refused credentials are tried until they are taken", async (scene) => {
    scene.core.revoke(scene.files.device);
    await endedWith(77);
    scene.core.register(scene.files.device);
    await goesThrough(scene);
  }],
  ["78: a missing key, a crowd at the socket, the key is put in place", async (scene) => {
    const { key } = scene.files;
    await Deno.rename(key, `${key}.away`);
    await must("systemctl", "kill", "--signal=SIGKILL", "iotcored.service");
    await endedWith(78);
    const refusals = await crowd();
    if (refusals.length > 0) throw new Error(`Clients were refused: ${refusals.join(", ")}`);
    for (const unit of UNITS) {
      const state = await property(unit, "ActiveState");
      if (state === "failed" || state === "inactive") throw new Error(`${unit} is ${state}`);
    }
    await Deno.rename(`${key}.away`, key);
    await goesThrough(scene);
  }],
  ["64: an option that is wrong, and mended", async (scene) => {
    const good = await Deno.readTextFile(OPTIONS);
    await Deno.writeTextFile(OPTIONS, good.replace("\n", " --port no\n"));
    await must("systemctl", "kill", "--signal=SIGKILL", "iotcored.service");
    await endedWith(64);
    await Deno.writeTextFile(OPTIONS, good);
    await goesThrough(scene);
  }],
];

/** A message goes in at the socket and arrives, when the daemon is back at the latest. */
async function goesThrough({ core }: Scene): Promise<void> {
  const payload = crypto.randomUUID();
  const message = { topic: "device", payload, qos: 1 as const };
  const deadline = performance.now() + BACK_MS;
  // A connection that was open when the daemon ended is gone, and its client comes again.
  while (true) {
    try {
      await within("an answer", publish(SOCKET, message), BACK_MS);
      break;
    } catch (error) {
      if (!(error instanceof BusError) || performance.now() > deadline) throw error;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }
  const arrived = (): boolean =>
    core.published.some((published) => new TextDecoder().decode(published.payload) === payload);
  await waitFor("the message", arrived, BACK_MS);
}

async function endedWith(code: number): Promise<void> {
  await waitFor(
    `the end with ${code}`,
    async () => await property("iotcored.service", "ExecMainStatus") === `${code}`,
    BACK_MS,
  );
}

/**
 * Clients that connect, wait a moment and leave, again and again; what refused them. A queue that is full of those who left makes
 * others wait (EAGAIN), until the daemon is back and empties it.
 */
async function crowd(): Promise<string[]> {
  const refusals = new Set<string>();
  const until = performance.now() + CROWD_MS;
  await Promise.all(Array.from({ length: CROWD }, async () => {
    while (performance.now() < until) {
      try {
        using _conn = await Deno.connect({ transport: "unix", path: SOCKET });
        await new Promise((resolve) => setTimeout(resolve, 5));
      } catch (error) {
        if (!(error instanceof Deno.errors.WouldBlock)) refusals.add(messageOf(error));
        await new Promise((resolve) => setTimeout(resolve, 100));
      }
    }
  }));
  return [...refusals];
}

async function main(host: string, deb: string): Promise<void> {
  const pki = await createPki({ names: [host] });
  await using core = await startAwsIotCore({ pki, port: 8883, behaviour: { connectSpacingMs: 0 } });
  await must("install", "-d", "-o", "root", "-g", "ggcore", "-m", "0750", CREDENTIALS);
  const files = await writePki(CREDENTIALS, pki);
  core.register(files.device);
  const mine = [files.rootca, files.cert, files.key];
  await must("chown", "root:ggcore", ...mine);
  await must("chmod", "0640", ...mine);
  const options =
    `--endpoint ${host} --id device --rootca ${files.rootca} --cert ${files.cert} --key ${files.key}`;
  await Deno.writeTextFile(OPTIONS, `OPTIONS=${options}\n`);
  await Deno.mkdir(DROP_IN, { recursive: true });
  await Deno.writeTextFile(`${DROP_IN}/device.conf`, `[Service]\nWatchdogSec=${WATCHDOG_S}\n`);
  await must("systemctl", "daemon-reload");
  try {
    await must("systemctl", "start", "iotcored.socket");
    for (const [name, step] of STEPS) {
      const began = performance.now();
      await step({ core, files, deb });
      say(`${((performance.now() - began) / 1_000).toFixed(1).padStart(6)} s   ${name}`);
    }
    if (core.violations.length > 0) throw new Error(core.violations.join(", "));
  } catch (error) {
    say((await run("systemctl", "status", "--no-pager", ...UNITS)).output);
    say((await run("journalctl", "--no-pager", "--lines=100", "--unit=iotcored.*")).output);
    throw error;
  } finally {
    await run("systemctl", "stop", ...UNITS);
    await Deno.remove(DROP_IN, { recursive: true });
    await must("systemctl", "daemon-reload");
    const written = [...mine, files.serverCert, files.serverKey, `${files.key}.away`, OPTIONS];
    await must("rm", "-f", ...written);
  }
}

const [host, deb] = Deno.args;
if (host === undefined || deb === undefined) {
  throw new Error("Cannot drive a device: give the name of its endpoint, and the package");
}
await main(host, deb);
Deno.exit(0);
