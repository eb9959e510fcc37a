import { ReadGate } from "../../../src/mqtt/read_gate.ts";
import { assertEquals, pureTest } from "../../deps.ts";
import { FakeClock } from "../../support/fake_clock.ts";

pureTest("the time for which reading is held back counts for no deadline of the link", () => {
  const clock = new FakeClock();
  const gate = new ReadGate(clock);
  const begin = gate.clock.now();
  const fired: number[] = [];
  gate.clock.after(1_000, () => fired.push(clock.now()));
  const cancelled = gate.clock.after(1_000, () => fired.push(-1));
  clock.advance(400);
  gate.hold();
  gate.hold();
  clock.advance(500);
  assertEquals([gate.held, gate.heldMs, gate.clock.now() - begin], [true, 500, 400]);
  gate.release();
  clock.advance(599);
  gate.hold();
  clock.advance(2_000);
  cancelled.cancel();
  assertEquals(fired, []);
  gate.release();
  assertEquals([gate.held, gate.heldMs, gate.clock.now() - begin], [false, 2_500, 999]);
  clock.advance(5_000);
  assertEquals(fired.length, 1);
  assertEquals(gate.heldMs, 2_500);
});

pureTest("who waits for the release is called once, unless it was taken back", () => {
  const gate = new ReadGate(new FakeClock());
  const called: string[] = [];
  const back = (): void => void called.push("taken back");
  gate.hold();
  gate.onRelease(() => called.push("once"));
  gate.onRelease(back);
  gate.offRelease(back);
  gate.release();
  gate.release();
  gate.hold();
  gate.release();
  assertEquals(called, ["once"]);
});
