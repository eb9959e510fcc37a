import { assertEquals, pureTest } from "../../deps.ts";
import { FakeClock } from "../../support/fake_clock.ts";
import { waitFor } from "../../support/wait.ts";
import {
  type FilterLink,
  FilterSync,
  SUBSCRIBE_PACKETS_PER_SECOND,
} from "../../../src/subscribe/filter_sync.ts";
import { openGate } from "./fakes.ts";
import type { Qos } from "../../../src/aws/limits.ts";
import type { SubscribeOptions, SubscribeResult } from "../../../src/mqtt/link.ts";

/** A broker that answers each packet when told to, or at once. */
class FakeBroker implements FilterLink {
  readonly packets: string[] = [];
  readonly refused = new Set<string>();
  codeOf = (filter: string): number | undefined => this.refused.has(filter) ? 0x87 : undefined;
  leaveCode = (_filter: string): number => 0;
  hold = false;
  /** Not even pings are answered. */
  frozen = false;
  readonly #held: (() => void)[] = [];

  subscribe(
    filters: readonly string[],
    qos: Qos,
    { identifier, onlyNew }: SubscribeOptions = {},
  ): Promise<readonly SubscribeResult[] | undefined> {
    const number = identifier === undefined ? "" : ` as ${identifier}`;
    const flag = onlyNew === true ? ", only new" : "";
    this.packets.push(`subscribe ${filters.join(" ")} qos ${qos}${number}${flag}`);
    return this.#answer(
      filters.map((filter) => ({ code: this.codeOf(filter) ?? qos, reason: "" })),
    );
  }

  unsubscribe(filters: readonly string[]): Promise<readonly SubscribeResult[] | undefined> {
    this.packets.push(`unsubscribe ${filters.join(" ")}`);
    return this.#answer(filters.map((filter) => ({ code: this.leaveCode(filter), reason: "" })));
  }

  ping(done: () => void): void {
    if (!this.frozen) done();
  }

  reconnect(reason: string): void {
    this.packets.push(`reconnect: ${reason}`);
  }

  /** Answers what was held back. */
  release(): void {
    for (const answer of this.#held.splice(0)) answer();
  }

  #answer<T>(value: T): Promise<T | undefined> {
    if (!this.hold) return Promise.resolve(value);
    return new Promise((resolve) => this.#held.push(() => resolve(value)));
  }
}

function setUp(gate = openGate()) {
  const clock = new FakeClock();
  const broker = new FakeBroker();
  const answers: string[] = [];
  let synced = 0;
  const sync = new FilterSync(clock, gate, {
    onAnswer: (filter, { code }) => answers.push(`${filter} ${code}`),
    onSynced: () => synced++,
    onDelayed: (filter, { code }, ms) => answers.push(`${filter} ${code} again in ${ms}`),
    onStays: (filter, { code }) => answers.push(`${filter} ${code} stays`),
  }, () => 0.5);
  const settle = async (): Promise<void> => {
    for (let i = 0; i < 50; i++) await Promise.resolve();
  };
  return { clock, broker, answers, sync, settle, synced: () => synced };
}

pureTest("filters wanted in one turn share packets of at most 8", async () => {
  const { broker, sync, settle, answers } = setUp();
  sync.up(broker, false);
  for (let i = 0; i < 10; i++) sync.want(`f${i}`, 1);
  await settle();
  assertEquals(broker.packets, [
    "subscribe f0 f1 f2 f3 f4 f5 f6 f7 qos 1",
    "subscribe f8 f9 qos 1",
  ]);
  assertEquals(answers.length, 10);
});

pureTest(
  "a filter that is wanted twice is subscribed once, and again only for a higher QoS",
  async () => {
    const { broker, sync, settle } = setUp();
    sync.up(broker, false);
    sync.want("a", 0);
    sync.want("a", 0);
    await settle();
    sync.want("a", 1);
    sync.want("a", 0);
    await settle();
    assertEquals(broker.packets, ["subscribe a qos 0", "subscribe a qos 1"]);
  },
);

pureTest("what is wanted while offline is made when the connection is up", async () => {
  const { broker, sync, settle, synced } = setUp();
  sync.want("a", 1);
  await settle();
  assertEquals([broker.packets.length, synced()], [0, 0]);
  sync.up(broker, false);
  await settle();
  assertEquals([broker.packets, synced()], [["subscribe a qos 1"], 1]);
});

pureTest(
  "a resumed session is not subscribed again, and leaves what was dropped meanwhile; a new one is",
  async () => {
    const { broker, sync, settle } = setUp();
    sync.want("a", 1);
    sync.want("b", 1);
    sync.up(broker, false);
    await settle();
    sync.down();
    sync.drop("b");
    broker.packets.length = 0;
    sync.up(broker, true);
    await settle();
    assertEquals([broker.packets, sync.synced], [["unsubscribe b"], true]);
    sync.down();
    broker.packets.length = 0;
    sync.up(broker, false);
    await settle();
    assertEquals(broker.packets, ["subscribe a qos 1, only new"]);
  },
);

pureTest(
  "a filter that is dropped while its SUBSCRIBE is under way is left afterwards, without an answer",
  async () => {
    const { broker, sync, settle, answers } = setUp();
    broker.hold = true;
    sync.up(broker, false);
    sync.want("a", 1);
    await settle();
    sync.drop("a");
    broker.hold = false;
    broker.release();
    await settle();
    assertEquals([broker.packets, answers], [["subscribe a qos 1", "unsubscribe a"], []]);
  },
);

pureTest("a filter that is wanted again while it is being left is made again", async () => {
  const { broker, sync, settle } = setUp();
  sync.up(broker, false);
  sync.want("a", 1);
  await settle();
  broker.hold = true;
  sync.drop("a");
  await settle();
  sync.want("a", 1);
  assertEquals(sync.has("a", 1), false);
  broker.hold = false;
  broker.release();
  await settle();
  assertEquals(broker.packets, ["subscribe a qos 1", "unsubscribe a", "subscribe a qos 1"]);
  assertEquals(sync.has("a", 1), true);
});

pureTest("a refused filter is no longer wanted", async () => {
  const { broker, sync, settle, answers } = setUp();
  broker.refused.add("no");
  sync.up(broker, false);
  sync.want("no", 1);
  await settle();
  assertEquals([answers, sync.size, sync.synced], [["no 135"], 0, true]);
});

pureTest("a link that breaks during a packet leaves nothing stuck", async () => {
  const { broker, sync, settle } = setUp();
  broker.hold = true;
  sync.up(broker, false);
  sync.want("a", 1);
  await settle();
  sync.down();
  const next = new FakeBroker();
  sync.up(next, false);
  broker.release();
  await settle();
  assertEquals([next.packets, sync.synced], [["subscribe a qos 1"], true]);
});

pureTest("packets are paced, and the pause ends with the link", async () => {
  const { broker, clock, sync, settle } = setUp();
  for (let i = 0; i < 8 * (SUBSCRIBE_PACKETS_PER_SECOND + 5); i++) sync.want(`f${i}`, 1);
  sync.up(broker, false);
  await settle();
  await settle();
  await settle();
  assertEquals(broker.packets.length, SUBSCRIBE_PACKETS_PER_SECOND);
  sync.down();
  assertEquals(clock.timers, 0);
  clock.advance(1_000);
  sync.up(broker, false);
  await waitFor("the pace to allow more", async () => {
    clock.advance(100);
    await settle();
    return sync.synced;
  });
});

pureTest(
  "what to send is decided after the pause: a filter wanted again in it is not left",
  async () => {
    const { broker, clock, sync, settle } = setUp();
    sync.up(broker, false);
    sync.want("a", 1);
    await settle();
    for (let i = 1; i < SUBSCRIBE_PACKETS_PER_SECOND; i++) {
      sync.want(`other/${i}`, 1);
      await settle();
    }
    assertEquals(broker.packets.length, SUBSCRIBE_PACKETS_PER_SECOND);
    sync.drop("a");
    await settle();
    assertEquals(sync.has("a", 1), true);
    sync.want("a", 1);
    clock.advance(1_000);
    await settle();
    assertEquals(broker.packets.slice(-2), [
      `subscribe other/${SUBSCRIBE_PACKETS_PER_SECOND - 1} qos 1`,
      "subscribe a qos 1",
    ]);
    assertEquals([sync.has("a", 1), sync.synced, clock.timers], [true, true, 0]);
  },
);

pureTest(
  "what the broker does not take now is tried again with backoff, and nobody is told that it is refused",
  async () => {
    for (const code of [0x97, 0x83]) {
      const { broker, clock, sync, settle, answers } = setUp();
      broker.codeOf = (filter) => filter === "busy" ? code : undefined;
      sync.up(broker, false);
      sync.want("busy", 1);
      sync.want("good", 1);
      await settle();
      assertEquals(answers, [`busy ${code} again in 1000`, "good 1"]);
      assertEquals([sync.size, sync.delayed, sync.synced], [2, 1, true]);
      clock.advance(1_000);
      await settle();
      assertEquals(answers.at(-1), `busy ${code} again in 2000`);
      clock.advance(1_999);
      await settle();
      assertEquals(broker.packets.length, 2);
      broker.codeOf = () => undefined;
      clock.advance(1);
      await settle();
      assertEquals([answers.at(-1), sync.delayed, clock.timers], ["busy 1", 0, 0]);
    }
  },
);

pureTest("an UNSUBACK that refuses is tried again, or left as it is", async () => {
  const { broker, clock, sync, settle, answers } = setUp();
  sync.up(broker, false);
  sync.want("a", 1);
  sync.want("b", 1);
  await settle();
  broker.leaveCode = (filter) => filter === "a" ? 0x97 : 0x87;
  sync.drop("a");
  sync.drop("b");
  await settle();
  assertEquals(answers.slice(2), ["a 151 again in 1000", "b 135 stays"]);
  broker.leaveCode = () => 0x11;
  broker.packets.length = 0;
  clock.advance(60_000);
  await settle();
  assertEquals([broker.packets, sync.delayed, clock.timers], [["unsubscribe a"], 0, 0]);
});

pureTest("what CONNACK denies is refused here, and not sent", async () => {
  const { broker, sync, settle, answers } = setUp();
  sync.up(broker, false, { wildcardAvailable: false, sharedAvailable: false });
  for (const filter of ["a/#", "+/b", "$share/g/c", "d"]) sync.want(filter, 1);
  await settle();
  assertEquals(broker.packets, ["subscribe d qos 1"]);
  assertEquals(answers, ["a/# 162", "+/b 162", "$share/g/c 158", "d 1"]);
});

pureTest("with identifiers each filter has a packet and a number of its own", async () => {
  const { broker, sync, settle } = setUp();
  sync.up(broker, false, { identifiersAvailable: true });
  sync.want("a", 1);
  sync.want("b", 1);
  await settle();
  assertEquals(broker.packets, ["subscribe a qos 1 as 1", "subscribe b qos 1 as 2"]);
  assertEquals([sync.filterOf(1), sync.filterOf(2), sync.filterOf(3)], ["a", "b", undefined]);
  sync.drop("a");
  await settle();
  assertEquals(sync.filterOf(1), undefined);
  sync.want("a", 1);
  await settle();
  assertEquals(broker.packets.at(-1), "subscribe a qos 1 as 3");
});

pureTest("who joins a filter has it subscribed again, with those of the same second", async () => {
  const { broker, clock, sync, settle } = setUp();
  sync.up(broker, false);
  sync.want("a", 1);
  sync.want("b", 1);
  await settle();
  broker.packets.length = 0;
  sync.want("a", 0);
  await settle();
  assertEquals(broker.packets, ["subscribe a qos 1"]);
  for (const filter of ["a", "b", "a"]) {
    sync.want(filter, 1);
    await settle();
  }
  assertEquals(broker.packets.length, 1);
  clock.advance(1_000);
  await settle();
  assertEquals(broker.packets, ["subscribe a qos 1", "subscribe a b qos 1"]);
  clock.advance(60_000);
  await settle();
  assertEquals([broker.packets.length, clock.timers], [2, 0]);
});

pureTest("a broker without retained messages gets no SUBSCRIBE for them", async () => {
  const { broker, clock, sync, settle } = setUp();
  sync.up(broker, false, { retainAvailable: false });
  sync.want("a", 1);
  await settle();
  sync.want("a", 1);
  clock.advance(60_000);
  await settle();
  assertEquals([broker.packets, clock.timers], [["subscribe a qos 1"], 0]);
});

pureTest("who joins while the link is down is subscribed for on a resumed session", async () => {
  const { broker, sync, settle } = setUp();
  sync.up(broker, false);
  for (const filter of ["a", "b"]) sync.want(filter, 1);
  await settle();
  sync.down();
  sync.want("b", 1);
  sync.want("c", 1);
  broker.packets.length = 0;
  sync.up(broker, true);
  await settle();
  assertEquals(broker.packets, ["subscribe c qos 1", "subscribe b qos 1"]);
});

pureTest("what was dropped while its SUBSCRIBE was lost is left on a resumed session", async () => {
  const { broker, sync, settle } = setUp();
  broker.hold = true;
  sync.up(broker, false);
  sync.want("a", 1);
  await settle();
  sync.down();
  sync.drop("a");
  const next = new FakeBroker();
  sync.up(next, true);
  broker.release();
  await settle();
  assertEquals(next.packets, ["unsubscribe a"]);
});
