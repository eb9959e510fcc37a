import { assertEquals } from "../../deps.ts";
import { QuietLog } from "../../../src/bus/quiet_log.ts";
import { FakeClock } from "../../support/fake_clock.ts";
import { MemoryLog } from "./harness.ts";

Deno.test({
  name: "a flood of one line is written a few times, then counted and summed up",
  permissions: "none",
  fn() {
    const clock = new FakeClock();
    const log = new MemoryLog();
    const quiet = new QuietLog(log, clock, 3, 10_000);
    for (let i = 0; i < 1000; i++) quiet.write("warn", "again", { i });
    quiet.write("debug", "once", {});
    assertEquals(log.of("again").map(({ fields }) => fields["i"]), [0, 1, 2]);

    clock.advance(9_999);
    quiet.sweep();
    assertEquals(log.of("again").length, 3);

    clock.advance(1);
    quiet.sweep();
    assertEquals(log.of("again").at(-1)?.fields, { more: 997, seconds: 10 });
    assertEquals(log.of("once").length, 1);
    assertEquals(quiet.pending, false);
  },
});

Deno.test({
  name: "a line after a quiet window is written again, behind the sum of the window before",
  permissions: "none",
  fn() {
    const clock = new FakeClock();
    const log = new MemoryLog();
    const quiet = new QuietLog(log, clock, 1, 10_000);
    quiet.write("warn", "again", { i: 0 });
    quiet.write("warn", "again", { i: 1 });
    clock.advance(20_000);
    quiet.write("warn", "again", { i: 2 });
    quiet.write("warn", "again", { i: 3 });
    quiet.flush();
    assertEquals(log.lines.map(({ fields }) => fields), [
      { i: 0 },
      { more: 1, seconds: 10 },
      { i: 2 },
      { more: 1, seconds: 10 },
    ]);
  },
});
