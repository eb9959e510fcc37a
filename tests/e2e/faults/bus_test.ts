/** What clients may do to the daemon, and what may be in its socket's place. */

import { assert, assertEquals, assertLess, assertStringIncludes } from "../../deps.ts";
import { utf8 } from "../../../src/base/bytes.ts";
import { BusError, BusErrorCode, Exit } from "../../../src/base/errors.ts";
import { LOG_BURST } from "../../../src/base/rate_limited_log.ts";
import { call } from "../../../src/bus/client.ts";
import type { Status } from "../../../src/status/types.ts";
import { readStatus } from "../../../src/status/codec.ts";
import { MAX_VIRTUAL_FILTERS } from "../../../src/subscribe/subscriptions.ts";
import { BAD_COMPANY, open, requestFrame, startCrowd, writeAll } from "../../support/crowd.ts";
import { connected, listen, listenSoon, publish, publishParams } from "../../support/daemon.ts";
import { runProgram, startProgram } from "../../support/program.ts";
import { waitFor, within } from "../../support/wait.ts";
import { assertServes, missing, scene, stop, world } from "./scene.ts";

async function statusOf(socket: string): Promise<Status> {
  return readStatus(await call(socket, "status"));
}

/** Numbered texts. */
function texts(name: string, count: number): string[] {
  return Array.from({ length: count }, (_, n) => `${name} ${n}`);
}

/** How many descriptors a process has; by `ls`, as reading `/proc` may be forbidden to tests. */
async function descriptorsOf(pid: number): Promise<number> {
  const { stdout } = await new Deno.Command("ls", { args: [`/proc/${pid}/fd`] }).output();
  return new TextDecoder().decode(stdout).trim().split("\n").length;
}

/** The resident memory of a process, in bytes. */
async function memoryOf(pid: number): Promise<number> {
  const { stdout } = await new Deno.Command("cat", { args: [`/proc/${pid}/status`] }).output();
  return Number(/VmRSS:\s+(\d+) kB/.exec(new TextDecoder().decode(stdout))![1]) * 1_024;
}

/** Opens a connection as C does, which waits while the kernel's queue is full. */
async function openPatiently(socket: string): Promise<Deno.UnixConn> {
  while (true) {
    try {
      return await open(socket);
    } catch (error) {
      if (!(error instanceof Deno.errors.WouldBlock)) throw error;
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
  }
}

Deno.test("among one-byte writers, deaf subscribers and idle clients, in a flood, a client loses nothing", async () => {
  await using place = await scene();
  const { core, socket } = place;
  await using listener = await listen(socket, ["flood", "own"]);
  await using _crowd = await startCrowd(socket, "flood");
  await using client = await connected(socket);
  const own = texts("own", 50);
  const flood = texts("flood", 3_000);
  const publishing = (async () => {
    for (const payload of own) {
      await client.call("publish", publishParams({ topic: "own", payload, qos: 1 }));
    }
  })();
  const filling = "x".repeat(1_000);
  for (const [n, text] of flood.entries()) {
    core.publish("flood", `${text} ${filling}`);
    if (n % 50 === 49) await new Promise((resolve) => setTimeout(resolve, 25));
  }
  await within("the publishes", publishing);
  const got = (topic: string): string[] =>
    listener.messages.filter((message) => message.topic === topic)
      .map(({ payload }) => new TextDecoder().decode(payload).split(" ", 2).join(" "));
  await waitFor("the whole flood", () => got("flood").length >= flood.length, 20_000);
  await waitFor("what was published", () => got("own").length >= own.length, 20_000);
  assertEquals([got("flood"), got("own"), missing(own, core)], [flood, own, []]);
  const { deaf } = BAD_COMPANY;
  await waitFor(
    "the deaf to be closed",
    async () => (await statusOf(socket)).clients.closed_as_slow >= deaf,
  );
  await assertServes(socket);
});

Deno.test("1,000 clients that drop in every state of a request leave neither memory nor descriptors behind", async () => {
  await using place = await scene("--no-rate-limit");
  const { core, program: { pid }, socket } = place;
  core.behaviour.enforceLimits = false;
  const publishing = requestFrame(1, "publish", { topic: utf8("drop"), qos: 1n });
  const subscribing = requestFrame(2, "subscribe", { topic_filter: utf8("drop") });
  const large = requestFrame(1, "publish", {
    topic: utf8("drop"),
    payload: new Uint8Array(120_000),
  });
  const states = [
    new Uint8Array(0),
    publishing.subarray(0, 7),
    publishing.subarray(0, 12),
    publishing.subarray(0, 40),
    publishing.subarray(0, publishing.length - 1),
    publishing,
    large.subarray(0, 12),
    large.subarray(0, 100_000),
    subscribing.subarray(0, 20),
    subscribing,
    requestFrame(0, "publish", { topic: utf8("drop") }),
    requestFrame(1, "nothing"),
    requestFrame(2, "connection_status"),
    requestFrame(2, "status"),
    requestFrame(1, "status"),
  ];
  const dropMany = async (count: number): Promise<void> => {
    for (let n = 0; n < count; n += 50) {
      await Promise.all(Array.from({ length: 50 }, async (_, at) => {
        using conn = await openPatiently(socket);
        await writeAll(conn, states[(n + at) % states.length]!).catch(() => {});
      }));
    }
    // Asking makes a client itself.
    await waitFor(
      "the end of all of them",
      async () => (await statusOf(socket)).clients.open === 1,
      20_000,
    );
  };
  // V8 lets its heap grow to some size before it looks for garbage; only what grows after that is a leak.
  await dropMany(8_000);
  const before = { memory: await memoryOf(pid), descriptors: await descriptorsOf(pid) };
  await dropMany(1_000);
  await waitFor("the descriptors", async () => await descriptorsOf(pid) <= before.descriptors);
  const grown = await memoryOf(pid) - before.memory;
  assertLess(grown, 24 * 1_048_576, `${Math.round(grown / 1_024)} KiB more`);
  const { subscriptions } = await statusOf(socket).then(({ clients }) => clients);
  assertEquals(subscriptions, 0);
  await assertServes(socket);
});

Deno.test("out of descriptors, those who are there are served, it is said, and the rest comes when room is there", async () => {
  await using place = await world();
  const { socket, core } = place;
  const wrapper = ["bash", "-c", 'ulimit -n 128; exec "$@"', "--"];
  await using program = await startProgram(place.args, {}, wrapper);
  await program.logged("Connected");
  await using client = await connected(socket);
  await client.call("publish", publishParams({ topic: "t", payload: "before", qos: 1 }));
  const conns = await Promise.all(Array.from({ length: 200 }, () => open(socket)));
  try {
    await program.logged("Cannot accept clients");
    await client.call("publish", publishParams({ topic: "t", payload: "while full", qos: 1 }));
    await waitFor("both messages", () => core.published.length === 2);
    const late = publish(socket, { topic: "t", payload: "after", qos: 1 });
    // The broker's link is made again when there is room for it.
    await core.dropLinks();
    for (const conn of conns.splice(0)) conn.close();
    await within("the client that had to wait", late, 20_000);
    await waitFor("its message", () => missing(["after"], core).length === 0, 20_000);
  } finally {
    for (const conn of conns) conn.close();
  }
  const lines = program.log().match(/Cannot accept clients/g)!.length;
  assert(lines <= 5, `${lines} lines`);
  assertEquals(await stop(program), 0);
});

Deno.test("a client that is refused thousands of times costs a few lines of the log", async () => {
  await using place = await scene();
  const { program, socket } = place;
  const refused = 5_000;
  {
    using conn = await open(socket);
    const bad = requestFrame(0, "publish", { topic: utf8("#") });
    for (let n = 0; n < refused; n++) await writeAll(conn, bad);
  }
  await waitFor(
    "the refusals",
    async () => (await statusOf(socket)).clients.refused === refused,
  );
  assertEquals(await stop(program), 0);
  const lines = program.log().split("\n").filter((line) => line.includes("Refused a notify"));
  assertEquals(lines.length, LOG_BURST + 1);
  assertStringIncludes(lines.at(-1)!, `more=${refused - LOG_BURST}`);
});

Deno.test("virtual subscriptions, which no broker bounds, are refused with NOMEM when there are too many", async () => {
  await using place = await scene();
  const { socket } = place;
  const filters = texts("v", MAX_VIRTUAL_FILTERS);
  await using first = await listen(socket, filters, { virtual: true });
  const second = listenSoon(socket, "one/more", { virtual: true });
  const error = await second.accepted.then(() => undefined, (error: BusError) => error.code);
  assertEquals(error, BusErrorCode.NOMEM);
  await second.close();
  await first.close();
  await waitFor("room", async () => (await statusOf(socket)).clients.subscriptions === 0);
  await using _third = await listen(socket, "one/more", { virtual: true });
});

interface Place {
  readonly what: string;
  /** Puts it in the socket's place; returns what takes it away. */
  readonly put: (path: string) => Promise<Disposable | void>;
  readonly says: string;
  /** What has to be there still. */
  readonly left: (path: string) => Promise<unknown>;
}

const PLACES: readonly Place[] = [
  {
    what: "a file",
    put: (path) => Deno.writeTextFile(path, "precious"),
    says: "a file is in its place",
    left: (path) => Deno.readTextFile(path),
  },
  {
    what: "a symbolic link",
    put: (path) => Deno.symlink("/etc/hostname", path),
    says: "a symbolic link is in its place",
    left: (path) => Deno.readLink(path),
  },
  {
    what: "a foreign folder",
    put: (path) => Deno.mkdir(`${path}/inside`, { recursive: true }),
    says: "a directory is in its place",
    left: async (path) => (await Deno.lstat(`${path}/inside`)).isDirectory,
  },
  {
    what: "a live socket of another program",
    put: (path) => Promise.resolve(Deno.listen({ transport: "unix", path })),
    says: "another daemon is running",
    left: async (path) => (await Deno.lstat(path)).ino,
  },
];

for (const { what, put, says, left } of PLACES) {
  Deno.test(`${what} in the socket's place ends the program with 73 and stays as it is`, async () => {
    await using place = await world();
    const { busDir, socket, core } = place;
    await Deno.mkdir(busDir);
    using stack = new DisposableStack();
    stack.use((await put(socket)) ?? undefined);
    const before = await left(socket);
    const { code, stderr } = await runProgram(place.args);
    assertEquals([code, await left(socket)], [Exit.CANTCREATE, before], stderr);
    assertStringIncludes(stderr, `Cannot create socket ${socket}: ${says}`);
    assertEquals(core.accepted.length, 0);
  });
}

Deno.test("the dead socket of a daemon that was killed is replaced", async () => {
  await using place = await world();
  {
    await using killed = await startProgram(place.args);
    await killed.logged("serving the core bus");
    killed.signal("SIGKILL");
    await killed.exited;
  }
  assert((await Deno.lstat(place.socket)).isSocket);
  await using program = await startProgram(place.args);
  await program.logged("Connected");
  await assertServes(place.socket);
});
