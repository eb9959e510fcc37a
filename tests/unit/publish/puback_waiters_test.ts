import { assertEquals } from "../../deps.ts";
import { Code } from "../../../src/base/errors.ts";
import { BROKER_ACK_MS, PubackWaiters } from "../../../src/publish/puback.ts";
import { FakeClock } from "../../support/fake_clock.ts";

const pure = { permissions: "none" } as const;

function setUp() {
  const clock = new FakeClock();
  const acks = new PubackWaiters(clock);
  const answers: string[] = [];
  const wait = (seq: number): void =>
    acks.add(seq, {
      respond: () => answers.push(`${seq} ok`),
      refuse: ({ code, reason }) => answers.push(`${seq} ${code}${reason ? ` ${reason}` : ""}`),
    });
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
      `1 ${Code.REMOTE} Not authorized`,
      `3 ${Code.TIMEOUT}`,
      `4 ${Code.TIMEOUT}`,
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
  assertEquals([answers, clock.timers], [[`1 ${Code.NOCONN}`], 0]);
});
