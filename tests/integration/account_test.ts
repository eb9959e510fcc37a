/** A daemon alone with an account that takes less than it has to send; clocks are so many times as fast. */

import { assert, assertEquals, assertLessOrEqual } from "../deps.ts";
import { playAlone, playSlow } from "../fleet/real.ts";

const FAST = 20;

for (const over of ["silence", "0x97"] as const) {
  Deno.test(`an account of 20 messages a second that answers what is over it by ${over} is not flooded, nor the log`, async () => {
    const { taken, sends, renewals, lines } = await playAlone(FAST, over, 20, 60_000);
    assertLessOrEqual(sends / taken, 1.2, `${sends} sends for ${taken} messages`);
    // A quarter of what the account takes: the bench says how much it is, a test only that it did not stop.
    assert(taken >= 300, `${taken} messages`);
    assertLessOrEqual(renewals, 1);
    assertEquals(lines.filter((line) => line.includes("slowed down")).length, 1);
    assertLessOrEqual(lines.length, 3, lines.join("\n"));
  });
}

Deno.test("messages whose PUBACKs take 65 s are all acknowledged, and not sent again and again", async () => {
  const { acknowledged, sends } = await playSlow(2 * FAST);
  assertEquals(acknowledged, 300);
  assertLessOrEqual(sends, 600);
});
