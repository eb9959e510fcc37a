import { assert, assertEquals } from "../../deps.ts";
import { FENCE_SPACING_MS, HEAD_START_MS } from "../../../src/publish/poison_detector.ts";
import { SendGate } from "../../../src/publish/send_gate.ts";
import { SendGates } from "../../../src/publish/send_gates.ts";
import { PROOF_MS } from "../../../src/publish/unproven.ts";
import { FakeClock } from "../../support/fake_clock.ts";
import { fakeLog } from "../../support/fake_log.ts";

const pure = { permissions: "none" } as const;

const CLOSED = { by: "peer", reason: "closed" } as const;

/** A link that keeps its PINGREQs. */
class Pings {
  readonly at: number[] = [];
  readonly done: (() => void)[] = [];

  constructor(readonly clock: FakeClock) {}

  ping(done: () => void): void {
    this.at.push(this.clock.now());
    this.done.push(done);
  }
}

function setUp() {
  const clock = new FakeClock();
  const log = fakeLog();
  const gate = new SendGate(clock, log);
  const link = new Pings(clock);
  return { clock, log, gate, link };
}

/** Closes until the topic or filter is condemned. */
function condemn(gate: SendGate, link: Pings, write: () => void): void {
  for (let close = 0; close < 3; close++) {
    gate.up(link);
    link.clock.advance(HEAD_START_MS);
    write();
    gate.down(CLOSED);
  }
}

Deno.test(
  "PINGREQs go out behind QoS 0 as long as some is sent, one per two seconds, and no more after",
  pure,
  () => {
    const { clock, gate, link } = setUp();
    gate.up(link);
    for (let sent = 0; sent < 50; sent++) {
      gate.wroteQos0("topic", 10);
      gate.flush();
      for (const done of link.done.splice(0)) done();
      clock.advance(100);
    }
    const last = clock.now();
    clock.advance(60_000);
    for (const done of link.done.splice(0)) done();
    assertEquals(link.at.slice(0, 3), [
      PROOF_MS,
      PROOF_MS + FENCE_SPACING_MS,
      PROOF_MS + 2 * FENCE_SPACING_MS,
    ]);
    assert(link.at.every((at) => at < last + 2 * FENCE_SPACING_MS), link.at.join());
    clock.advance(60_000);
    assertEquals(clock.timers, 0);
  },
);

Deno.test("QoS 1 alone needs no PINGREQ and no timer", pure, () => {
  const { clock, gate, link } = setUp();
  gate.up(link);
  const order = gate.wroteQos1("topic", 1, 10);
  gate.flush();
  assertEquals([link.at, clock.timers], [[], 0]);
  gate.answered(order);
  assertEquals(clock.timers, 0);
});

Deno.test("who waits is told when a trial is over", pure, () => {
  const { clock, gate, link } = setUp();
  gate.up(link);
  gate.wroteQos1("topic", 1, 10);
  gate.down(CLOSED);
  gate.up(link);
  clock.advance(HEAD_START_MS);
  let told = 0;
  gate.onChange = () => told++;
  assertEquals(gate.ask({ kind: "topic", name: "topic" }, 1), "alone");
  const order = gate.wroteQos1("topic", 1, 10);
  assertEquals(gate.ask({ kind: "topic", name: "other" }, 2), "wait");
  gate.answered(order);
  assertEquals([told, gate.ask({ kind: "topic", name: "other" }, 2)], [1, "send"]);
});

Deno.test("the log names no topic above debug", pure, () => {
  const { gate, link, log } = setUp();
  condemn(gate, link, () => {
    gate.ask({ kind: "topic", name: "secret" }, 1);
    gate.wroteQos1("secret", 1, 10);
  });
  const said = log.lines.filter(({ level }) => level !== "debug");
  assertEquals(said.map(({ level }) => level), ["warn", "error"]);
  assert(!JSON.stringify(said).includes("secret"));
  assert(JSON.stringify(log.lines).includes("secret"));
});

Deno.test("what one connection found counts for all, until it may have changed", pure, () => {
  const clock = new FakeClock();
  const gates = new SendGates(clock, fakeLog());
  const filter = { kind: "filter", name: "bad/#" } as const;
  condemn(gates.of(1), new Pings(clock), () => {
    gates.of(1).ask(filter);
    gates.of(1).wroteFilters([filter.name]);
  });
  assertEquals(gates.of(1), gates.of(1));
  assert(gates.refusal(filter)?.reason.startsWith("the broker closed the connection for it"));
  assertEquals([gates.of(0).refusal(filter), gates.counters.condemned], [undefined, 1]);
  gates.retryRefused();
  assertEquals(gates.refusal(filter), undefined);
  assertEquals(gates.standings().map(({ standing }) => standing.type), ["suspect"]);
});
