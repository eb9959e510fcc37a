/**
 * `deno task dev`: a stand-in for AWS IoT Core and the daemon against it, on a bus directory in a temporary folder. The daemon
 * starts again whenever its source changes. Keys: `c` cuts the link, `r` restores it, `q` quits.
 *
 * @module
 */

import { sleep, systemClock } from "../../src/base/clock.ts";
import { startAwsIotCore } from "../support/aws_iot_core.ts";
import { writePki } from "../support/pki.ts";
import { daemonArgs, programCommand, programEnv } from "../support/program.ts";
import { tempDir } from "../support/temp.ts";
import { say } from "./say.ts";

const ROOT = new URL("../../", import.meta.url).pathname;

/** Arguments after the task's name go to the daemon, behind those that this program gives. */
async function startWatched(args: readonly string[]): Promise<Deno.ChildProcess> {
  const [deno, ...command] = await programCommand("--watch", "--no-clear-screen");
  return new Deno.Command(deno!, {
    args: [...command, ...args],
    cwd: ROOT,
    clearEnv: true,
    env: programEnv(),
    stdin: "null",
  }).spawn();
}

function explain(busDir: string, port: number): void {
  say(`
A stand-in for AWS IoT Core listens on 127.0.0.1:${port}, and the daemon connects to it.
To talk to the daemon, paste these two lines into other terminals in this folder:

  BUS=${busDir}
  iotcored() { npx -y deno@2.9.6 task -q iotcored:dev "$@" --bus-dir "$BUS"; }

  iotcored subscribe -t 'demo/#' -v
  iotcored publish -t demo/hello -m hello -q 1
  iotcored status --watch

Here, c and Enter cuts the link, r and Enter restores it, q and Enter quits, and so does Ctrl-C.
`);
}

async function dev(): Promise<void> {
  await using dir = await tempDir();
  await using core = await startAwsIotCore({ record: false, behaviour: { connectSpacingMs: 0 } });
  const files = await writePki(dir.path, core.pki);
  core.register(files.device);
  const busDir = `${dir.path}/bus`;
  const daemon = await startWatched(daemonArgs(core, files, busDir, ...Deno.args));
  explain(busDir, core.port);
  const quit = Promise.withResolvers<void>();
  const onSignal = (): void => quit.resolve();
  for (const signal of ["SIGINT", "SIGTERM"] as const) Deno.addSignalListener(signal, onSignal);
  void readKeys(async (key) => {
    if (key === "q") quit.resolve();
    if (key === "c") await core.close();
    if (key === "r") await core.reopen();
    if (key === "c" || key === "r") {
      say(key === "c" ? "-- the link is cut" : "-- the link can be made again");
    }
  });
  let over = false;
  const ended = daemon.status.then(() => over = true);
  await Promise.race([quit.promise, ended]);
  // Ctrl-C reaches the daemon too, and a second signal would make it stop at once.
  await Promise.race([ended, sleep(systemClock, 1_000)]);
  if (!over) daemon.kill("SIGTERM");
  await Promise.race([ended, sleep(systemClock, 1_000)]);
  // With --watch, Deno outlives the program and waits for the next change.
  if (!over) daemon.kill("SIGKILL");
  await ended;
}

async function readKeys(onKey: (key: string) => Promise<void>): Promise<void> {
  for await (const text of Deno.stdin.readable.pipeThrough(new TextDecoderStream())) {
    for (const line of text.split("\n")) if (line.trim() !== "") await onKey(line.trim());
  }
}

await dev();
Deno.exit(0);
