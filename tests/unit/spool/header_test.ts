import { inspectHeader, judgeVersion } from "../../../src/spool/header.ts";
import { assertEquals } from "../../deps.ts";

/** The header of a spool of three pages. */
function header(): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(100);
  bytes.set(new TextEncoder().encode("SQLite format 3\0"));
  bytes.set([0x10, 0, 2, 2, 0, 64, 32, 32, 0, 0, 0, 5, 0, 0, 0, 3], 16);
  const view = new DataView(bytes.buffer);
  view.setUint32(40, 4);
  view.setUint32(44, 4);
  view.setUint32(56, 1);
  view.setUint32(60, 1);
  view.setUint32(68, 0x696f7463);
  return bytes;
}

Deno.test("a header of a spool is sound, whatever its counters say", () => {
  assertEquals(inspectHeader(header(), 3 * 4096, false), { is: "sound" });
  assertEquals(inspectHeader(header(), 9 * 4096, true), { is: "sound" });
});

Deno.test("each bit of a header that is always the same is watched", () => {
  const free = (at: number): boolean => (at >= 24 && at < 44) || at >= 92;
  for (let bit = 0; bit < 800; bit++) {
    const bytes = header();
    bytes[bit >> 3]! ^= 1 << (bit & 7);
    const { is } = inspectHeader(bytes, 3 * 4096, true);
    assertEquals(is, free(bit >> 3) ? "sound" : "damaged", `bit ${bit}`);
  }
});

Deno.test("a file whose length is not that of its pages is damaged", () => {
  assertEquals(inspectHeader(header(), 2 * 4096, false).is, "damaged");
  assertEquals(inspectHeader(header(), 3 * 4096 + 1, false).is, "damaged");
  assertEquals(inspectHeader(header().subarray(0, 99), 99, false).is, "damaged");
});

Deno.test("a version that is one bit away is damage, one further away a newer program", () => {
  assertEquals(judgeVersion(1).is, "sound");
  for (const version of [0, 3, 5, 9, 65]) assertEquals(judgeVersion(version).is, "damaged");
  for (const version of [2, 4, 6, 99]) {
    assertEquals(judgeVersion(version), { is: "newer", version });
  }
});
