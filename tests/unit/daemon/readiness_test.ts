import { assertEquals, pureTest } from "../../deps.ts";
import type { Bytes } from "../../../src/base/bytes.ts";
import { ConnectionStatusFeed, Readiness } from "../../../src/daemon/readiness.ts";
import { decodeFrame } from "../../../src/wire/frame.ts";
import { FakeClock } from "../../support/fake_clock.ts";
import { decodeValue } from "../../../src/wire/object.ts";

function client() {
  const heard: unknown[] = [];
  let leave = (): void => {};
  return {
    heard,
    leave: () => leave(),
    accept: () => void heard.push("accepted"),
    send: (frame: Bytes) => void heard.push(decodeValue(decodeFrame(frame).payload)),
    onClose: (fn: () => void) => void (leave = fn),
  };
}

pureTest(
  "a client of connection_status hears at once how it is, then each change and nothing else",
  () => {
    const status = new ConnectionStatusFeed();
    const early = client();
    status.add(early);
    status.set(false);
    status.set(true);
    status.set(true);
    const late = client();
    status.add(late);
    status.set(false);
    assertEquals(early.heard, ["accepted", false, true, false]);
    assertEquals(late.heard, ["accepted", true, false]);
  },
);

pureTest("a client of connection_status that left hears nothing more", () => {
  const status = new ConnectionStatusFeed();
  const one = client();
  status.add(one);
  one.leave();
  status.set(true);
  assertEquals([one.heard, status.connected], [["accepted", false], true]);
});

/** Readiness with connections whose subscriptions the test makes. */
function readiness(connections: number) {
  const clock = new FakeClock();
  const heard: string[] = [];
  const synced = Array.from({ length: connections }, () => ({ sync: { synced: false } }));
  const assignments = new Map(synced.map((one, index) => [index, one]));
  const ready = new Readiness({
    clock,
    assignments: () => assignments,
    onChange: (connected) => heard.push(connected ? "connected" : "gone"),
    onSend: () => heard.push("send"),
  });
  const sync = (index: number): void => {
    synced[index]!.sync.synced = true;
    ready.synced();
  };
  return { clock, heard, ready, sync };
}

pureTest(
  "clients hear of the connection, and messages go, when every connection has subscribed",
  () => {
    const { clock, heard, ready, sync } = readiness(2);
    ready.up();
    sync(1);
    assertEquals(heard, []);
    sync(0);
    assertEquals([heard, clock.timers], [["connected", "send"], 0]);
    ready.down();
    assertEquals([heard.at(-1), clock.timers], ["gone", 0]);
  },
);

pureTest("subscriptions have a head start of 2 s before messages, however long they take", () => {
  const { clock, heard, ready, sync } = readiness(1);
  ready.up();
  clock.advance(1_999);
  assertEquals(heard, []);
  clock.advance(1);
  assertEquals(heard, ["send"]);
  sync(0);
  assertEquals([heard, clock.timers], [["send", "connected"], 0]);
});

pureTest("another connection is waited for 5 s, and none after the first is gone", () => {
  const { clock, heard, ready, sync } = readiness(2);
  ready.up();
  sync(0);
  clock.advance(5_000);
  assertEquals([heard, clock.timers], [["send", "connected"], 0]);
  ready.down();
  ready.up();
  ready.down();
  clock.advance(10_000);
  assertEquals([heard, clock.timers], [["send", "connected", "gone"], 0]);
});
