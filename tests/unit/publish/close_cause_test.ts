import { assertEquals } from "../../deps.ts";
import { type Accused, accusedBy } from "../../../src/publish/close_cause.ts";

const pure = { permissions: "none" } as const;

/** Codes of DISCONNECT by whom they accuse. */
const BY_CODE: Readonly<Record<Accused, readonly number[]>> = {
  any: [0x00, 0x80, 0x81, 0x82, 0x83, 0x87, 0xc0],
  publish: [0x90, 0x94, 0x96, 0x99, 0x9a, 0x9b],
  qos1: [0x93],
  filter: [0x8f, 0x97, 0x9e, 0xa1, 0xa2],
  largest: [0x95],
  none: [
    ...[0x84, 0x85, 0x86, 0x88, 0x89, 0x8a, 0x8b, 0x8c, 0x8d, 0x8e],
    ...[0x91, 0x92, 0x98, 0x9c, 0x9d, 0x9f, 0xa0],
  ],
};

for (const [accused, codes] of Object.entries(BY_CODE)) {
  const said = codes.map((code) => `0x${code.toString(16)}`).join(" ");
  Deno.test(`a DISCONNECT with ${said} accuses: ${accused}`, pure, () => {
    for (const code of codes) assertEquals(accusedBy({ by: "peer", code }), accused, `${code}`);
  });
}

Deno.test(
  "a close without a word may be about any packet, as may an answer that cannot be parsed",
  pure,
  () => {
    assertEquals(accusedBy({ by: "peer" }), "any");
    assertEquals(accusedBy({ by: "protocol" }), "any");
    assertEquals(accusedBy({ by: "fault" }), "any");
  },
);

Deno.test("our own close and a network that fails or is silent accuse nobody", pure, () => {
  assertEquals(accusedBy({ by: "network" }), "none");
  assertEquals(accusedBy({ by: "local" }), "none");
  assertEquals(accusedBy({ by: "keep-alive" }), "none");
});
