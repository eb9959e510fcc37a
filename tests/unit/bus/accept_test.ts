import { assert, assertEquals, assertLessOrEqual, pureTest } from "../../deps.ts";
import { LOG_BURST } from "../../../src/base/rate_limited_log.ts";
import { ACCEPT_PAUSE_MS, DESCRIPTOR_PAUSE_MS } from "../../../src/bus/limits.ts";
import { call, type Reply } from "../../../src/bus/methods.ts";
import { waitFor } from "../../support/wait.ts";
import { FakeConn } from "./fake_conn.ts";
import { callFrame, Harness } from "./harness.ts";

const table = { ping: call({}, () => null) };

function outOfDescriptors(): Error {
  return Object.assign(new Error("Too many open files (os error 24)"), { code: "EMFILE" });
}

pureTest("accepting survives any error, and pauses after it", async () => {
  await using harness = new Harness(table);
  harness.listener.put(new Error("Connection aborted (os error 103)"));
  await waitFor("the pause", () => harness.log.of("Cannot accept clients").length === 1);
  assertEquals(harness.listener.accepts, 1);
  harness.clock.advance(ACCEPT_PAUSE_MS);
  const conn = await harness.connect();
  conn.feed(callFrame("ping"));
  await waitFor("the answer", () => conn.writes.length === 1);
});

pureTest("out of descriptors, accepting waits until clients have left", async () => {
  await using harness = new Harness(table);
  const conns: FakeConn[] = [];
  for (let count = 0; count < 20; count++) conns.push(await harness.connect());
  const accepts = harness.listener.accepts;
  harness.listener.put(outOfDescriptors());
  await waitFor("the pause", () => harness.log.of("Cannot accept clients").length === 1);
  harness.clock.advance(ACCEPT_PAUSE_MS);
  conns[0]!.end();
  conns[1]!.end();
  await waitFor("two to leave", () => harness.server.counters().clients === 18);
  assertEquals(harness.listener.accepts, accepts);
  conns[2]!.end();
  await waitFor("accepting", () => harness.listener.accepts === accepts + 1);
});

pureTest("out of descriptors for long, it tries again now and then", async () => {
  await using harness = new Harness(table);
  const conn = await harness.connect();
  conn.feed(callFrame("ping"));
  await waitFor("the answer", () => conn.writes.length === 1);
  const rounds = 5;
  for (let round = 0; round < rounds; round++) {
    const accepts = harness.listener.accepts;
    harness.listener.put(outOfDescriptors());
    await waitFor("the try", () => {
      harness.clock.advance(ACCEPT_PAUSE_MS);
      return harness.listener.accepts > accepts;
    });
  }
  assertLessOrEqual(rounds * DESCRIPTOR_PAUSE_MS, harness.clock.now());
  conn.feed(callFrame("ping"));
  await waitFor("the answer", () => conn.writes.length === 2);
});

pureTest("a storm of accept errors is summed up in the log", async () => {
  await using harness = new Harness(table);
  const errors = 90;
  for (let count = 0; count < errors; count++) {
    const accepts = harness.listener.accepts;
    harness.listener.put(new Error("Connection aborted (os error 103)"));
    await waitFor("the try", () => {
      harness.clock.advance(ACCEPT_PAUSE_MS);
      return harness.listener.accepts > accepts;
    });
  }
  const lines = harness.log.of("Cannot accept clients").length;
  assert(lines >= LOG_BURST && lines <= LOG_BURST + 2, `${lines} lines`);
});

pureTest("at the most clients, the next waits until one leaves", async () => {
  await using harness = new Harness(table, 2);
  const first = await harness.connect();
  await harness.connect();
  const third = new FakeConn();
  harness.listener.put(third);
  await waitFor("the line", () => harness.log.of("Cannot take more clients").length === 1);
  assertEquals(harness.server.counters().total, 2);
  first.end();
  await waitFor("the third", () => harness.server.counters().total === 3);
});

pureTest("closing lets answers under way go out, and closes idle clients at once", async () => {
  const replies: Reply[] = [];
  const harness = new Harness({ later: call({}, (_, reply) => void replies.push(reply)) });
  const idle = await harness.connect();
  const busy = await harness.connect();
  busy.feed(callFrame("later"));
  await waitFor("the request", () => replies.length === 1);
  const closing = harness.server.close(1_000);
  await waitFor("the idle client", () => idle.closed);
  assertEquals(busy.closed, false);
  assertEquals(harness.listener.closed, true);
  replies[0]!.respond(1n);
  await closing;
  assertEquals([busy.closed, busy.frames().length], [true, 1]);
});

pureTest("closing does not wait longer than it was given", async () => {
  const replies: Reply[] = [];
  const harness = new Harness({ later: call({}, (_, reply) => void replies.push(reply)) });
  const busy = await harness.connect();
  busy.feed(callFrame("later"));
  await waitFor("the request", () => replies.length === 1);
  const closing = harness.server.close(1_000);
  await waitFor("the grace to begin", () => harness.clock.timers === 2);
  harness.clock.advance(999);
  assertEquals(busy.closed, false);
  harness.clock.advance(1);
  await closing;
  assertEquals(busy.closed, true);
  replies[0]!.respond(1n);
  assertEquals(busy.writes, []);
});
