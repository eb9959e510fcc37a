import { CongestionWindow, type Sent } from "../../../src/publish/congestion_window.ts";
import { assertEquals, assertLess } from "../../deps.ts";

const pure = { permissions: "none" } as const;

/** A window on a link, and shorthand for what happens to it. */
class Scene {
  readonly window = new CongestionWindow<Sent>(91);
  now = 0;

  constructor(most = 100, receiveMaximum = 65_535) {
    this.window.linked(most, receiveMaximum);
  }

  send(number = 1): Sent[] {
    const messages = Array.from({ length: number }, () => ({ sentAt: this.now }));
    for (const message of messages) this.window.sent(message);
    return messages;
  }

  /** Sends what is free and has it acknowledged after `ms`, so often. */
  rounds(number: number, ms = 50): void {
    for (let i = 0; i < number; i++) {
      const messages = this.send(this.window.free);
      this.now += ms;
      for (const message of messages) this.window.acknowledged(message, this.now);
    }
  }

  look(random = 0.5): { again: number; renew: boolean } {
    const { again, renew } = this.window.look(this.now, random);
    return { again: again.length, renew };
  }

  /** Lets time pass and looks whenever it is due; gives when a renewal was asked for. */
  pass(ms: number, random = 0.5): number[] {
    const end = this.now + ms;
    const renewed: number[] = [];
    while ((this.window.dueAt ?? Infinity) <= end) {
      this.now = Math.max(this.now, this.window.dueAt!);
      if (this.look(random).renew) renewed.push(this.now);
    }
    this.now = end;
    return renewed;
  }
}

Deno.test(
  "a link starts with 4 unanswered messages, and takes one more for each PUBACK",
  pure,
  () => {
    const scene = new Scene();
    const seen = [scene.window.free];
    for (let i = 0; i < 6; i++) {
      scene.rounds(1);
      seen.push(scene.window.free);
    }
    assertEquals(seen, [4, 8, 16, 32, 64, 100, 100]);
  },
);

Deno.test("no more are unanswered than is wanted, nor than the broker takes", pure, () => {
  for (
    const [most, receiveMaximum, first, last] of [[7, 65_535, 4, 7], [100, 20, 4, 20], [
      2,
      100,
      2,
      2,
    ]]
  ) {
    const scene = new Scene(most, receiveMaximum);
    assertEquals(scene.window.free, first);
    scene.rounds(10);
    assertEquals(scene.window.free, last);
  }
});

Deno.test(
  "a message without PUBACK for 5 s halves the window, once for all of its time",
  pure,
  () => {
    const scene = new Scene();
    scene.rounds(3);
    assertEquals(scene.window.size, 32);
    scene.send(10);
    scene.now += 4_999;
    scene.look();
    assertEquals([scene.window.counters.overdue, scene.window.size], [0, 32]);
    scene.now += 1;
    scene.look();
    assertEquals([scene.window.counters.overdue, scene.window.size], [10, 16]);
  },
);

Deno.test(
  "an overdue message gives its place free, but keeps its packet id from the broker's view",
  pure,
  () => {
    const scene = new Scene(100, 10);
    scene.rounds(3);
    scene.send(7);
    assertEquals([scene.window.size, scene.window.free], [10, 3]);
    scene.pass(5_000);
    assertEquals([scene.window.size, scene.window.free], [5, 3]);
  },
);

Deno.test("a message without PUBACK for 60 s is sent again, once", pure, () => {
  const scene = new Scene();
  const [lost] = scene.send();
  const again = [0, 5_000, 59_999, 60_000, 200_000].map((now) => {
    scene.now = now;
    return scene.look().again;
  });
  assertEquals(again, [0, 0, 0, 1, 0]);
  scene.window.acknowledged(lost!, scene.now);
  assertEquals(scene.window.counters.resent, 1);
});

Deno.test(
  "four times the round trip are no loss, and twice as many no reason to send again",
  pure,
  () => {
    const scene = new Scene();
    scene.rounds(1, 20_000);
    scene.send();
    assertEquals(scene.window.dueAt, scene.now + 80_000);
    scene.pass(79_999);
    assertEquals(scene.window.counters, { turnedAway: 0, overdue: 0, resent: 0 });
    scene.pass(1);
    assertEquals(scene.window.counters, { turnedAway: 0, overdue: 1, resent: 1 });
  },
);

Deno.test("a longer round trip counts at once, a shorter one by and by", pure, () => {
  const scene = new Scene(1);
  scene.rounds(1, 65_000);
  scene.rounds(1, 1_000);
  scene.send();
  assertEquals(scene.window.dueAt! - scene.now, 4 * (65_000 - 64_000 / 8));
});

Deno.test(
  "PUBACKs that take 65 s were no loss: what was halved is taken back, and the window grows",
  pure,
  () => {
    const scene = new Scene();
    const messages = scene.send(4);
    scene.pass(5_000);
    const more = scene.send(2);
    scene.pass(59_000);
    assertLess(scene.window.size, 4);
    for (const message of messages) scene.window.acknowledged(message, scene.now);
    assertEquals([scene.window.size, scene.window.rate.since], [8, undefined]);
    scene.pass(5_000);
    for (const message of more) scene.window.acknowledged(message, scene.now);
    assertEquals([scene.window.size, scene.window.counters.resent], [10, 4]);
  },
);

Deno.test(
  "what is turned away halves the window and the rate at once, and again after 5 s at the soonest",
  pure,
  () => {
    const scene = new Scene();
    scene.rounds(3);
    const rates: (number | undefined)[] = [];
    for (const ms of [0, 10, 4_970, 10, 5_000]) {
      scene.now += ms;
      const [message] = scene.send();
      scene.now += 5;
      scene.window.turnedAway(message!, scene.now);
      rates.push(scene.window.size, scene.window.rate.perSecond);
    }
    const [, full] = rates;
    assertEquals(rates, [16, full, 16, full, 16, full, 8, full! / 2, 4, full! / 4]);
    assertEquals(scene.window.counters.turnedAway, 5);
  },
);

Deno.test(
  "while slowed down the window grows by one for each window, not for each PUBACK",
  pure,
  () => {
    const scene = new Scene();
    scene.rounds(3);
    scene.window.turnedAway(scene.send()[0]!, scene.now);
    assertEquals(scene.window.size, 16);
    scene.rounds(1);
    assertEquals(scene.window.size, 17);
  },
);

Deno.test(
  "a new link is wanted when half of the packet ids are lost, after a random part of a minute",
  pure,
  () => {
    const scene = new Scene(100, 8);
    for (let i = 0; i < 3; i++) {
      scene.send();
      scene.rounds(1);
    }
    assertEquals(scene.pass(60_000), []);
    const at = scene.now;
    scene.send();
    // Others are acknowledged all the time.
    assertEquals(scene.pass(59_000), []);
    scene.rounds(1);
    const renewed = scene.pass(60_000, 0.25);
    assertEquals(renewed, [at + 60_000 + 15_000]);
  },
);

Deno.test(
  "a new link is wanted when nothing is acknowledged, with waits that double to 15 minutes",
  pure,
  () => {
    const scene = new Scene();
    const waits: number[] = [];
    for (let i = 0; i < 7; i++) {
      scene.send();
      const [at] = scene.pass(3_600_000, 0.5);
      waits.push((at! - (scene.now - 3_600_000)) / 1_000 - 60);
      scene.window.linked(100, 100);
    }
    assertEquals(waits, [30, 60, 120, 240, 450, 450, 450]);
  },
);

Deno.test("a PUBACK makes a new link needless while it is waited for", pure, () => {
  const scene = new Scene();
  scene.send();
  assertEquals(scene.pass(60_000), []);
  const [message] = scene.send();
  scene.now += 100;
  scene.window.acknowledged(message!, scene.now);
  assertEquals(scene.pass(3_600_000), []);
});

Deno.test("answers of an earlier link change nothing, and the rate outlives the link", pure, () => {
  const scene = new Scene();
  const [lost, ...rest] = scene.send(4);
  scene.window.turnedAway(lost!, 100);
  const rate = scene.window.rate.perSecond!;
  scene.window.linked(100, 100);
  for (const message of rest) scene.window.acknowledged(message, 200);
  scene.window.turnedAway(rest[0]!, 10_000);
  assertEquals([scene.window.size, scene.window.free], [4, 4]);
  assertEquals(scene.window.rate.perSecond!, rate);
});

Deno.test("a changed largest window counts at once", pure, () => {
  const scene = new Scene(1);
  assertEquals(scene.window.free, 1);
  scene.window.limit(100);
  assertEquals(scene.window.free, 4);
  scene.rounds(5);
  scene.window.limit(7);
  assertEquals(scene.window.free, 7);
});

Deno.test("while an earlier message has no PUBACK the window does not grow", pure, () => {
  const scene = new Scene();
  scene.send();
  scene.now += 10;
  scene.rounds(10);
  assertEquals(scene.window.size, 4);
});
