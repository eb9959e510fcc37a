import {
  assertEquals,
  assertGreater,
  assertLess,
  assertLessOrEqual,
  assertThrows,
  pureTest,
} from "../../deps.ts";
import { BYTES_PER_SECOND, PUBLISHES_PER_SECOND } from "../../../src/aws/limits.ts";
import {
  AWS_RATE_LIMITS,
  AWS_WINDOW_MS,
  type RateLimits,
  RateWindow,
} from "../../../src/aws/rate_window.ts";
import { Random } from "../../support/random.ts";

interface Sent {
  readonly at: number;
  readonly bytes: number;
}

/** Sends messages one after another as a publisher with one timer does; `pause` is the time between two that may go. */
function send(
  window: RateWindow,
  sizes: readonly number[],
  pause: () => number = () => 0,
  start = 0,
): Sent[] {
  let now = start;
  return sizes.map((bytes) => {
    now += pause();
    const delay = window.delay(now, bytes);
    now += delay;
    assertEquals(window.delay(now, bytes), 0, "one timer is enough");
    window.take(now, bytes);
    return { at: now, bytes };
  });
}

/** The most messages and bytes that lie in any stretch of `windowMs`, both ends included. */
function fullest(sent: readonly Sent[], windowMs: number): { count: number; bytes: number } {
  let [count, bytes, sum, from] = [0, 0, 0, 0];
  for (const [to, last] of sent.entries()) {
    sum += last.bytes;
    for (; sent[from]!.at < last.at - windowMs; from++) sum -= sent[from]!.bytes;
    count = Math.max(count, to - from + 1);
    bytes = Math.max(bytes, sum);
  }
  return { count, bytes };
}

pureTest("a burst is let through up to the count, then waits a whole window", () => {
  const window = new RateWindow({ count: 3, bytes: 1_000, windowMs: 100 });
  for (const now of [10, 20, 30]) {
    assertEquals(window.delay(now, 1), 0);
    window.take(now, 1);
  }
  assertEquals(window.delay(30, 1), 80);
  assertEquals(window.delay(109, 1), 1);
  assertEquals(window.delay(110, 1), 0);
  window.take(110, 1);
  assertEquals(window.delay(110, 1), 10);
});

pureTest("bytes wait until enough of them are out of the window", () => {
  const window = new RateWindow({ count: 100, bytes: 1_000, windowMs: 100 });
  window.take(0, 400);
  window.take(10, 400);
  window.take(20, 200);
  assertEquals(window.delay(20, 0), 0);
  assertEquals(window.delay(20, 1), 80);
  assertEquals(window.delay(20, 400), 80);
  assertEquals(window.delay(20, 401), 90);
  assertEquals(window.delay(20, 801), 100);
  assertEquals(window.delay(100, 400), 0);
});

pureTest("a message beyond the byte limit waits until it is alone, not for ever", () => {
  const window = new RateWindow({ count: 100, bytes: 1_000, windowMs: 100 });
  assertEquals(window.delay(0, 5_000), 0);
  window.take(0, 10);
  window.take(50, 10);
  assertEquals(window.delay(60, 5_000), 90);
  assertEquals(window.delay(150, 5_000), 0);
  window.take(150, 5_000);
  assertEquals(window.delay(150, 0), 100);
});

pureTest("asking changes nothing", () => {
  const window = new RateWindow({ count: 1, bytes: 10, windowMs: 100 });
  for (let i = 0; i < 10; i++) assertEquals(window.delay(i, 10), 0);
  window.take(10, 10);
  for (let i = 10; i < 110; i++) assertEquals(window.delay(i, 10), 110 - i);
});

pureTest(
  "what came unasked counts, and pushes back what is asked for",
  () => {
    const window = new RateWindow({ count: 3, bytes: 1_000, windowMs: 100 });
    for (const now of [0, 10, 20, 30, 40]) window.take(now, 300);
    assertEquals(window.delay(40, 1), 80);
    assertEquals(window.delay(40, 900), 100);
    assertEquals(window.delay(120, 1), 0);
  },
);

pureTest("the ring agrees with a list of all that ever went", () => {
  const random = new Random(9);
  const limits: RateLimits = { count: 5, bytes: 1_000, windowMs: 100 };
  const window = new RateWindow(limits);
  const all: Sent[] = [];
  for (let now = 0; now < 20_000; now += random.int(30)) {
    const bytes = random.int(500);
    assertEquals(window.delay(now, bytes), naiveDelay(all, limits, now, bytes), `at ${now}`);
    window.take(now, bytes);
    all.push({ at: now, bytes });
  }
});

/** The first whole millisecond at which the window before it has room. */
function naiveDelay(all: readonly Sent[], limits: RateLimits, now: number, bytes: number): number {
  for (let delay = 0;; delay++) {
    const live = all.filter(({ at }) => at > now + delay - limits.windowMs);
    const sum = live.reduce((total, sent) => total + sent.bytes, bytes);
    if (live.length < limits.count && sum <= limits.bytes) return delay;
  }
}

pureTest("a wait is in whole milliseconds, never too short", () => {
  const window = new RateWindow({ count: 1, bytes: 10, windowMs: 100 });
  window.take(0.3, 1);
  assertEquals(window.delay(50.9, 1), 50);
  assertEquals(window.delay(100.2, 1), 1);
  assertEquals(window.delay(100.3, 1), 0);
});

pureTest("1,000 publishes at once go 100 a window, and no later than they must", () => {
  const sent = send(new RateWindow(AWS_RATE_LIMITS), new Array(1_000).fill(200));
  assertEquals(fullest(sent, 1_000).count, PUBLISHES_PER_SECOND);
  assertEquals(sent.at(-1)!.at, 9 * AWS_WINDOW_MS);
});

pureTest("a burst after idle time is no larger than the limit", () => {
  const window = new RateWindow(AWS_RATE_LIMITS);
  const early = send(window, new Array(10).fill(1), () => 10);
  const late = send(window, new Array(300).fill(1), undefined, 3_600_000);
  assertEquals(late.filter(({ at }) => at === 3_600_000).length, PUBLISHES_PER_SECOND);
  assertEquals(fullest([...early, ...late], 1_000).count, PUBLISHES_PER_SECOND);
});

pureTest(
  "generated traffic keeps the limits in any window, also when the network squeezes it",
  () => {
    const random = new Random(8);
    for (let round = 0; round < 16; round++) {
      const most = random.pick([10, 2_000, 20_000, 131_072]);
      const rest = random.pick([0, 5, 15, 200]);
      const sizes = Array.from({ length: 1_000 }, () => random.int(most + 1));
      const sent = send(
        new RateWindow(AWS_RATE_LIMITS),
        sizes,
        () => random.int(10) === 0 ? random.float() * rest * 10 : 0,
      );
      const exact = fullest(sent, 1_000);
      assertLessOrEqual(exact.count, PUBLISHES_PER_SECOND);
      assertLessOrEqual(exact.bytes, BYTES_PER_SECOND);
      const seen = fullest(delayedInOrder(sent, () => random.float() * 99), 1_000);
      assertLessOrEqual(seen.count, PUBLISHES_PER_SECOND);
      assertLessOrEqual(seen.bytes, BYTES_PER_SECOND);
    }
  },
);

/** The same messages as a broker sees them, each late by something, none before the one sent before it. */
function delayedInOrder(sent: readonly Sent[], lateness: () => number): Sent[] {
  let last = 0;
  return sent.map(({ at, bytes }) => {
    last = Math.max(last, at + lateness());
    return { at: last, bytes };
  });
}

pureTest("the limits are used, not only kept", () => {
  const bound = (limits: RateLimits, bytes: number) =>
    send(new RateWindow(limits), new Array(500).fill(bytes)).at(-1)!.at;
  assertLess(bound(AWS_RATE_LIMITS, 100), 5 * AWS_WINDOW_MS);
  const perWindow = Math.floor(BYTES_PER_SECOND / 131_072);
  assertEquals(bound(AWS_RATE_LIMITS, 131_072), (500 / perWindow - 1) * AWS_WINDOW_MS);
  assertGreater(AWS_WINDOW_MS, 1_000);
});

pureTest("a window that nothing may pass is refused", () => {
  for (const count of [0, -1, 1.5, NaN]) {
    assertThrows(() => new RateWindow({ count, bytes: 1, windowMs: 1 }), RangeError, "count must");
  }
});

pureTest("what was seen late counts from then, with all that came after it", () => {
  const window = new RateWindow({ count: 3, bytes: 1_000, windowMs: 100 });
  for (const now of [0, 10, 20]) window.take(now, 1);
  window.defer(10, 50);
  assertEquals([window.delay(60, 1), window.held(60)], [40, 3]);
  window.take(100, 1);
  assertEquals(window.delay(100, 1), 50);
  window.defer(100, 90);
  window.defer(0, 40);
  assertEquals([window.delay(100, 1), window.held(149), window.held(150)], [50, 3, 1]);
});

pureTest("deferring reaches around the ring, and does nothing to an empty window", () => {
  const window = new RateWindow({ count: 3, bytes: 1_000, windowMs: 100 });
  window.defer(0, 50);
  for (const now of [0, 10, 20, 30, 40]) window.take(now, 1);
  window.defer(0, 60);
  assertEquals([window.delay(60, 1), window.held(159), window.held(160)], [100, 3, 0]);
});
