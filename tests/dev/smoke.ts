/**
 * Starts a program against the stand-in for AWS IoT Core as its user does, has it publish, subscribe, say its status and stop, and
 * measures it. `release.yml` runs it with each compiled binary on its own architecture:
 *
 *     deno run -P=dev tests/dev/smoke.ts [--host NAME] [--port N] [--bus-dir DIR] [--credentials DIR] [--spool DIR] COMMAND...
 *
 * The host must lead to this machine; without options everything is in a temporary folder, which a compiled program may not use.
 *
 * @module
 */

import { parseOptions } from "../../src/cli/args.ts";
import { type AwsIotCore, startAwsIotCore } from "../support/aws_iot_core.ts";
import { createPki, writePki } from "../support/pki.ts";
import { type Program, startCommand } from "../support/program.ts";
import { tempDir } from "../support/temp.ts";
import { waitFor, within } from "../support/wait.ts";
import { say } from "./say.ts";

/** Starts that are measured. */
const STARTS = 5;

const OPTIONS = ["host", "port", "bus-dir", "credentials", "spool"].map((option) => ({
  option,
  value: "VALUE",
  help: "",
}));

/** A program to try, and where it finds what it needs. */
export interface Subject {
  /** What starts the program, without arguments. */
  readonly command: readonly string[];
  readonly host: string;
  /** 0 takes a free one. */
  readonly port: number;
  readonly busDir: string;
  readonly credentials: string;
  readonly spool: string;
}

/** What was measured. */
export interface Measured {
  /** From the start to serving clients, in ms, the median. */
  readonly startMs: number;
  /** Resident memory of the connected daemon, in KiB. */
  readonly residentKib: number;
}

/** Tries a program; throws when it does not do what it must. */
export async function smoke(subject: Subject): Promise<Measured> {
  const { host, port, credentials } = subject;
  const pki = await createPki({ names: [host] });
  const files = await writePki(credentials, pki);
  await using core = await startAwsIotCore({ pki, port, behaviour: { connectSpacingMs: 0 } });
  core.register(files.device);
  const args = [
    ...["--endpoint", `${host}:${core.port}`, "--id", "smoke", "--spool", subject.spool],
    ...["--rootca", files.rootca, "--cert", files.cert, "--key", files.key],
    ...["--bus-dir", subject.busDir],
  ];
  const starts: number[] = [];
  let residentKib = 0;
  for (let i = 0; i < STARTS; i++) {
    const began = performance.now();
    await using daemon = startCommand([...subject.command, ...args]);
    await daemon.logged("serving the core bus", 30_000);
    starts.push(performance.now() - began);
    await daemon.logged("Connected", 30_000);
    if (i === 0) residentKib = await use(subject, core, daemon);
    daemon.signal("SIGTERM");
    const code = await within("the daemon to stop", daemon.exited);
    if (code !== 0) throw new Error(`The daemon ended with ${code}:\n${daemon.log()}`);
  }
  if (core.violations.length > 0) throw new Error(core.violations.join(", "));
  return { startMs: starts.sort((a, b) => a - b)[Math.floor(STARTS / 2)]!, residentKib };
}

/** Uses a running daemon by the program's own tools. */
async function use(subject: Subject, core: AwsIotCore, daemon: Program): Promise<number> {
  const tool = (...args: string[]): Program =>
    startCommand([...subject.command, ...args, "--bus-dir", subject.busDir]);
  await finished(tool("publish", "-t", "smoke/out", "-m", "up", "-q", "1", "--ack", "broker"));
  const arrived = core.published.some(({ topic }) => topic === "smoke/out");
  if (!arrived) throw new Error("What was published did not arrive");
  const subscriber = tool("subscribe", "-t", "smoke/in", "-q", "1", "-C", "1", "-v");
  await waitFor(
    "the subscription",
    () => core.connections.some(({ subscriptions }) => subscriptions.includes("smoke/in")),
  );
  core.publish("smoke/in", "down", 1);
  const line = await finished(subscriber);
  if (line !== "smoke/in down\n") throw new Error(`subscribe printed ${JSON.stringify(line)}`);
  const status = JSON.parse(await finished(tool("status", "--json")));
  if (status === null || typeof status !== "object") throw new Error("status --json is no object");
  return Number(await finished(startCommand(["ps", "-o", "rss=", "-p", String(daemon.pid)])));
}

/** What a tool printed, when it ended with 0. */
async function finished(tool: Program): Promise<string> {
  await using running = tool;
  const code = await within("a tool to end", running.exited, 20_000);
  if (code !== 0) throw new Error(`A tool ended with ${code}: ${running.log()}`);
  return running.output();
}

async function main(): Promise<void> {
  const command = Deno.args.findIndex((arg, i) =>
    !arg.startsWith("--") && (i === 0 || !Deno.args[i - 1]!.startsWith("--"))
  );
  if (command < 0) throw new Error("Cannot try nothing: give the path of the program");
  const { values } = parseOptions(Deno.args.slice(0, command), OPTIONS);
  await using dir = await tempDir();
  const of = (option: string): string | undefined => values.get(option)?.at(-1);
  const { startMs, residentKib } = await smoke({
    command: Deno.args.slice(command),
    host: of("host") ?? "localhost",
    port: Number(of("port") ?? 0),
    busDir: of("bus-dir") ?? `${dir.path}/bus`,
    credentials: of("credentials") ?? dir.path,
    spool: of("spool") ?? `${dir.path}/spool`,
  });
  const [path] = Deno.args.slice(command);
  const { size } = await Deno.stat(path!);
  say(`size      ${(size / 2 ** 20).toFixed(1)} MiB`);
  say(`start     ${startMs.toFixed(0)} ms until clients are served, the median of ${STARTS}`);
  say(`resident  ${(residentKib / 1024).toFixed(0)} MiB, connected`);
}

if (import.meta.main) await main();
