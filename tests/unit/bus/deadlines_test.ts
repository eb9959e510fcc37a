import { assertEquals, pureTest } from "../../deps.ts";
import { BusErrorCode } from "../../../src/base/errors.ts";
import {
  FRAME_DEADLINE_MS,
  IDLE_AFTER_REQUEST_MS,
  IDLE_BEFORE_REQUEST_MS,
  SWEEP_MS,
} from "../../../src/bus/limits.ts";
import { call, type Reply } from "../../../src/bus/methods.ts";
import { waitFor } from "../../support/wait.ts";
import { callFrame, Harness } from "./harness.ts";

const table = { ping: call({}, () => null) };

pureTest(
  "a frame that is not whole after 5 s gets TIMEOUT, however its bytes trickle in",
  async () => {
    await using harness = new Harness(table);
    const conn = await harness.connect();
    const frame = callFrame("ping");
    let at = 0;
    for (let time = 0; time <= FRAME_DEADLINE_MS; time += SWEEP_MS) {
      assertEquals(conn.closed, false, `closed at ${time} ms`);
      conn.feed(frame.subarray(at, ++at));
      // Another client's answer shows that the byte has been read.
      const other = await harness.connect();
      other.feed(frame);
      await waitFor("an answer", () => other.writes.length === 1);
      other.end();
      harness.clock.advance(SWEEP_MS);
    }
    await waitFor("the close", () => conn.closed);
    assertEquals(conn.frames().map(({ headers }) => [...headers]), [[[
      "error",
      BusErrorCode.TIMEOUT,
    ]]]);
  },
);

pureTest("a client that always sends the rest in time is never late", async () => {
  await using harness = new Harness(table);
  const conn = await harness.connect();
  const frame = callFrame("ping");
  conn.feed(frame.subarray(0, 10));
  for (let count = 1; count <= 5; count++) {
    harness.clock.advance(FRAME_DEADLINE_MS - 2 * SWEEP_MS);
    conn.feed(frame.subarray(10));
    conn.feed(frame.subarray(0, 10));
    await waitFor("an answer", () => conn.frames().length === count);
  }
  assertEquals(conn.closed, false);
});

pureTest(
  "a client without a request is closed after a minute, one with a request after ten",
  async () => {
    await using harness = new Harness(table);
    const silent = await harness.connect();
    const kept = await harness.connect();
    kept.feed(callFrame("ping"));
    await waitFor("the answer", () => kept.writes.length === 1);
    harness.clock.advance(IDLE_BEFORE_REQUEST_MS);
    assertEquals([silent.closed, kept.closed], [false, false]);
    harness.clock.advance(SWEEP_MS);
    assertEquals([silent.closed, kept.closed], [true, false]);
    assertEquals(silent.writes, []);
    harness.clock.advance(IDLE_AFTER_REQUEST_MS - IDLE_BEFORE_REQUEST_MS);
    assertEquals(kept.closed, true);
  },
);

pureTest("a client that waits for its answer is not idle", async () => {
  const replies: Reply[] = [];
  await using harness = new Harness({ later: call({}, (_, reply) => void replies.push(reply)) });
  const conn = await harness.connect();
  conn.feed(callFrame("later"));
  await waitFor("the request", () => replies.length === 1);
  harness.clock.advance(2 * IDLE_AFTER_REQUEST_MS);
  assertEquals(conn.closed, false);
});

pureTest("no timer runs while there is nobody to look after", async () => {
  await using harness = new Harness(table);
  assertEquals(harness.clock.timers, 0);
  const conn = await harness.connect();
  assertEquals(harness.clock.timers, 1);
  conn.end();
  await waitFor("the end", () => harness.server.counters().clients === 0);
  harness.clock.advance(SWEEP_MS);
  assertEquals(harness.clock.timers, 0);
});
