import { KeepAlive } from "../../../src/mqtt/keep_alive.ts";
import { assertEquals } from "../../deps.ts";
import { FakeClock } from "../../support/fake_clock.ts";
import { pureTest } from "../../support/pure_test.ts";

/** A link with a keep-alive of 60 s; `pings` and `dead` are times in seconds. */
function setUp() {
  const clock = new FakeClock();
  const link = { bytesRead: 0, answers: true, stuckSince: undefined as number | undefined };
  const inbound = { packets: 0, inPacket: false };
  const reading = { held: false };
  const reasons: string[] = [];
  const pings: number[] = [];
  const dead: number[] = [];
  const keepAlive: KeepAlive = new KeepAlive({
    clock,
    bytesRead: () => link.bytesRead,
    ping: () => {
      const sentAt = clock.now();
      pings.push(sentAt / 1_000);
      if (!link.answers) return;
      clock.after(100, () => {
        link.bytesRead += 2;
        keepAlive.answered(sentAt);
      });
    },
    stuckMs: () => link.stuckSince === undefined ? 0 : clock.now() - link.stuckSince,
    held: () => reading.held,
    inbound,
    onDead: (reason) => {
      reasons.push(reason);
      dead.push(clock.now() / 1_000);
    },
  });
  keepAlive.start(60_000);
  return { clock, link, inbound, reading, pings, dead, reasons, keepAlive };
}

pureTest("an idle link is pinged once in each keep-alive", () => {
  const { clock, pings, dead } = setUp();
  clock.advance(240_000);
  assertEquals([pings, dead], [[60, 120, 180, 240], []]);
});

pureTest("a ping is put off by what was sent and answered, from when that was sent", () => {
  const { clock, pings, keepAlive } = setUp();
  for (let second = 50; second <= 500; second += 50) {
    clock.advance(50_000);
    keepAlive.answered(clock.now());
  }
  assertEquals(pings, []);
  clock.advance(10_000);
  keepAlive.answered(clock.now() - 10_000);
  clock.advance(49_999);
  assertEquals(pings, []);
  clock.advance(1);
  assertEquals(pings, [560]);
});

pureTest("what was sent but has no answer puts no ping off", () => {
  const { clock, pings, keepAlive } = setUp();
  clock.advance(59_000);
  keepAlive.answered(1_000);
  clock.advance(2_000);
  assertEquals(pings, [61]);
});

pureTest("a link on which nothing comes is dead after 1.5 times the keep-alive", () => {
  const { clock, link, pings, dead } = setUp();
  link.answers = false;
  clock.advance(600_000);
  assertEquals([pings, dead], [[60], [90]]);
  assertEquals(clock.timers, 0);
});

pureTest("what arrives at all proves that the link lives, and it is asked again", () => {
  const { clock, link, pings, dead } = setUp();
  link.answers = false;
  for (let turn = 0; turn < 20; turn++) {
    clock.advance(10_000);
    link.bytesRead++;
  }
  assertEquals([pings, dead], [[60, 90, 120, 150, 180], []]);
  clock.advance(60_000);
  assertEquals(dead.length, 1);
});

pureTest("nothing is timed when the link is over", () => {
  const { clock, keepAlive } = setUp();
  keepAlive.stop();
  assertEquals(clock.timers, 0);
});

pureTest("a link that takes nothing for 1.5 times the keep-alive is dead, whatever arrives", () => {
  const { clock, link, dead, reasons } = setUp();
  link.answers = false;
  clock.advance(20_000);
  link.stuckSince = clock.now();
  for (let second = 0; second < 200; second++) {
    link.bytesRead++;
    if (dead.length === 0) clock.advance(1_000);
  }
  assertEquals(dead, [110]);
  assertEquals(reasons, ["nothing of what is to be sent was taken for 90 s"]);
});

pureTest(
  "a packet of which something comes now and then has six keep-alives to be complete",
  () => {
    const { clock, link, inbound, dead, reasons } = setUp();
    link.answers = false;
    inbound.inPacket = true;
    for (let second = 0; second < 1_000 && dead.length === 0; second++) {
      link.bytesRead++;
      clock.advance(1_000);
    }
    assertEquals(dead, [450]);
    assertEquals(reasons, ["a packet was not complete after 360 s"]);
  },
);

pureTest("a link of which nothing is read, because that is held back here, is not dead", () => {
  const { clock, link, reading, dead } = setUp();
  link.answers = false;
  reading.held = true;
  clock.advance(300_000);
  assertEquals(dead, []);
  reading.held = false;
  clock.advance(60_000);
  assertEquals(dead.length, 1);
});
