import { ConnectError } from "../../../src/mqtt/connect_error.ts";
import {
  type Effect,
  type Event,
  type History,
  INITIAL,
  type State,
  step,
} from "../../../src/mqtt/connection_state.ts";
import type { LinkEnd } from "../../../src/mqtt/link.ts";
import { assert, assertEquals, assertGreaterOrEqual, assertLessOrEqual } from "../../deps.ts";

const NOW = 100_000;
const pure = { permissions: "none" } as const;
const history: History = {
  attempt: 3,
  busy: 0,
  connectAt: undefined,
  silent: 0,
  quick: 0,
  everUp: true,
};
const peerEnd: LinkEnd = { by: "peer", reason: "the broker closed the connection" };
const localEnd: LinkEnd = { by: "local", reason: "closed here" };
const refusedTcp = new ConnectError("tcp", "refused", "nobody listens");
const silentClose = new ConnectError("connack", "closed", "closed before CONNACK");
const alert = new ConnectError("tls", "alert", "alert", { alert: "CertificateUnknown" });
const badFile = new ConnectError("credentials", "config", "cannot be read");

const STATES = {
  idle: { type: "idle", history },
  waiting: { type: "waiting", until: NOW + 5_000, history },
  connecting: { type: "connecting", history },
  up: { type: "up", since: NOW - 10_000, history },
  replacing: { type: "replacing", history },
  stopping: { type: "stopping", history },
  stopped: { type: "stopped", history },
  failed: { type: "failed", history },
} satisfies Record<string, State>;

const at = { now: NOW, random: 0.5 };
const EVENTS = {
  start: { type: "start", ...at },
  timer: { type: "timer", ...at },
  due: { type: "timer", ...at, now: NOW + 5_000 },
  linked: { type: "linked", sessionPresent: false, address: "192.0.2.1:8883", ...at },
  refused: { type: "refused", failure: refusedTcp, ...at },
  alert: { type: "refused", failure: alert, ...at },
  ended: { type: "ended", end: peerEnd, ...at },
  reconnect: { type: "reconnect", reason: "SIGHUP", ...at },
  renew: { type: "renew", reason: "nothing is acknowledged", ...at },
  stop: { type: "stop", ...at },
} satisfies Record<string, Event>;

type StateName = keyof typeof STATES;
type EventName = keyof typeof EVENTS;

/** `next state: effects`; a cell that is missing means that nothing happens. */
const TABLE: Record<StateName, Partial<Record<EventName, string>>> = {
  idle: {
    start: "connecting: open",
    stop: "stopped: stopped",
  },
  waiting: {
    timer: "waiting: timer 5000",
    due: "connecting: open",
    reconnect: "connecting: cancel-timer, log info, open",
    stop: "stopped: cancel-timer, stopped",
  },
  connecting: {
    linked: "up: log info, up",
    refused: "waiting: log warn, timer 4000",
    alert: "failed: fail 77",
    reconnect: "waiting: abort, log info, timer 1000",
    stop: "stopped: abort, stopped",
  },
  up: {
    ended: "waiting: down, log warn, timer 4000",
    reconnect: "replacing: log info, close",
    renew: "replacing: log info, close",
    stop: "stopping: close",
  },
  replacing: {
    ended: "connecting: down, open",
    stop: "stopping: ",
  },
  stopping: {
    ended: "stopped: down, stopped",
    stop: "stopping: close force",
  },
  stopped: {
    start: "connecting: open",
    stop: "stopped: stopped",
  },
  failed: {
    start: "connecting: open",
    reconnect: "connecting: log info, open",
    stop: "stopped: stopped",
  },
};

function show(state: State, effects: readonly Effect[]): string {
  return `${state.type}: ${effects.map(showEffect).join(", ")}`;
}

function showEffect(effect: Effect): string {
  switch (effect.type) {
    case "timer":
      return `timer ${effect.ms}`;
    case "log":
      return `log ${effect.level}`;
    case "fail":
      return `fail ${effect.exit}`;
    case "close":
      return effect.force ? "close force" : "close";
    default:
      return effect.type;
  }
}

for (const [stateName, state] of Object.entries(STATES) as [StateName, State][]) {
  for (const [eventName, event] of Object.entries(EVENTS) as [EventName, Event][]) {
    Deno.test(`${stateName} x ${eventName}`, pure, () => {
      const next = step(state, event);
      const expected = TABLE[stateName][eventName];
      if (expected !== undefined) return assertEquals(show(next.state, next.effects), expected);
      assertEquals(next, { state, effects: [] });
    });
  }
}

/** Feeds events to a machine that connects whenever it may, at the times at which it may. */
class Machine {
  state: State = INITIAL;
  now = 0;
  readonly opened: number[] = [];
  readonly logged: string[] = [];
  readonly effects: Effect[] = [];

  send(event: Record<string, unknown>, random = 0.5): this {
    const next = step(this.state, { now: this.now, random, ...event } as unknown as Event);
    this.state = next.state;
    this.effects.length = 0;
    for (const effect of next.effects) {
      this.effects.push(effect);
      if (effect.type === "open") this.opened.push(this.now);
      if (effect.type === "log") this.logged.push(effect.text);
    }
    return this;
  }

  /** Waits until the next attempt begins, and gives how long that took. */
  wait(): number {
    assert(this.state.type === "waiting", this.state.type);
    const waited = this.state.until - this.now;
    this.now = this.state.until;
    this.send({ type: "timer" });
    assertEquals(this.state.type, "connecting");
    return waited;
  }
}

Deno.test("iotcored-3: refusals are retried for ever, from 1 s doubling to 128 s", pure, () => {
  const machine = new Machine().send({ type: "start" });
  const waits: number[] = [];
  for (let i = 0; i < 12; i++) {
    machine.send({ type: "refused", failure: refusedTcp }, 0.5);
    waits.push(machine.wait());
  }
  const seconds = [0.5, 1, 2, 4, 8, 16, 32, 64, 64, 64, 64, 64];
  assertEquals(waits, seconds.map((each) => each * 1_000));
});

Deno.test("the wait has full jitter", pure, () => {
  const waits = [0.01, 0.99].map((random) => {
    const machine = new Machine().send({ type: "start" });
    for (let i = 0; i < 4; i++) {
      machine.send({ type: "refused", failure: refusedTcp }, 0.5).wait();
    }
    return machine.send({ type: "refused", failure: refusedTcp }, random).wait();
  });
  assertEquals(waits, [160, 15_840]);
});

Deno.test("a broker that accepts and drops at once is met at growing intervals", pure, () => {
  const machine = new Machine().send({ type: "start" });
  for (let i = 0; i < 10; i++) {
    machine.send({ type: "linked", sessionPresent: false });
    machine.now += 10;
    machine.send({ type: "ended", end: peerEnd }, 0.999).wait();
  }
  const gaps = machine.opened.slice(1).map((time, index) => time - machine.opened[index]!);
  for (const [index, gap] of gaps.entries()) {
    assertGreaterOrEqual(gap, index === 0 ? 1_000 : gaps[index - 1]!);
  }
  assertGreaterOrEqual(gaps.at(-1)!, 100_000);
});

Deno.test("no two CONNECTs within a second, however lucky the jitter", pure, () => {
  const machine = new Machine().send({ type: "start" });
  const connects: number[] = [];
  for (let i = 0; i < 30; i++) {
    machine.now += 900;
    connects.push(machine.now);
    if (i % 3 === 0) machine.send({ type: "refused", failure: silentClose }, 0);
    else {
      machine.send({ type: "linked", sessionPresent: false });
      if (i % 3 === 1) machine.send({ type: "ended", end: peerEnd }, 0);
      else {machine.send({ type: "reconnect", reason: "test" }).send({
          type: "ended",
          end: localEnd,
        });}
    }
    machine.wait();
    assertGreaterOrEqual(machine.now - connects.at(-1)!, 1_000);
  }
});

Deno.test("an attempt that never reached CONNECT does not hold the next one up", pure, () => {
  const machine = new Machine().send({ type: "start" });
  machine.send({ type: "refused", failure: refusedTcp }, 0);
  assertEquals(machine.opened, [0, 0]);
});

Deno.test("only a link that stood for 30 s makes the wait short again", pure, () => {
  for (const [stood, longest] of [[29_999, 64_000], [30_000, 1_000]] as const) {
    const machine = new Machine().send({ type: "start" });
    for (let i = 0; i < 6; i++) {
      machine.send({ type: "refused", failure: refusedTcp }, 0.999).wait();
    }
    machine.send({ type: "linked", sessionPresent: false });
    machine.now += stood;
    const waited = machine.send({ type: "ended", end: peerEnd }, 0.999).wait();
    assertLessOrEqual(waited, longest);
    assertGreaterOrEqual(waited, longest * 0.9);
  }
});

Deno.test("the fifth close before CONNACK in a row names likely causes", pure, () => {
  const machine = new Machine().send({ type: "start" });
  const hints = (): number => machine.logged.filter((text) => /Likely causes/.test(text)).length;
  for (let i = 1; i <= 4; i++) machine.send({ type: "refused", failure: silentClose }).wait();
  assertEquals(hints(), 0);
  machine.send({ type: "refused", failure: refusedTcp }).wait();
  for (let i = 1; i <= 4; i++) machine.send({ type: "refused", failure: silentClose }).wait();
  assertEquals(hints(), 0);
  machine.send({ type: "refused", failure: silentClose }).wait();
  assertEquals(hints(), 1);
  for (let i = 6; i <= 20; i++) machine.send({ type: "refused", failure: silentClose }).wait();
  assertEquals(hints(), 2);
});

Deno.test("a take-over is said: by its code, or by the third quick close", pure, () => {
  const machine = new Machine().send({ type: "start" });
  machine.send({ type: "linked", sessionPresent: false });
  machine.send({ type: "ended", end: { ...peerEnd, code: 0x8e } });
  assert(machine.logged.some((text) => /same client id and took the session over/.test(text)));

  const quick = new Machine().send({ type: "start" });
  for (let i = 1; i <= 3; i++) {
    assert(!quick.logged.some((text) => /another device/.test(text)));
    quick.send({ type: "linked", sessionPresent: false });
    quick.now += 4_999;
    quick.send({ type: "ended", end: peerEnd }).wait();
  }
  assert(quick.logged.some((text) => /3 times in a row.*another device/.test(text)));

  const slow = new Machine().send({ type: "start" });
  for (let i = 1; i <= 5; i++) {
    slow.send({ type: "linked", sessionPresent: false });
    slow.now += 5_000;
    slow.send({ type: "ended", end: peerEnd }).wait();
  }
  assert(!slow.logged.some((text) => /another device/.test(text)));
});

Deno.test(
  "iotcored-4: refused credentials fail at any time, a bad file only before the first link",
  pure,
  () => {
    const first = new Machine().send({ type: "start" });
    first.send({ type: "refused", failure: badFile });
    assertEquals(first.effects, [{ type: "fail", exit: 78, failure: badFile }]);

    const later = new Machine().send({ type: "start" }).send({
      type: "linked",
      sessionPresent: false,
    });
    later.send({ type: "ended", end: peerEnd }).wait();
    later.send({ type: "refused", failure: badFile });
    assertEquals(later.state.type, "waiting");
    later.wait();
    later.send({ type: "refused", failure: alert });
    assertEquals(later.effects, [{ type: "fail", exit: 77, failure: alert }]);
  },
);

Deno.test("a wanted reconnect forgives what went wrong before", pure, () => {
  const machine = new Machine().send({ type: "start" });
  for (let i = 0; i < 9; i++) machine.send({ type: "refused", failure: refusedTcp }).wait();
  machine.send({ type: "refused", failure: refusedTcp }).send({
    type: "reconnect",
    reason: "SIGHUP",
  });
  assertEquals(machine.state.type, "connecting");
  assertEquals(machine.send({ type: "refused", failure: refusedTcp }).wait(), 500);
});

const busy = new ConnectError("connack", "connack", "refused with 0x97 (quota exceeded)", {
  code: 0x97,
});

Deno.test(
  "a busy account is asked again after a random part of 64 s, doubling to 600 s",
  pure,
  () => {
    const machine = new Machine().send({ type: "start" });
    const waits: number[] = [];
    for (const failure of [busy, silentClose, busy, silentClose, busy, busy]) {
      machine.send({ type: "refused", failure }, 0.5);
      waits.push(machine.wait());
    }
    // A second is kept to the last CONNECT.
    assertEquals(waits, [32, 64, 128, 256, 300, 300].map((seconds) => 1_000 + seconds * 1_000));
  },
);

Deno.test("refusals by a busy account and other failures are counted apart", pure, () => {
  const machine = new Machine().send({ type: "start" });
  const waits: number[] = [];
  for (const failure of [busy, refusedTcp, busy, refusedTcp]) {
    machine.now += 1_000;
    machine.send({ type: "refused", failure }, 0.5);
    waits.push(machine.wait());
  }
  assertEquals(waits, [33_000, 500, 65_000, 1_000]);
});

Deno.test("a link that stood for 30 s makes the wait of a busy account short again", pure, () => {
  for (const [stood, longest] of [[29_999, 600_000], [30_000, 64_000]] as const) {
    const machine = new Machine().send({ type: "start" });
    for (let i = 0; i < 6; i++) machine.send({ type: "refused", failure: busy }, 0).wait();
    machine.send({ type: "linked", sessionPresent: false, address: "[::1]:8883" });
    machine.now += stood;
    machine.send({ type: "ended", end: peerEnd }, 0.5).wait();
    const waited = machine.send({ type: "refused", failure: busy }, 0.999).wait();
    assertLessOrEqual(waited, longest + 1_000);
    assertGreaterOrEqual(waited, longest * 0.9);
  }
});

Deno.test("devices that fell together come back over a second, not after exactly one", pure, () => {
  const waits = [0, 0.25, 0.5].map((random) => {
    const machine = new Machine().send({ type: "start" });
    machine.send({ type: "linked", sessionPresent: false, address: "[::1]:8883" });
    return machine.send({ type: "ended", end: peerEnd }, random).wait();
  });
  assertEquals(waits, [1_000, 1_250, 1_500]);
});

Deno.test("a renewed link forgives nothing: the account may be as busy as before", pure, () => {
  const machine = new Machine().send({ type: "start" });
  for (let i = 0; i < 3; i++) machine.send({ type: "refused", failure: busy }, 0).wait();
  machine.send({ type: "linked", sessionPresent: false, address: "[::1]:8883" });
  machine.now += 2_000;
  machine.send({ type: "renew", reason: "no PUBACK" }).send({ type: "ended", end: localEnd });
  assertEquals(machine.state.type, "connecting");
  const waited = machine.send({ type: "refused", failure: busy }, 0.5).wait();
  assertEquals(waited, 257_000);
});

Deno.test(
  "a close with a code that names its cause is not blamed on policy or client id",
  pure,
  () => {
    for (const [code, hinted] of [[0x80, true], [0x83, true], [0x97, false], [0x8b, false]]) {
      const machine = new Machine().send({ type: "start" });
      for (let i = 0; i < 3; i++) {
        machine.send({ type: "linked", sessionPresent: false, address: "[::1]:8883" });
        machine.send({ type: "ended", end: { ...peerEnd, code } }).wait();
      }
      assertEquals(machine.logged.some((text) => /Likely causes/.test(text)), hinted, `${code}`);
    }
  },
);
