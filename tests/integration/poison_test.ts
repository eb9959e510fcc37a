/** A broker that closes the connection for one topic or filter: only those pay. `deno task soak:poison` runs the scenes at full length. */

import { assertEquals, assertLessOrEqual } from "../deps.ts";
import {
  badSubscribe,
  cutNetwork,
  flood,
  statedCloses,
  steady,
  tenForbidden,
} from "../support/poison_scenes.ts";

Deno.test("a broker that closes for a topic or a filter costs the others some seconds, and condemns nobody else", async () => {
  // Each has a broker and a daemon of its own, and mostly waits.
  const [flooded, beside, closing, mute, ten, cut, stated] = await Promise.all([
    flood("3.1.1"),
    steady("5 with a reason", 16),
    badSubscribe("5 without", 6),
    badSubscribe("never answered", 6),
    tenForbidden("3.1.1", 1),
    cutNetwork("5 without", 15),
    statedCloses([0x97, 0x8b, 0x8e, 0x9c]),
  ]);
  for (const figures of [flooded, beside, closing, mute, ten, cut]) {
    assertEquals(figures.innocents, 0, JSON.stringify(figures));
  }
  for (const figures of [beside, closing, mute, ten, cut, stated]) {
    assertEquals(figures.qos1, figures.of, JSON.stringify(figures));
  }
  assertEquals(flooded.acknowledged, 144);
  assertLessOrEqual(flooded.slowestMs!, 15_000);
  // 2.5 messages a second: 8 s of them at most are refused or lost.
  assertLessOrEqual(beside.of! - beside.qos0!, 20);
  assertLessOrEqual(closing.toldMs!, 10_000);
  assertEquals(mute.closes, 0);
  assertLessOrEqual(ten.heldUpMs!, 10_000);
  assertEquals(stated.suspects, 0);
});
