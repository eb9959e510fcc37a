import { Signals, STOP_LIMIT_MS } from "../../src/process/signals.ts";
import { assertEquals, assertLess } from "../deps.ts";
import { FakeClock } from "../support/fake_clock.ts";
import { fakeLog } from "../support/fake_log.ts";
import { waitFor } from "../support/wait.ts";

Deno.test("a stop that takes too long ends the program before a supervisor kills it", async () => {
  assertLess(STOP_LIMIT_MS, 5_000);
  const clock = new FakeClock();
  const log = fakeLog();
  const exits: number[] = [];
  const signals = new Signals({ clock, log, exit: (code) => exits.push(code) });
  try {
    Deno.kill(Deno.pid, "SIGTERM");
    await waitFor("the signal", () => signals.stopped.aborted);
    clock.advance(STOP_LIMIT_MS - 1);
    assertEquals(exits, []);
    clock.advance(1);
    assertEquals(exits, [0]);
    assertEquals(log.lines.map(({ level }) => level), ["info", "error"]);
  } finally {
    signals.close();
  }
});

Deno.test("a stop that is done in time leaves no timer behind, and SIGHUP is no stop", async () => {
  const clock = new FakeClock();
  const signals = new Signals({ clock, log: fakeLog(), exit: () => {} });
  let reloads = 0;
  signals.onReload = () => reloads++;
  Deno.kill(Deno.pid, "SIGHUP");
  await waitFor("the reload", () => reloads === 1);
  assertEquals([signals.stopped.aborted, clock.timers], [false, 0]);
  // Not SIGINT, which deno test takes for itself.
  Deno.kill(Deno.pid, "SIGTERM");
  await waitFor("the stop", () => signals.stopped.aborted);
  signals.close();
  assertEquals(clock.timers, 0);
});
