import {
  assert,
  assertEquals,
  assertGreater,
  assertInstanceOf,
  assertLess,
  assertRejects,
} from "../deps.ts";
import { type Bytes, concat, fromUtf8, utf8 } from "../../src/base/bytes.ts";
import { systemClock } from "../../src/base/clock.ts";
import { BusError, BusErrorCode } from "../../src/base/errors.ts";
import {
  call as callBus,
  connectBus,
  notify as notifyBus,
  subscribe as subscribeBus,
} from "../../src/bus/client.ts";
import { MAX_QUEUED_BYTES } from "../../src/bus/limits.ts";
import { call, subscribe, type Subscriber } from "../../src/bus/methods.ts";
import { buffer, int, optionalInt } from "../../src/bus/params.ts";
import { type BusServer, startServer } from "../../src/bus/server.ts";
import type { Frame } from "../../src/wire/frame.ts";
import { FrameReader } from "../../src/wire/frame_reader.ts";
import { decodeValue, type Value } from "../../src/wire/object.ts";
import { tempDir } from "../support/temp.ts";
import { waitFor, within } from "../support/wait.ts";
import { badInputs } from "../unit/bus/bad_input.ts";
import { callFrame, MemoryLog, request, subscribeFrame, valueFrame } from "../unit/bus/harness.ts";

/** A server on a real socket, with one of each kind of method. */
interface Scene extends AsyncDisposable {
  readonly path: string;
  readonly server: BusServer;
  readonly log: MemoryLog;
  readonly published: string[];
  readonly subscribers: Subscriber[];
}

async function scene(): Promise<Scene> {
  const dir = await tempDir();
  const path = `${dir.path}/iface`;
  const log = new MemoryLog();
  const published: string[] = [];
  const subscribers: Subscriber[] = [];
  const table = {
    publish: call({ topic: buffer, qos: optionalInt(0, 1, 0) }, ({ topic }, reply) => {
      published.push(fromUtf8(topic) ?? "?");
      reply.respond(null);
    }),
    echo: call({ n: int(0, 1e9) }, ({ n }) => BigInt(n)),
    soon: call({ n: int(0, 1e9) }, async ({ n }) => {
      await new Promise((resolve) => setTimeout(resolve, 1 + n % 7));
      return BigInt(n);
    }),
    never: call({}, () => undefined),
    refused: call({}, () => {
      throw new BusError(BusErrorCode.REMOTE, "Cannot publish: refused", "not authorized");
    }),
    values: subscribe({}, (_, subscriber) => {
      subscribers.push(subscriber);
      subscriber.accept();
    }),
  };
  const server = await startServer({ path, table, clock: systemClock, log });
  return {
    path,
    server,
    log,
    published,
    subscribers,
    async [Symbol.asyncDispose]() {
      await server.close(0);
      await dir[Symbol.asyncDispose]();
    },
  };
}

function connect(path: string): Promise<Deno.UnixConn> {
  return Deno.connect({ transport: "unix", path });
}

async function send(conn: Deno.Conn, bytes: Bytes): Promise<void> {
  for (let at = 0; at < bytes.length;) at += await conn.write(bytes.subarray(at));
}

/** All frames until the server closes; a reset is a close, too. */
async function framesUntilClose(conn: Deno.Conn): Promise<Frame[]> {
  const reader = new FrameReader();
  const frames: Frame[] = [];
  try {
    for (;;) {
      const count = await conn.read(reader.space());
      if (count === null) return frames;
      reader.filled(count);
      for (let frame = reader.next(); frame !== undefined; frame = reader.next()) {
        frames.push({ headers: frame.headers, payload: frame.payload.slice() });
      }
    }
  } catch (error) {
    if (error instanceof Deno.errors.ConnectionReset) return frames;
    throw error;
  }
}

async function codeOf(promise: Promise<unknown>): Promise<[number, string | undefined]> {
  const error = await assertRejects(() => promise);
  assertInstanceOf(error, BusError);
  return [error.code, error.reason];
}

Deno.test("every bad input of the table gets one error frame and a close, and another client goes on", async () => {
  await using bus = await scene();
  const other = await connectBus(bus.path);
  for (const { name, bytes, code } of badInputs()) {
    using conn = await connect(bus.path);
    await send(conn, bytes);
    const frames = await within(name, framesUntilClose(conn), 1_000);
    assertEquals(frames.map(({ headers }) => [...headers]), [[["error", code]]], name);
    assertEquals(await other.call("echo", new Map([["n", 1n]])), 1n);
  }
  other.close();
});

Deno.test("a request one byte at a time is answered", async () => {
  await using bus = await scene();
  using conn = await connect(bus.path);
  for (const byte of callFrame("echo", { n: 5n })) await conn.write(Uint8Array.of(byte));
  await conn.closeWrite();
  const frames = await within("the answer", framesUntilClose(conn));
  assertEquals(frames.map(({ payload }) => decodeValue(payload)), [5n]);
});

Deno.test("a large request and a large answer pass in the parts that the kernel takes", async () => {
  await using bus = await scene();
  const topic = new Uint8Array(900_000).fill(97);
  assertEquals(await callBus(bus.path, "publish", new Map([["topic", topic]])), null);
  assertEquals(bus.published[0]?.length, topic.length);

  using conn = await connect(bus.path);
  await send(conn, subscribeFrame("values"));
  const subscriber = await waitFor("the subscription", () => bus.subscribers[0]);
  const text = "x".repeat(700_000);
  subscriber.send(valueFrame(text));
  subscriber.close("done");
  const frames = await within("the value", framesUntilClose(conn));
  assertEquals(decodeValue(frames[1]!.payload), utf8(text));
});

Deno.test("pipelined calls are answered in order, though some take longer", async () => {
  await using bus = await scene();
  const connection = await connectBus(bus.path);
  const calls: Promise<Value>[] = [];
  for (let n = 0n; n < 1000n; n++) {
    calls.push(connection.call(n % 3n === 0n ? "soon" : "echo", new Map([["n", n]])));
  }
  const values = await within("all answers", Promise.all(calls));
  assertEquals(values, Array.from({ length: 1000 }, (_, n) => BigInt(n)));
  connection.close();
});

Deno.test("1,000 clients are served at once, and nothing of them stays", async () => {
  await using bus = await scene();
  const count = 1000;
  const conns = await Promise.all(Array.from({ length: count }, () => connect(bus.path)));
  await waitFor("all of them", () => bus.server.counters().clients === count);
  await Promise.all(conns.map(async (conn, n) => {
    await send(conn, callFrame("echo", { n: BigInt(n) }));
    await conn.closeWrite();
    const frames = await framesUntilClose(conn);
    assertEquals(frames.map(({ payload }) => decodeValue(payload)), [BigInt(n)]);
    conn.close();
  }));
  await waitFor("the end of all of them", () => bus.server.counters().clients === 0);
  assertEquals(bus.server.counters().total, count);
});

Deno.test("clients that drop in every state of a request leave nothing behind", async () => {
  await using bus = await scene();
  const starts = [
    new Uint8Array(0),
    callFrame("echo", { n: 1n }).subarray(0, 7),
    callFrame("echo", { n: 1n }).subarray(0, 30),
    callFrame("echo", { n: 1n }),
    callFrame("soon", { n: 1n }),
    concat([callFrame("soon", { n: 1n }), callFrame("echo", { n: 1n }).subarray(0, 3)]),
    subscribeFrame("values"),
    request(0, "publish", { topic: utf8("a") }),
    callFrame("nothing"),
  ];
  for (let round = 0; round < 20; round++) {
    await Promise.all(starts.map(async (bytes) => {
      const conn = await connect(bus.path);
      if (bytes.length > 0) await send(conn, bytes);
      conn.close();
    }));
  }
  await waitFor("all of them", () => bus.server.counters().total === 20 * starts.length);
  await waitFor("the end of all of them", () => bus.server.counters().clients === 0);
});

Deno.test("a subscriber that does not read is closed; the others get everything in order", async () => {
  await using bus = await scene();
  const got: number[] = [];
  const good = subscribeBus(bus.path, "values", new Map(), (value) => {
    assert(value instanceof Uint8Array);
    got.push(Number(fromUtf8(value)!.trim()));
  });
  await good.accepted;
  using slow = await connect(bus.path);
  await send(slow, subscribeFrame("values"));
  const [goodSubscriber, slowSubscriber] = await waitFor(
    "both",
    () => bus.subscribers.length === 2 ? bus.subscribers : undefined,
  );
  let over = false;
  slowSubscriber!.label = "sensors/#";
  slowSubscriber!.onClose(() => over = true);
  let sent = 0;
  while (!over) {
    // As the daemon does, which reads nothing more then.
    if (slowSubscriber!.queuedBytes >= MAX_QUEUED_BYTES) {
      await waitFor("the slow one to be closed", () => over);
      break;
    }
    const frame = valueFrame(`${sent++}`.padEnd(50_000));
    slowSubscriber!.send(frame);
    goodSubscriber!.send(frame);
    await waitFor("the good one to read", () => got.length === sent);
  }
  // 1 MiB of ours, and what the kernel holds.
  assertGreater(sent * 50_000, 1_048_576);
  assertLess(sent * 50_000, 4_000_000);
  assertEquals(got, Array.from({ length: sent }, (_, n) => n));
  assertEquals(bus.server.counters().closed.slow, 1);
  assertEquals(
    bus.log.of("closed a client").filter(({ level }) => level === "warn")
      .map(({ fields }) => [fields["reason"], fields["label"]]),
    [["slow", "sensors/#"]],
  );
  // Closed for real, though a write was under way: what the kernel holds comes, then the end.
  const frames = await within("the end", framesUntilClose(slow));
  assertLess(frames.length, sent);
  good.close();
  assertEquals(await good.closed, undefined);
});

Deno.test("200 damaged requests are each answered or closed within a second, and the server serves on", async () => {
  await using bus = await scene();
  const random = seeded(20260101);
  const originals = [
    callFrame("publish", { topic: utf8("a/b"), qos: 1n }),
    callFrame("echo", { n: 1n }),
    subscribeFrame("values"),
    request(0, "publish", { topic: utf8("a") }),
    callFrame("publish", { topic: utf8("a".repeat(300)), list: [1n, true, 2.5, null] }),
  ];
  for (let round = 0; round < 200; round++) {
    const bytes = damaged(originals[round % originals.length]!, random);
    using conn = await connect(bus.path);
    try {
      await send(conn, bytes);
      await conn.closeWrite();
    } catch (error) {
      // The server may have refused and closed already.
      assert(
        error instanceof Deno.errors.BrokenPipe || error instanceof Deno.errors.NotConnected,
        String(error),
      );
    }
    const frames = await within(
      `the end of round ${round}: ${bytes.toHex()}`,
      framesUntilClose(conn),
      1_000,
    );
    const errors = frames.filter(({ headers }) => headers.has("error"));
    assert(errors.length <= 1, `round ${round}: ${errors.length} error frames`);
  }
  assertEquals(await callBus(bus.path, "echo", new Map([["n", 1n]])), 1n);
  await waitFor("no client to stay", () => bus.server.counters().clients === 0);
});

Deno.test("the client tells a refusal with its reason, a missing server, and a missing answer apart", async () => {
  await using bus = await scene();
  assertEquals(await codeOf(callBus(bus.path, "refused")), [BusErrorCode.REMOTE, "not authorized"]);
  assertEquals(await codeOf(callBus(bus.path, "nothing")), [BusErrorCode.NOENTRY, undefined]);
  assertEquals(await codeOf(callBus(`${bus.path}x`, "echo")), [BusErrorCode.NOCONN, undefined]);
  const abort = new AbortController();
  const pending = codeOf(callBus(bus.path, "never", new Map(), abort.signal));
  await waitFor("the call", () => bus.server.counters().clients === 1);
  abort.abort();
  assertEquals(await pending, [BusErrorCode.TIMEOUT, undefined]);

  const connection = await connectBus(bus.path);
  const [first, second, third] = [
    connection.call("echo", new Map([["n", 1n]])),
    codeOf(connection.call("refused")),
    codeOf(connection.call("echo", new Map([["n", 2n]]))),
  ];
  assertEquals(await first, 1n);
  assertEquals(await second, [BusErrorCode.REMOTE, "not authorized"]);
  assertEquals(await third, [BusErrorCode.NOCONN, undefined]);
  assertEquals((await connection.closed)?.code, BusErrorCode.REMOTE);
  assertEquals(await codeOf(connection.call("echo")), [BusErrorCode.NOCONN, undefined]);
});

Deno.test("the client notifies, and subscribes until either side ends it", async () => {
  await using bus = await scene();
  await notifyBus(bus.path, "publish", new Map([["topic", utf8("a")]]));
  await waitFor("the message", () => bus.published.length === 1);

  const got: Value[] = [];
  const subscription = subscribeBus(bus.path, "values", new Map(), (value) => void got.push(value));
  await subscription.accepted;
  bus.subscribers[0]!.send(valueFrame("one"));
  bus.subscribers[0]!.send(valueFrame("two"));
  bus.subscribers[0]!.close("enough");
  assertEquals(await subscription.closed, undefined);
  assertEquals(got, [utf8("one"), utf8("two")]);

  const refused = subscribeBus(bus.path, "echo", new Map(), () => {});
  assertEquals(await codeOf(refused.accepted), [BusErrorCode.INVALID, undefined]);
  assertEquals((await refused.closed)?.code, BusErrorCode.INVALID);

  const unborn = subscribeBus(bus.path, "values", new Map(), () => {});
  unborn.close();
  assertEquals(await codeOf(unborn.accepted), [BusErrorCode.NOCONN, undefined]);
  await waitFor("no client to stay", () => bus.server.counters().clients === 0);
});

Deno.test("a client waits while the queue of a busy server is full", async () => {
  await using dir = await tempDir();
  const path = `${dir.path}/iface`;
  using listener = Deno.listen({ transport: "unix", path });
  using stack = new DisposableStack();
  const full = await assertRejects(async () => {
    while (true) stack.use(await connect(path));
  });
  assertInstanceOf(full, Deno.errors.WouldBlock);
  const waiting = connectBus(path);
  await new Promise((resolve) => setTimeout(resolve, 50));
  stack.use(await listener.accept());
  (await within("a place", waiting)).close();
});

/** Numbers in [0, 1) that are the same in every run (mulberry32). */
function seeded(seed: number): () => number {
  return () => {
    seed = seed + 0x6d2b79f5 | 0;
    let mixed = Math.imul(seed ^ seed >>> 15, 1 | seed);
    mixed = mixed + Math.imul(mixed ^ mixed >>> 7, 61 | mixed) ^ mixed;
    return ((mixed ^ mixed >>> 14) >>> 0) / 2 ** 32;
  };
}

function damaged(original: Bytes, random: () => number): Bytes {
  let bytes = original.slice();
  const times = 1 + Math.floor(random() * 3);
  for (let time = 0; time < times; time++) {
    const at = Math.floor(random() * bytes.length);
    const kind = Math.floor(random() * 4);
    if (kind === 0) bytes[at]! ^= 1 << Math.floor(random() * 8);
    else if (kind === 1) bytes = bytes.slice(0, at + 1);
    else if (kind === 2) {
      bytes = concat([bytes.slice(0, at), bytes.slice(at + 1), Uint8Array.of(at)]);
    } else bytes = concat([bytes, original.slice(0, at)]);
  }
  return bytes;
}
