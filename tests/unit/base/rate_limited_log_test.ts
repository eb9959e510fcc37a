import { assert, assertEquals, pureTest } from "../../deps.ts";
import {
  LOG_BURST,
  LOG_WINDOW_MS,
  MAX_LOG_TEXTS,
  MAX_LOG_WINDOW_MS,
  OTHER_LINES,
  RateLimitedLog,
} from "../../../src/base/rate_limited_log.ts";
import { FakeClock } from "../../support/fake_clock.ts";
import { type FakeLog, fakeLog } from "../../support/fake_log.ts";

interface Scene {
  readonly clock: FakeClock;
  readonly written: FakeLog;
  readonly quiet: RateLimitedLog;
}

function test(name: string, fn: (scene: Scene) => void): void {
  pureTest(name, () => {
    const clock = new FakeClock();
    const written = fakeLog();
    fn({ clock, written, quiet: new RateLimitedLog(written, clock) });
  });
}

function flood({ quiet }: Scene, lines: number): void {
  for (let i = 0; i < lines; i++) quiet.warn("again", { i });
}

/** What was summed up, in order. */
function sums({ written }: Scene): unknown[] {
  return written.lines.flatMap(({ fields }) => fields["more"] ?? []);
}

test("a flood of one line is written a few times, then counted and summed up in one line", (scene) => {
  const { clock, written, quiet } = scene;
  flood(scene, 1_000);
  quiet.error("another", { code: 1 });
  assertEquals(
    written.lines.map(({ fields }) => fields["i"] ?? fields["code"]),
    [...Array(LOG_BURST).keys(), 1],
  );
  clock.advance(LOG_WINDOW_MS);
  assertEquals(written.lines.slice(LOG_BURST + 1), [
    { level: "warn", text: "again", fields: { more: 1_000 - LOG_BURST, seconds: 10 } },
  ]);
});

test("a flood that goes on gets a line and a sum in windows that grow to 10 min", (scene) => {
  const { clock, written } = scene;
  const day = 86_400_000;
  for (const end = day; clock.now() < end; clock.advance(1_000)) flood(scene, 10);
  assert(written.lines.length < 350, `${written.lines.length} lines in a day`);
  clock.advance(MAX_LOG_WINDOW_MS);
  const held = sums(scene).reduce((sum: number, more) => sum + Number(more), 0);
  const shown = written.lines.filter(({ fields }) => fields["i"] !== undefined).length;
  assertEquals(shown + held, day / 100);
});

test("after a window without a line too many, the next lines are written again", (scene) => {
  const { clock, written } = scene;
  flood(scene, LOG_BURST + 1);
  clock.advance(LOG_WINDOW_MS);
  flood(scene, 1);
  clock.advance(2 * LOG_WINDOW_MS);
  flood(scene, LOG_BURST);
  assertEquals(sums(scene), [1]);
  assertEquals(written.lines.length, LOG_BURST + 1 + 1 + LOG_BURST);
});

test("a timer runs only while something is held back", (scene) => {
  const { clock } = scene;
  flood(scene, LOG_BURST);
  assertEquals(clock.timers, 0);
  flood(scene, 1);
  scene.quiet.info("other");
  assertEquals(clock.timers, 1);
  clock.advance(LOG_WINDOW_MS);
  assertEquals(clock.timers, 0);
});

test("the end sums up what is held back, and lines after it are written", (scene) => {
  const { clock, quiet, written } = scene;
  flood(scene, LOG_BURST + 5);
  quiet.flush();
  assertEquals([sums(scene), clock.timers], [[5], 0]);
  quiet.info("stopped");
  assertEquals(written.lines.at(-1)?.text, "stopped");
});

test("debug lines all pass", ({ quiet, written }) => {
  for (let i = 0; i < 100; i++) quiet.debug("detail", { i });
  assertEquals(written.lines.length, 100);
});

test("texts that are not constant cannot fill the memory", (scene) => {
  const { clock, quiet, written } = scene;
  for (let i = 0; i < 10 * MAX_LOG_TEXTS; i++) quiet.info(`line ${i}`);
  assertEquals(written.lines.length, MAX_LOG_TEXTS + LOG_BURST);
  clock.advance(LOG_WINDOW_MS);
  assertEquals(written.lines.at(-1)?.text, OTHER_LINES);
  assertEquals(sums(scene), [9 * MAX_LOG_TEXTS - LOG_BURST]);
  // Their windows are over: there is room for others.
  quiet.info("new");
  assertEquals(written.lines.at(-1)?.text, "new");
});
