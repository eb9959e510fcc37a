import { assertEquals, assertGreater, assertLessOrEqual, pureTest } from "../../deps.ts";
import { type Bytes, concat, fromUtf8, utf8 } from "../../../src/base/bytes.ts";
import { BusError, BusErrorCode } from "../../../src/base/errors.ts";
import { FRAMES_PER_TURN, MAX_PENDING_ANSWERS } from "../../../src/bus/limits.ts";
import { call, type MethodTable, type Reply, subscribe } from "../../../src/bus/methods.ts";
import { buffer, int, optionalInt } from "../../../src/bus/params.ts";
import { encodeFrame, type Frame } from "../../../src/wire/frame.ts";
import { decodeValue, type Value } from "../../../src/wire/object.ts";
import { waitFor } from "../../support/wait.ts";
import { badInputs } from "./bad_input.ts";
import type { FakeConn } from "./fake_conn.ts";
import { callFrame, Harness, request, subscribeFrame } from "./harness.ts";

const NULL_ANSWER = "000000110000000038a2615b00a171ab15";

/** `later` keeps its replies here; each table has its own. */
function tableWith(replies: Reply[] = [], seen: string[] = []): MethodTable {
  return {
    publish: call({ topic: buffer, qos: optionalInt(0, 1, 0) }, ({ topic }, reply) => {
      seen.push(fromUtf8(topic) ?? "?");
      reply.respond(null);
    }),
    echo: call({ n: int(0, 1e9) }, ({ n }) => BigInt(n)),
    later: call({}, (_, reply) => void replies.push(reply)),
    soon: call({ n: int(0, 1e9) }, async ({ n }) => {
      await Promise.resolve();
      return BigInt(n);
    }),
    busy: call({}, () => {
      throw new BusError(BusErrorCode.REMOTE, "Cannot publish: refused", "not authorized");
    }),
    bug: call({}, () => {
      throw new TypeError("secret of the daemon");
    }),
    rejected: call({}, () => Promise.reject(new Error("secret of the daemon"))),
    values: subscribe({}, (_, subscriber) => subscriber.accept()),
  } satisfies MethodTable;
}

function frames(conn: FakeConn, count: number): Promise<Frame[]> {
  return waitFor(`${count} frames`, () => {
    const all = conn.frames();
    return all.length >= count ? all : undefined;
  });
}

async function closed(conn: FakeConn): Promise<void> {
  await waitFor("the connection to be closed", () => conn.closed);
}

function values(all: readonly Frame[]): Value[] {
  return all.map(({ payload }) => decodeValue(payload));
}

pureTest(
  "a call is answered like the C daemon does, and the connection stays for the next one",
  async () => {
    await using harness = new Harness(tableWith());
    const conn = await harness.connect();
    conn.feed(callFrame("publish", { topic: utf8("a") }));
    await frames(conn, 1);
    assertEquals(conn.writes[0]?.toHex(), NULL_ANSWER);
    conn.feed(callFrame("echo", { n: 7n }));
    assertEquals(values(await frames(conn, 2)), [null, 7n]);
    assertEquals(conn.closed, false);
    conn.end();
    await closed(conn);
  },
);

pureTest("a request that comes one byte at a time is answered", async () => {
  await using harness = new Harness(tableWith());
  const conn = await harness.connect();
  for (const byte of callFrame("echo", { n: 1n })) conn.feed(Uint8Array.of(byte));
  assertEquals(values(await frames(conn, 1)), [1n]);
});

pureTest("five requests in one read are answered in order, in one write", async () => {
  await using harness = new Harness(tableWith());
  const conn = await harness.connect();
  const all = [1n, 2n, 3n, 4n, 5n];
  conn.feed(concat(all.map((n) => callFrame("echo", { n }))));
  assertEquals(values(await frames(conn, 5)), all);
  assertEquals(conn.writes.length, 1);
});

pureTest(
  "answers come in the order of their requests, whatever order the handlers settle in",
  async () => {
    const replies: Reply[] = [];
    await using harness = new Harness(tableWith(replies));
    const conn = await harness.connect();
    conn.feed(concat([
      callFrame("later"),
      callFrame("echo", { n: 2n }),
      callFrame("later"),
      callFrame("soon", { n: 4n }),
    ]));
    await waitFor("both late requests", () => replies.length === 2);
    replies[1]!.respond(3n);
    assertEquals(conn.frames(), []);
    replies[0]!.respond(1n);
    assertEquals(values(await frames(conn, 4)), [1n, 2n, 3n, 4n]);
  },
);

pureTest("a reply counts once: what comes after it is ignored", async () => {
  const replies: Reply[] = [];
  await using harness = new Harness(tableWith(replies));
  const conn = await harness.connect();
  conn.feed(callFrame("later"));
  await waitFor("the request", () => replies.length === 1);
  replies[0]!.respond(1n);
  replies[0]!.respond(2n);
  replies[0]!.refuse(new BusError(BusErrorCode.BUSY, "Cannot answer twice"));
  conn.feed(callFrame("echo", { n: 3n }));
  assertEquals(values(await frames(conn, 2)), [1n, 3n]);
});

for (const { name, bytes, code } of badInputs()) {
  pureTest(
    `${name} gets one error frame with code ${code}, then the connection closes`,
    async () => {
      await using harness = new Harness(tableWith());
      const other = await harness.connect();
      const conn = await harness.connect();
      conn.feed(bytes);
      await closed(conn);
      const all = conn.frames();
      assertEquals(all.map(({ headers }) => [...headers]), [[["error", code]]]);
      assertEquals(all[0]!.payload.length, 0);
      other.feed(callFrame("echo", { n: 1n }));
      assertEquals(values(await frames(other, 1)), [1n]);
      assertEquals(harness.server.counters().refused, 1);
    },
  );
}

pureTest(
  "an empty payload is an empty map, and headers that nobody knows are ignored",
  async () => {
    const replies: Reply[] = [];
    await using harness = new Harness(tableWith(replies));
    const conn = await harness.connect();
    const headers = new Map<string, string | number>([["trace", 1], ["type", 1], ["id", "x"]]);
    conn.feed(encodeFrame(headers.set("method", "later")));
    await waitFor("the request", () => replies.length === 1);
    replies[0]!.respond(1n);
    assertEquals(values(await frames(conn, 1)), [1n]);
  },
);

pureTest(
  "requests before a refused one are answered first, those behind it not at all",
  async () => {
    const replies: Reply[] = [];
    await using harness = new Harness(tableWith(replies));
    const conn = await harness.connect();
    conn.feed(concat([callFrame("later"), callFrame("nothing"), callFrame("echo", { n: 9n })]));
    await waitFor("the request", () => replies.length === 1);
    replies[0]!.respond(1n);
    await closed(conn);
    const all = conn.frames();
    assertEquals(decodeValue(all[0]!.payload), 1n);
    assertEquals(all.slice(1).map(({ headers }) => [...headers]), [[[
      "error",
      BusErrorCode.NOENTRY,
    ]]]);
  },
);

pureTest("what a broker said travels in the reason header", async () => {
  await using harness = new Harness(tableWith());
  const conn = await harness.connect();
  conn.feed(callFrame("busy"));
  await closed(conn);
  assertEquals(conn.frames().map(({ headers }) => [...headers]), [
    [["error", BusErrorCode.REMOTE], ["reason", "not authorized"]],
  ]);
});

for (const method of ["bug", "rejected"]) {
  pureTest(
    `a handler's bug (${method}) is FAILURE for its client, a line in the log, and nothing for the others`,
    async () => {
      await using harness = new Harness(tableWith());
      const conn = await harness.connect();
      const other = await harness.connect();
      conn.feed(callFrame(method));
      await closed(conn);
      assertEquals(conn.frames().map(({ headers }) => [...headers]), [[[
        "error",
        BusErrorCode.FAILURE,
      ]]]);
      const lines = harness.log.of("A request failed inside the daemon");
      assertEquals(lines.map(({ level, fields }) => [level, fields["client"], fields["method"]]), [
        ["error", 1, method],
      ]);
      other.feed(callFrame("echo", { n: 1n }));
      assertEquals(values(await frames(other, 1)), [1n]);
    },
  );
}

pureTest(
  "a notify is never answered: its refusals are logged and the connection goes on",
  async () => {
    const seen: string[] = [];
    await using harness = new Harness(tableWith([], seen));
    const conn = await harness.connect();
    conn.feed(concat([
      request(0, "publish", { topic: utf8("a") }),
      request(0, "publish"),
      request(0, "nothing"),
      request(0, "values"),
      request(0, "bug"),
      encodeFrame(
        new Map<string, string | number>([["method", "publish"], ["type", 0]]),
        utf8("?"),
      ),
      request(0, "publish", { topic: utf8("b") }),
      callFrame("echo", { n: 1n }),
    ]));
    assertEquals(values(await frames(conn, 1)), [1n]);
    assertEquals(conn.frames().length, 1);
    assertEquals(seen, ["a", "b"]);
    assertEquals(harness.log.of("Refused a notify").map(({ level }) => level), [
      "warn",
      "warn",
      "warn",
      "warn",
    ]);
    assertEquals(harness.log.of("A request failed inside the daemon").length, 1);
    assertEquals(harness.server.counters().refused, 5);
  },
);

pureTest("a client that notifies and closes at once has been heard", async () => {
  const seen: string[] = [];
  await using harness = new Harness(tableWith([], seen));
  const conn = await harness.connect();
  conn.feed(request(0, "publish", { topic: utf8("a") }));
  conn.end();
  await closed(conn);
  assertEquals(seen, ["a"]);
  assertEquals(conn.writes, []);
});

pureTest("a client that closes its writing side still gets the answers under way", async () => {
  const replies: Reply[] = [];
  await using harness = new Harness(tableWith(replies));
  const conn = await harness.connect();
  conn.feed(callFrame("later"));
  conn.end();
  await waitFor("the request", () => replies.length === 1);
  replies[0]!.respond(1n);
  await closed(conn);
  assertEquals(values(conn.frames()), [1n]);
});

pureTest("a connection closed in the middle of a frame is closed without a word", async () => {
  await using harness = new Harness(tableWith());
  const conn = await harness.connect();
  conn.feed(callFrame("echo", { n: 1n }).subarray(0, 20));
  conn.end();
  await closed(conn);
  assertEquals(conn.writes, []);
});

pureTest("too many requests under way pause the reading until answers go out", async () => {
  const replies: Reply[] = [];
  await using harness = new Harness(tableWith(replies));
  const conn = await harness.connect();
  const one = callFrame("later");
  const extra = 100;
  conn.feed(concat(new Array<Bytes>(MAX_PENDING_ANSWERS + extra).fill(one)));
  await waitFor("the bound", () => replies.length === MAX_PENDING_ANSWERS);
  // Other clients are served while this one waits, which also gives it the turns it must not use.
  const other = await harness.connect();
  other.feed(callFrame("echo", { n: 1n }));
  await frames(other, 1);
  assertEquals(replies.length, MAX_PENDING_ANSWERS);
  for (let at = 0; at < extra; at++) replies[at]!.respond(BigInt(at));
  await waitFor("the rest", () => replies.length === MAX_PENDING_ANSWERS + extra);
  for (let at = extra; at < replies.length; at++) replies[at]!.respond(BigInt(at));
  const all = await frames(conn, replies.length);
  assertEquals(values(all), replies.map((_, at) => BigInt(at)));
});

pureTest("a flood of requests leaves the others their turns", async () => {
  let handled = 0;
  const table = {
    ...tableWith(),
    count: call({}, (_, reply) => {
      handled++;
      reply.respond(null);
    }),
  } satisfies MethodTable;
  await using harness = new Harness(table);
  const flood = await harness.connect();
  const other = await harness.connect();
  const total = FRAMES_PER_TURN * 50;
  flood.feed(concat(new Array<Bytes>(total).fill(callFrame("count"))));
  await waitFor("the flood to begin", () => handled > 0);
  other.feed(callFrame("echo", { n: 1n }));
  let handledBefore = -1;
  const write = other.write.bind(other);
  other.write = (bytes) => {
    handledBefore = handled;
    return write(bytes);
  };
  await frames(other, 1);
  assertGreater(handledBefore, 0);
  assertLessOrEqual(handledBefore, total - FRAMES_PER_TURN);
  await frames(flood, total);
});

pureTest("answers go on when a write takes only a part", async () => {
  await using harness = new Harness(tableWith());
  const conn = await harness.connect();
  conn.most = 5;
  conn.feed(concat([callFrame("echo", { n: 1n }), callFrame("echo", { n: 2n })]));
  assertEquals(values(await frames(conn, 2)), [1n, 2n]);
  assertGreater(conn.writes.length, 8);
});

pureTest("answers that a client does not read are bounded: its further requests wait", async () => {
  let handled = 0;
  const big = new Uint8Array(40_000);
  await using harness = new Harness({
    big: call({}, () => {
      handled++;
      return big;
    }),
  });
  const conn = await harness.connect();
  conn.room = 0;
  conn.feed(concat(new Array<Bytes>(10).fill(callFrame("big"))));
  await waitFor("the bound", () => handled === 2);
  const other = await harness.connect();
  other.feed(callFrame("big"));
  await frames(other, 1);
  assertEquals(handled, 3);
  conn.drain();
  assertEquals((await frames(conn, 10)).length, 10);
});

pureTest("a client that breaks off while it is answered costs nothing but itself", async () => {
  const replies: Reply[] = [];
  await using harness = new Harness(tableWith(replies));
  const conn = await harness.connect();
  conn.feed(callFrame("later"));
  await waitFor("the request", () => replies.length === 1);
  conn.write = () => Promise.reject(new Error("Broken pipe (os error 32)"));
  replies[0]!.respond(1n);
  await closed(conn);
  await waitFor("the client to be gone", () => harness.server.counters().clients === 0);
});

pureTest("anything after a subscribe on its connection is INVALID", async () => {
  await using harness = new Harness(tableWith());
  const conn = await harness.connect();
  conn.feed(subscribeFrame("values"));
  await frames(conn, 1);
  conn.feed(callFrame("echo", { n: 1n }));
  await closed(conn);
  assertEquals(conn.frames().map(({ headers }) => [...headers]), [
    [["accepted", 1]],
    [["error", BusErrorCode.INVALID]],
  ]);
});
