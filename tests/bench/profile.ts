/**
 * Where the time goes, from V8's CPU profile: the functions with the most time of their own, and the sum by where they are.
 *
 *     deno run -A tests/bench/profile.ts publish|publish-qos1|publish-disk|kept|kept-qos1|fan-out|bare|bare-mqtt
 *
 * with the import map that the tasks choose, `$(deno run -q .ci/npm-only/pick.ts)`. The last two are the baselines of `publish`.
 *
 * @module
 */

import {
  ACCEPTED,
  connectPacket,
  messageFrame,
  NULL_ANSWER,
  PAYLOAD_BYTES,
  publishPacket,
  publishRequest,
  subscribeRequest,
} from "./support/frames.ts";
import { Helper } from "./support/helper.ts";
import { openStage, type Stage } from "./support/stage.ts";

const TOPIC = "bench/device/telemetry";

const TOP = 20;

/** As `deno run --cpu-prof` writes it. */
interface Profile {
  readonly nodes: readonly Node[];
  readonly samples: readonly number[];
  /** In µs, of the samples. */
  readonly timeDeltas: readonly number[];
}

interface Node {
  readonly id: number;
  readonly callFrame: {
    readonly functionName: string;
    readonly url: string;
    readonly lineNumber: number;
  };
}

/** What is profiled: something that serves a socket, and how to end it so that it writes its profile. */
interface Subject {
  readonly socket: string;
  settle(): Promise<void>;
  stop(): Promise<void>;
}

function print(text: string): void {
  Deno.stdout.writeSync(new TextEncoder().encode(text + "\n"));
}

/** Loads the subject, and returns how many messages that were. */
async function load({ clients, plainPort }: Stage, subject: Subject, what: string) {
  const request = publishRequest(TOPIC, /qos1|disk/.test(what) ? 1 : 0);
  const { socket } = subject;
  let count: number;
  if (what === "fan-out") {
    await clients.fan({
      ...{ socket, request: subscribeRequest(TOPIC), accepted: ACCEPTED },
      ...{ message: messageFrame(TOPIC), count: count = 300_000, window: 512, subscribers: 1 },
      ...{ port: plainPort, connect: connectPacket("feed"), publish: publishPacket(TOPIC) },
    });
  } else if (what.startsWith("kept")) {
    await clients.kept(socket, request, NULL_ANSWER, count = 200_000, 100);
  } else {
    count = what === "publish-disk" ? 8_000 : 100_000;
    await clients.call(socket, request, NULL_ANSWER, 4, count / 4);
  }
  await subject.settle();
  return count;
}

async function startSubject(
  stage: Stage,
  what: string,
  flags: readonly string[],
): Promise<Subject & AsyncDisposable> {
  if (!what.startsWith("bare")) {
    const spool = what === "publish-disk" ? `${stage.dir}/spool` : "memory";
    const daemon = await stage.daemonWith(
      { flags },
      "profiled",
      ...["--spool", spool, "--spool-max-bytes", "268435456"],
    );
    return {
      ...daemon,
      stop: async () => {
        daemon.program.signal("SIGTERM");
        await daemon.program.exited;
      },
    };
  }
  const socket = `${stage.dir}/bare`;
  const mqtt = what === "bare" ? [] : [...stage.mqttArgs(), TOPIC, `${PAYLOAD_BYTES}`];
  const args = [socket, NULL_ANSWER.toHex(), "once", ...mqtt];
  const helper = await Helper.startWith(flags, "bare_server.ts", ...args);
  return {
    socket,
    settle: () => Promise.resolve(),
    stop: async () => {
      await helper.ask("stop");
      await helper.ended;
    },
    [Symbol.asyncDispose]: () => helper[Symbol.asyncDispose](),
  };
}

function functionOf({ callFrame: { functionName, url, lineNumber } }: Node): string {
  const file = url.split("/").slice(-2).join("/");
  return `${functionName || "(anonymous)"}${file === "" ? "" : ` ${file}:${lineNumber + 1}`}`;
}

/** Where a function is: a room of ours, a package, a part of Deno, or native. */
function placeOf({ callFrame: { functionName, url } }: Node): string {
  const room = /\/src\/(\w+)\//.exec(url)?.[1];
  if (room !== undefined && url.startsWith("file:") && !url.includes("/npm/")) return `src/${room}`;
  if (url.includes("/npm/")) return `npm: ${/\/npm\/[^/]+\/([^/]+)/.exec(url)?.[1]}`;
  if (url.startsWith("ext:")) return url.split("/")[0]!;
  if (url !== "") return url.startsWith("file:") ? "bench" : "node: in JavaScript";
  return functionName.startsWith("(") ? functionName : "native (system calls, TLS, SQLite)";
}

/** The time by itself of whatever a node is grouped to, in µs; the most first, without what is idle. */
function times(profile: Profile, group: (node: Node) => string): [string, number][] {
  const groups = new Map(profile.nodes.map((node) => [node.id, group(node)]));
  const sums = new Map<string, number>();
  profile.samples.forEach((id, index) => {
    const name = groups.get(id) ?? "?";
    sums.set(name, (sums.get(name) ?? 0) + profile.timeDeltas[index]!);
  });
  return [...sums].filter(([name]) => !/^\((idle|root)\)/.test(name)).sort((a, b) => b[1] - a[1]);
}

function printTimes(all: readonly [string, number][], count: number): void {
  const total = all.reduce((sum, [, time]) => sum + time, 0);
  for (const [name, time] of all.slice(0, TOP)) {
    const part = (100 * time / total).toFixed(1).padStart(5);
    print(`${part} %  ${(time / count).toFixed(2).padStart(6)} µs  ${name}`);
  }
  print("");
}

async function main(what: string): Promise<void> {
  await using stage = await openStage();
  const dir = `${stage.dir}/profile`;
  const flags = ["--cpu-prof", `--cpu-prof-dir=${dir}`, "--cpu-prof-interval=200"];
  await using subject = await startSubject(stage, what, flags);
  const count = await load(stage, subject, what);
  await subject.stop();
  const [file] = [...Deno.readDirSync(dir)].map(({ name }) => name);
  if (file === undefined) throw new Error("Deno wrote no profile");
  const profile: Profile = JSON.parse(await Deno.readTextFile(`${dir}/${file}`));
  const places = times(profile, placeOf);
  const total = places.reduce((sum, [, time]) => sum + time, 0);
  print(`${what}: ${count} messages, ${(total / count).toFixed(1)} µs each, while profiled`);
  printTimes(places, count);
  printTimes(times(profile, functionOf), count);
}

await main(Deno.args[0] ?? "publish");
Deno.exit(0);
