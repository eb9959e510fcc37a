import { AccountRate, SLOWEST } from "../../../src/publish/account_rate.ts";
import { assert, assertEquals, assertLess, assertLessOrEqual } from "../../deps.ts";

const pure = { permissions: "none" } as const;
const TOP = 91;

function assertNear(seen: number, wanted: number, within: number): void {
  assertLessOrEqual(Math.abs(seen - wanted), within, `${seen} instead of ${wanted}`);
}

/** Acknowledges `number` messages, `perSecond` a second, from `from` on; gives when the last one was. */
function acknowledge(rate: AccountRate, number: number, perSecond: number, from: number): number {
  for (let i = 1; i <= number; i++) rate.acknowledged(from + i * 1_000 / perSecond);
  return from + number * 1_000 / perSecond;
}

Deno.test("nothing is slowed down before a message is lost", pure, () => {
  const rate = new AccountRate(TOP);
  for (let i = 0; i < 1_000; i++) {
    assertEquals(rate.delay(i), 0);
    rate.sent(i);
  }
  assertEquals([rate.since, rate.perSecond], [undefined, undefined]);
});

Deno.test("a loss halves what was acknowledged lately, at any rate", pure, () => {
  for (const perSecond of [0.05, 0.2, 1, 20, 90]) {
    const rate = new AccountRate(TOP);
    const now = acknowledge(rate, 300, perSecond, 0);
    rate.lost(now);
    assertNear(rate.perSecond!, perSecond / 2, perSecond / 50);
    assertEquals(rate.since, now);
  }
});

Deno.test("a burst that was acknowledged is no rate: a broker counts by the second", pure, () => {
  const rate = new AccountRate(TOP);
  rate.lost(acknowledge(rate, 20, 1_000, 0) + 5_000);
  assertNear(rate.perSecond!, 19 / 2, 0.1);
});

Deno.test("losses in a row end at one message a minute", pure, () => {
  const rate = new AccountRate(TOP);
  const seen: number[] = [];
  for (let i = 0; i < 8; i++) {
    rate.lost(i * 5_000);
    seen.push(rate.perSecond!);
  }
  assertEquals(seen, [1 / 2, 1 / 4, 1 / 8, 1 / 16, 1 / 32, SLOWEST, SLOWEST, SLOWEST]);
  assertEquals(rate.since, 0);
});

Deno.test(
  "within half a minute of PUBACKs it is back at the last good rate, most of it at once",
  pure,
  () => {
    const rate = new AccountRate(TOP);
    let now = acknowledge(rate, 100, 20, 0);
    rate.lost(now);
    const seen: number[] = [];
    for (let i = 0; i < 3; i++) {
      now = acknowledge(rate, 100, 10, now);
      seen.push(Math.round(rate.perSecond! * 10) / 10);
    }
    assertEquals(seen, [17, 19.6, 20]);
  },
);

Deno.test(
  "beyond the last good rate it climbs slowly at first, and then to the limit",
  pure,
  () => {
    const rate = new AccountRate(TOP);
    let now = acknowledge(rate, 100, 20, 0);
    rate.lost(now);
    now = acknowledge(rate, 400, 10, now);
    assertLess(rate.perSecond!, 20.2);
    acknowledge(rate, 1_500, 10, now);
    assertEquals([rate.since, rate.perSecond, rate.delay(now)], [undefined, undefined, 0]);
  },
);

Deno.test("the floor is left again when PUBACKs come", pure, () => {
  const rate = new AccountRate(TOP);
  for (let i = 0; i < 10; i++) rate.lost(i * 5_000);
  acknowledge(rate, 60, SLOWEST, 60_000);
  assert(rate.perSecond! > 1, `${rate.perSecond}`);
});

Deno.test("time alone does not make it faster", pure, () => {
  const rate = new AccountRate(TOP);
  const now = acknowledge(rate, 100, 20, 0);
  rate.lost(now);
  rate.acknowledged(now + 86_400_000);
  assertLess(rate.perSecond!, 14);
});

Deno.test("messages are sent evenly, and a late timer costs nothing", pure, () => {
  const rate = new AccountRate(TOP);
  let now = acknowledge(rate, 100, 20, 0);
  rate.lost(now);
  const from = now;
  for (let i = 0; i < 100; i++) {
    assert(rate.delay(now) > 0);
    now += rate.delay(now) + i % 20;
    rate.sent(now);
  }
  assertNear((now - from) / 100, 1_000 / rate.perSecond!, 1);
  assert(rate.delay(now + 100_000) === 0);
  rate.sent(now + 100_000);
  rate.sent(now + 100_000);
  assert(rate.delay(now + 100_000) > 0);
});

Deno.test("a loss that was none is taken back", pure, () => {
  const rate = new AccountRate(TOP);
  const restore = rate.lost(0);
  rate.lost(5_000);
  restore();
  assertEquals(rate.perSecond, undefined);
});
