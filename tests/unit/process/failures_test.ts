import {
  type Failures,
  holdMs,
  MAX_HOLD_MS,
  nextFailures,
  sentenceOf,
} from "../../../src/process/failures.ts";
import { assertEquals, assertLess } from "../../deps.ts";

const PURE = { permissions: "none" } as const;

/** The first `count` failures for one reason. */
function inARow(count: number, text = "Cannot read /etc/iotcored/key.pem"): Failures[] {
  const all: Failures[] = [];
  for (let i = 0; i < count; i++) all.push(nextFailures(all.at(-1), text));
  return all;
}

Deno.test("the first failure ends the program at once, further ones later and later", PURE, () => {
  const seconds = inARow(8).map((failures) => holdMs(failures) / 1_000);
  assertEquals(seconds, [0, 10, 20, 40, 80, 110, 110, 110]);
  assertEquals(holdMs({ count: 5_000, text: "x" }), MAX_HOLD_MS);
});

Deno.test("another reason begins a new row", PURE, () => {
  const before = inARow(9).at(-1);
  assertEquals(nextFailures(before, "another"), { count: 1, text: "another" });
});

Deno.test(
  "the log says what is wrong, then counts, and says it again ever more rarely",
  PURE,
  () => {
    assertEquals(inARow(5, "it is wrong").map(sentenceOf), [
      "it is wrong",
      "it is wrong (2 times in a row)",
      "failed as before, 3 times in a row",
      "it is wrong (4 times in a row)",
      "failed as before, 5 times in a row",
    ]);
  },
);

Deno.test("what is logged of a night of 12 hours is under 20 KB", PURE, () => {
  const RESTART_MS = 10_000;
  const night = inARow(5_000, "x".repeat(300));
  let [ms, bytes] = [0, 0];
  for (const failures of night) {
    if (ms > 12 * 3_600_000) break;
    bytes += sentenceOf(failures).length;
    ms += holdMs(failures) + RESTART_MS;
  }
  assertLess(12 * 3_600_000, ms, "the night is longer than what was counted");
  assertLess(bytes, 20_000);
});
