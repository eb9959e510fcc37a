import { utf8 } from "../../../src/base/bytes.ts";
import {
  cutReason,
  decide,
  isExpired,
  OVERHEAD_BYTES,
  rebased,
  sizeOf,
} from "../../../src/spool/policy.ts";
import { assertEquals } from "../../deps.ts";

Deno.test("a message counts its topic in UTF-8, its payload and the overhead", () => {
  assertEquals(sizeOf("a/ä", 100), 4 + 100 + OVERHEAD_BYTES);
  for (const text of ["", "abc", "äöü", "€", "😀x", "\ud800", "\udc00a", "a\ud83d", "é€😀"]) {
    assertEquals(sizeOf(text, 1), utf8(text).length + 1 + OVERHEAD_BYTES, JSON.stringify(text));
  }
});

Deno.test("a spool accepts what fits, evicts what it must, and refuses the rest", () => {
  const fill = { bytes: 900, qos0Bytes: 50, maxBytes: 1_000 };
  assertEquals(decide(fill, 100), "accept");
  assertEquals(decide(fill, 101), { evict: 1 });
  assertEquals(decide(fill, 150), { evict: 50 });
  assertEquals(decide(fill, 151), "refuse");
  assertEquals(decide({ bytes: 1_200, qos0Bytes: 250, maxBytes: 1_000 }, 50), { evict: 250 });
});

Deno.test("a message expires at its time, not before", () => {
  assertEquals(isExpired(undefined, 1e15), false);
  assertEquals(isExpired(1_000, 999), false);
  assertEquals(isExpired(1_000, 1_000), true);
});

Deno.test("a reason is cut to 255 bytes between characters", () => {
  assertEquals(cutReason("short"), "short");
  assertEquals(cutReason("x".repeat(300)), "x".repeat(255));
  assertEquals(cutReason("a" + "😀".repeat(70)), "a" + "😀".repeat(63));
});

const NOW = Date.UTC(2026, 10, 26);

Deno.test("a message that was accepted by a clock that was not set has its whole time once it is", () => {
  const record = { acceptedAt: Date.UTC(2000, 0, 1), expiresAt: Date.UTC(2000, 0, 1) + 60_000 };
  assertEquals(rebased(record, NOW), { acceptedAt: NOW, expiresAt: NOW + 60_000 });
  const unset = Date.UTC(2000, 0, 2);
  assertEquals(rebased(record, unset), record, "the clock is still not set");
});

Deno.test("a message that was accepted by a clock that was right keeps its time", () => {
  const record = { acceptedAt: NOW - 3_600_000, expiresAt: NOW - 1 };
  assertEquals(rebased(record, NOW), record);
  assertEquals(rebased({ acceptedAt: 0 }, NOW), { acceptedAt: 0 });
});
