import { assertEquals } from "../../deps.ts";
import { BusErrorCode } from "../../../src/base/errors.ts";
import { BROKER_ACK_MS, PubackWaiters } from "../../../src/publish/puback.ts";
import { FakeClock } from "../../support/fake_clock.ts";

const pure = { permissions: "none" } as const;

function setUp() {
  const clock = new FakeClock();
  const acks = new PubackWaiters(clock);
  const answers: string[] = [];
  const wait = (seq: number, messageExpiry?: number): void =>
    acks.add(seq, {
      respond: () => answers.push(`${seq} ok`),
      refuse: ({ code, reason }) => answers.push(`${seq} ${code}${reason ? ` ${reason}` : ""}`),
    }, messageExpiry);
  return { clock, acks, answers, wait };
}

Deno.test(
  "each client is answered once, by the first thing that happens to its message",
  pure,
  () => {
    const { clock, acks, answers, wait } = setUp();
    for (const seq of [1, 2, 3, 4]) wait(seq);
    acks.acknowledged(2);
    acks.refused(1, "Not authorized");
    acks.acknowledged(1);
    acks.refused(2, "too late");
    clock.advance(BROKER_ACK_MS);
    acks.acknowledged(3);
    acks.stop();
    assertEquals(answers, [
      "2 ok",
      `1 ${BusErrorCode.REMOTE} Not authorized`,
      `3 ${BusErrorCode.TIMEOUT}`,
      `4 ${BusErrorCode.TIMEOUT}`,
    ]);
    assertEquals(clock.timers, 0);
  },
);

Deno.test("a message that nobody waits for is no concern", pure, () => {
  const { acks, answers } = setUp();
  acks.acknowledged(7);
  acks.refused(7, "why");
  assertEquals(answers, []);
});

Deno.test("a stop answers with NOCONN", pure, () => {
  const { clock, acks, answers, wait } = setUp();
  wait(1);
  acks.stop();
  assertEquals([answers, clock.timers], [[`1 ${BusErrorCode.NOCONN}`], 0]);
});

Deno.test("a message that expires before it is sent is answered at that moment", pure, () => {
  const { clock, acks, answers, wait } = setUp();
  wait(1, 5);
  wait(2, 60);
  clock.advance(4_999);
  assertEquals(answers, []);
  clock.advance(1);
  assertEquals(answers, [`1 ${BusErrorCode.REMOTE} expired`]);
  clock.advance(BROKER_ACK_MS);
  assertEquals(answers.slice(1), [`2 ${BusErrorCode.TIMEOUT}`]);
  acks.acknowledged(1);
  assertEquals([answers.length, clock.timers], [2, 0]);
});

Deno.test(
  "what is in flight when its time is over waits for its PUBACK, or for the end of the link",
  pure,
  () => {
    const { clock, acks, answers, wait } = setUp();
    const inFlight = new Set([1, 2, 3]);
    acks.isInFlight = (seq) => inFlight.has(seq);
    for (const seq of [1, 2, 3]) wait(seq, 5);
    clock.advance(6_000);
    acks.acknowledged(1);
    assertEquals(answers, ["1 ok"]);
    inFlight.delete(2);
    acks.linkLost();
    assertEquals(answers, ["1 ok", `2 ${BusErrorCode.REMOTE} expired`]);
    clock.advance(BROKER_ACK_MS);
    assertEquals(answers.slice(2), [`3 ${BusErrorCode.TIMEOUT}`]);
    assertEquals(clock.timers, 0);
  },
);
