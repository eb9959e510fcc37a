/**
 * `deno task demo`: the main job once, visibly. Starts a stand-in for AWS IoT Core and the daemon as a process of its own, lets
 * several local clients publish and subscribe, cuts the link and restores it, and checks that every message arrived.
 *
 * @module
 */

import { type BusConnection, connectBus, subscribe } from "../../src/bus/client.ts";
import { utf8 } from "../../src/base/bytes.ts";
import type { Value } from "../../src/wire/object.ts";
import { type AwsIotCore, startAwsIotCore } from "../support/aws_iot_core.ts";
import { writePki } from "../support/pki.ts";
import { daemonArgs, type Program, startProgram } from "../support/program.ts";
import { tempDir } from "../support/temp.ts";
import { waitFor, within } from "../support/wait.ts";
import { say } from "./say.ts";

/** Messages that each of the three publishing clients sends in each part. */
const EACH = 20;

/** A local client that subscribes and keeps what it gets. */
interface Listener {
  readonly filter: string;
  readonly got: string[];
  close(): Promise<void>;
}

async function listen(socket: string, filter: string): Promise<Listener> {
  const got: string[] = [];
  const subscription = subscribe(
    socket,
    "subscribe",
    new Map<string, Value>([["topic_filter", utf8(filter)], ["qos", 1n]]),
    (value) => {
      if (!(value instanceof Map)) throw new Error("a message must be a map");
      got.push(new TextDecoder().decode(value.get("payload") as Uint8Array));
    },
  );
  await subscription.accepted;
  const close = async (): Promise<void> => {
    subscription.close();
    await subscription.closed;
  };
  return { filter, got, close };
}

async function publish(
  client: BusConnection,
  topic: string,
  payload: string,
  qos: bigint,
): Promise<void> {
  await client.call(
    "publish",
    new Map<string, Value>([["topic", utf8(topic)], ["payload", utf8(payload)], ["qos", qos]]),
  );
}

/** Three clients publish at once, each over a connection of its own; returns what they sent. */
async function publishFromThree(
  socket: string,
  part: string,
  qos: (index: number) => bigint,
): Promise<string[]> {
  const sent: string[] = [];
  await Promise.all(["temp", "humidity", "power"].map(async (sensor) => {
    const client = await connectBus(socket);
    for (let i = 0; i < EACH; i++) {
      const payload = `${part} ${sensor} ${i}`;
      await publish(client, `sensors/${sensor}`, payload, qos(i));
      sent.push(payload);
    }
    client.close();
    await client.closed;
  }));
  return sent;
}

/** Waits until a listener has everything, and fails for what is missing. */
async function check(listener: Listener, sent: readonly string[]): Promise<void> {
  const missing = (): string[] => sent.filter((payload) => !listener.got.includes(payload));
  await waitFor(
    `${listener.filter} to get ${sent.length} messages`,
    () => missing().length === 0,
    30_000,
  );
  const duplicates = listener.got.length - new Set(listener.got).size;
  say(
    `   ${listener.filter.padEnd(14)} got all of its ${sent.length}${
      duplicates ? `, ${duplicates} of them twice` : ""
    }`,
  );
}

async function statusOf(socket: string, wanted: boolean): Promise<void> {
  const seen = Promise.withResolvers<void>();
  const subscription = subscribe(socket, "connection_status", new Map(), (value) => {
    if (value === wanted) seen.resolve();
  });
  await within(`connection_status to be ${wanted}`, seen.promise, 30_000);
  subscription.close();
  await subscription.closed;
}

/** What the cloud has got of the payloads, once each. */
function arrived(core: AwsIotCore, payloads: readonly string[]): string[] {
  const got = new Set(core.published.map(({ payload }) => new TextDecoder().decode(payload)));
  return payloads.filter((payload) => got.has(payload));
}

/** Subscribes, publishes, and goes through an outage in which the daemon is killed; returns with the link still cut. */
async function untilTheCrash(core: AwsIotCore, daemon: Program, socket: string): Promise<string[]> {
  await daemon.logged("serving the core bus");
  await statusOf(socket, true);
  say("2. the daemon is connected; three local clients subscribe");
  const all = await listen(socket, "sensors/#");
  const temp = await listen(socket, "sensors/temp");
  const commands = await listen(socket, "commands/+");

  say(
    `3. three clients publish ${
      3 * EACH
    } messages, at QoS 0 and 1 in turn; the cloud sends a command`,
  );
  const first = await publishFromThree(socket, "first", (index) => BigInt(index % 2));
  core.publish("commands/reboot", "now", 1);
  await check(all, first);
  await check(temp, first.filter((payload) => payload.includes("temp")));
  await check(commands, ["now"]);

  say("4. the link is cut; the clients go on publishing at QoS 1, and all is accepted");
  await core.close();
  await statusOf(socket, false);
  const second = await publishFromThree(socket, "offline", () => 1n);

  say("5. the link is restored; the subscriptions are still there, and what waited arrives");
  await core.reopen();
  await statusOf(socket, true);
  await check(all, [...first, ...second]);

  say("6. the link is cut again, more is published, and then the daemon is killed (kill -9)");
  await core.close();
  await statusOf(socket, false);
  const third = await publishFromThree(socket, "before the crash", () => 1n);
  daemon.signal("SIGKILL");
  await daemon.exited;
  for (const listener of [all, temp, commands]) await listener.close();
  return third;
}

/** Starts again with the backlog on disk. */
async function afterTheCrash(
  core: AwsIotCore,
  daemon: Program,
  socket: string,
  backlog: string[],
): Promise<void> {
  await daemon.logged("serving the core bus");
  const all = await listen(socket, "sensors/#");
  await core.reopen();
  await statusOf(socket, true);
  const missing = (): number => backlog.length - arrived(core, backlog).length;
  await waitFor("the backlog to arrive", () => missing() === 0, 30_000);
  say(`   the cloud has all ${backlog.length} that were accepted before the crash`);
  const fourth = await publishFromThree(socket, "again", () => 1n);
  await check(all, fourth);
  await all.close();
}

async function stop(daemon: Program): Promise<void> {
  daemon.signal("SIGTERM");
  const code = await within("the daemon to stop", daemon.exited);
  if (code !== 0) throw new Error(`the daemon ended with ${code}`);
}

/** Runs a part of the demo against a daemon of its own, and shows what that logged if it fails. */
async function withDaemon<T>(
  args: readonly string[],
  part: (daemon: Program) => Promise<T>,
): Promise<T> {
  await using daemon = await startProgram(args);
  try {
    return await part(daemon);
  } catch (error) {
    say(`\nThe daemon logged:\n${daemon.log()}`);
    throw error;
  }
}

async function demo(): Promise<void> {
  await using dir = await tempDir();
  await using core = await startAwsIotCore({ behaviour: { connectSpacingMs: 0 } });
  const files = await writePki(dir.path, core.pki);
  core.register(files.device);
  const socket = `${dir.path}/bus/aws_iot_mqtt`;
  const args = daemonArgs(core, files, `${dir.path}/bus`, "--spool", `${dir.path}/spool`);
  say(
    `1. a stand-in for AWS IoT Core listens on ${core.host}:${core.port}; the daemon starts, its spool on disk`,
  );
  const backlog = await withDaemon(args, (daemon) => untilTheCrash(core, daemon, socket));
  say("7. the daemon starts again, the link is restored, and the clients go on");
  await withDaemon(args, async (daemon) => {
    await afterTheCrash(core, daemon, socket, backlog);
    await stop(daemon);
  });
  if (core.violations.length > 0) {
    throw new Error(`AWS IoT Core would have objected: ${core.violations.join(", ")}`);
  }
  say("8. the daemon stopped on SIGTERM with exit code 0. Every message arrived.");
}

await demo();
