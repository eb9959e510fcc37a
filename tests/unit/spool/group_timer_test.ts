import { GroupTimer } from "../../../src/spool/group_timer.ts";
import { assertEquals } from "../../deps.ts";
import { FakeClock } from "../../support/fake_clock.ts";

function grouping(): {
  clock: FakeClock;
  turns: (() => void)[];
  timer: GroupTimer;
  commits: () => number;
} {
  const clock = new FakeClock();
  const turns: (() => void)[] = [];
  let commits = 0;
  const timer: GroupTimer = new GroupTimer(clock, (fn) => void turns.push(fn), () => {
    timer.cancel();
    commits++;
  });
  return { clock, turns, timer, commits: () => commits };
}

Deno.test("whatever is scheduled in one turn is committed once, at its end", () => {
  const { turns, timer, commits } = grouping();
  timer.schedule();
  timer.schedule();
  assertEquals([turns.length, commits()], [1, 0]);
  turns.pop()!();
  assertEquals(commits(), 1);
});

Deno.test("a slow disk gets a pause as long as its last sync, but 5 ms at most", () => {
  for (const [sync, pause] of [[3, 3], [20, 5]] as const) {
    const { clock, turns, timer, commits } = grouping();
    const started = clock.now();
    clock.advance(sync);
    timer.took(started);
    timer.schedule();
    assertEquals(turns.length, 0);
    clock.advance(pause - 0.5);
    assertEquals(commits(), 0);
    clock.advance(0.5);
    assertEquals(commits(), 1);
  }
});

Deno.test("a message alone does not wait once the pause is over", () => {
  const { clock, turns, timer } = grouping();
  timer.took(clock.now() - 20);
  clock.advance(5);
  timer.schedule();
  assertEquals(turns.length, 1);
});

Deno.test("what was cancelled does not come, not even late", () => {
  const { clock, turns, timer, commits } = grouping();
  timer.schedule();
  timer.cancel();
  turns.pop()!();
  timer.took(clock.now() - 4);
  timer.schedule();
  timer.cancel();
  clock.advance(10);
  assertEquals([commits(), clock.timers], [0, 0]);
});
