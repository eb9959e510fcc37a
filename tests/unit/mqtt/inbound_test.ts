import { PassThrough } from "node:stream";
import { Inbound, TURN_MS } from "../../../src/mqtt/inbound.ts";
import { ReadGate } from "../../../src/mqtt/read_gate.ts";
import { assertEquals, assertGreater, assertLess } from "../../deps.ts";
import { FakeClock } from "../../support/fake_clock.ts";
import { waitFor } from "../../support/wait.ts";

/** An inbound stream on which each packet takes 0.1 ms of the clock. */
function scene() {
  const clock = new FakeClock();
  const gate = new ReadGate(clock);
  const stream = new PassThrough();
  const turns: number[] = [];
  let now = 0;
  const state = { packets: 0, onPacket: (): void => {} };
  const inbound = new Inbound({
    ...{ stream, gate },
    clock: { now: () => now },
    guarded: (_, fn) => () => {
      turns.push(0);
      fn();
    },
    onPacket: () => {
      now += 0.1;
      state.packets++;
      turns[turns.length - 1]!++;
      state.onPacket();
    },
  });
  return { inbound, gate, stream, turns, state };
}

const PINGRESPS = new Uint8Array(2_000).fill(0).map((_, n) => n % 2 === 0 ? 0xd0 : 0);

Deno.test("a burst is handled in turns of a bounded time, in which others have theirs", async () => {
  const { inbound, stream, turns, state } = scene();
  let others = 0;
  const beat = setInterval(() => others++, 0);
  stream.write(PINGRESPS);
  await waitFor("every packet", () => state.packets === 1_000);
  clearInterval(beat);
  assertEquals(inbound.packets, 1_000);
  assertLess(Math.max(...turns), 10 * TURN_MS + 16);
  assertGreater(others, 0);
});

Deno.test("nothing is handled while the gate is held, from the packet on in which it was", async () => {
  const { gate, stream, state } = scene();
  state.onPacket = () => void (state.packets === 500 && gate.hold());
  stream.write(PINGRESPS);
  await waitFor("the half", () => state.packets === 500);
  stream.write(PINGRESPS);
  await new Promise((resolve) => setTimeout(resolve, 0));
  assertEquals(state.packets, 500);
  gate.release();
  await waitFor("the rest", () => state.packets === 2_000);
});

Deno.test("what is discarded is read and not handled, and the end is seen", async () => {
  const { inbound, gate, stream, state } = scene();
  gate.hold();
  stream.write(PINGRESPS);
  const ended = new Promise((resolve) => stream.once("end", resolve));
  inbound.discard();
  stream.end(PINGRESPS);
  await ended;
  gate.release();
  await new Promise((resolve) => setTimeout(resolve, 0));
  assertEquals(state.packets, 0);
});
