/** What becomes of filters for which the broker closes the connection, or which it never answers. */

import { assertEquals } from "../../deps.ts";
import type { Qos } from "../../../src/aws/limits.ts";
import { HEAD_START_MS } from "../../../src/publish/poison_detector.ts";
import { SendGate } from "../../../src/publish/send_gate.ts";
import {
  ANSWER_MS,
  type FilterLink,
  FilterSync,
  SLOW_MS,
} from "../../../src/subscribe/filter_sync.ts";
import type { SubscribeResult } from "../../../src/mqtt/link.ts";
import { FakeClock } from "../../support/fake_clock.ts";
import { fakeLog } from "../../support/fake_log.ts";
import { settle } from "./fakes.ts";

const pure = { permissions: "none" } as const;

/** A broker that closes for some filters and never answers others. */
class Scene implements FilterLink {
  readonly clock = new FakeClock();
  readonly gate = new SendGate(this.clock, fakeLog());
  readonly packets: string[] = [];
  readonly answers: string[] = [];
  synced = 0;
  closes = 0;
  /** Not even pings are answered. */
  frozen = false;
  readonly sync = new FilterSync(this.clock, this.gate, {
    onAnswer: (filter, { code }) => this.answers.push(`${filter} ${code}`),
    onSynced: () => this.synced++,
    onDelayed: () => {},
    onStays: () => {},
  });
  #closing: ((results: undefined) => void)[] = [];

  constructor(readonly bad: string, readonly mute: string) {}

  subscribe(filters: readonly string[], qos: Qos): Promise<readonly SubscribeResult[] | undefined> {
    this.packets.push(filters.join(" "));
    const { promise, resolve } = Promise.withResolvers<readonly SubscribeResult[] | undefined>();
    this.#closing.push(resolve);
    if (filters.includes(this.bad)) queueMicrotask(() => this.#close());
    else if (!filters.includes(this.mute) && !this.frozen) {
      resolve(filters.map(() => ({ code: qos, reason: "" })));
    }
    return promise;
  }

  unsubscribe(filters: readonly string[]): Promise<readonly SubscribeResult[] | undefined> {
    return Promise.resolve(filters.map(() => ({ code: 0, reason: "" })));
  }

  ping(done: () => void): void {
    if (!this.frozen) queueMicrotask(done);
  }

  reconnect(reason: string): void {
    this.packets.push(`reconnect: ${reason}`);
  }

  async up(): Promise<void> {
    this.gate.up(this);
    this.sync.up(this, false);
    await settle();
  }

  async later(ms: number): Promise<void> {
    this.clock.advance(ms);
    await settle();
  }

  #close(): void {
    const { culprit } = this.gate.down({ by: "peer", reason: "closed" });
    this.sync.down();
    for (const resolve of this.#closing.splice(0)) resolve(undefined);
    this.closes++;
    if (culprit !== undefined) this.answers.push(`condemned ${culprit.subject.name}`);
  }
}

Deno.test(
  "a filter that the broker closes for is found, and the others of its packet are made",
  pure,
  async () => {
    const scene = new Scene("bad", "");
    for (const filter of ["a", "bad", "c"]) scene.sync.want(filter, 1);
    await scene.up();
    assertEquals(scene.packets, ["a bad c"]);
    for (let close = 1; close <= 2; close++) {
      await scene.later(1_000);
      await scene.up();
      for (let trial = 0; trial < 3; trial++) await scene.later(HEAD_START_MS);
      assertEquals(scene.closes, close + 1);
    }
    await scene.later(1_000);
    await scene.up();
    await scene.later(HEAD_START_MS);
    assertEquals(scene.packets.slice(1), ["a", "bad", "a", "bad", "a", "c"]);
    assertEquals(scene.answers, ["a 1", "a 1", "condemned bad", "bad 128", "a 1", "c 1"]);
    assertEquals(scene.sync.synced, true);
  },
);

Deno.test(
  "a filter that waits for its trial keeps nobody from counting as subscribed",
  pure,
  async () => {
    const scene = new Scene("bad", "");
    scene.sync.want("bad", 1);
    await scene.up();
    await scene.later(1_000);
    scene.sync.want("good", 1);
    await scene.up();
    assertEquals([scene.packets, scene.sync.synced], [["bad", "good"], true]);
  },
);

Deno.test(
  "a SUBSCRIBE without an answer holds up other filters for a second, and is refused the second time",
  pure,
  async () => {
    const scene = new Scene("", "mute");
    scene.sync.want("mute", 1);
    await scene.up();
    scene.sync.want("good", 1);
    await scene.later(SLOW_MS);
    assertEquals([scene.packets, scene.answers, scene.synced], [["mute", "good"], ["good 1"], 0]);
    await scene.later(ANSWER_MS - SLOW_MS);
    assertEquals([scene.packets, scene.synced], [["mute", "good", "mute"], 0]);
    await scene.later(SLOW_MS);
    assertEquals(scene.synced, 1);
    await scene.later(ANSWER_MS - SLOW_MS);
    assertEquals(scene.answers, ["good 1", "mute 128"]);
    assertEquals([scene.closes, scene.packets.length], [0, 3]);
  },
);

Deno.test(
  "filters that share a packet with one that has no answer are sent again, each alone",
  pure,
  async () => {
    const scene = new Scene("", "mute");
    for (const filter of ["a", "mute", "c"]) scene.sync.want(filter, 1);
    await scene.up();
    await scene.later(SLOW_MS);
    await scene.later(ANSWER_MS - SLOW_MS);
    for (let turn = 0; turn < 3; turn++) await scene.later(SLOW_MS);
    assertEquals(scene.packets, ["a mute c", "a", "mute", "c"]);
    assertEquals(scene.answers, ["a 1", "c 1"]);
  },
);

Deno.test(
  "when not even a PINGREQ is answered the link is made anew, and no filter is held responsible",
  pure,
  async () => {
    const scene = new Scene("", "");
    scene.frozen = true;
    scene.sync.want("good", 1);
    await scene.up();
    await scene.later(SLOW_MS);
    await scene.later(ANSWER_MS - SLOW_MS);
    assertEquals(scene.packets.map((packet) => packet.slice(0, 12)), ["good", "reconnect: S"]);
    assertEquals(scene.gate.standings(), []);
  },
);
