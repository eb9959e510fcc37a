import { assertEquals, assertStrictEquals, pureTest } from "../../deps.ts";
import { utf8 } from "../../../src/base/bytes.ts";
import { shortAscii, textLength, writeText } from "../../../src/base/bytes.ts";
import { Random } from "../../support/random.ts";

pureTest(
  "short ASCII is read right however many texts share the memo",
  () => {
    const random = new Random(1);
    for (let i = 0; i < 20_000; i++) {
      const length = random.int(129);
      const bytes = Uint8Array.from({ length: length + 2 }, () => random.int(128));
      const text = String.fromCharCode(...bytes.slice(1, -1));
      assertStrictEquals(shortAscii(bytes, 1, length + 1), text);
      assertStrictEquals(shortAscii(bytes, 1, length + 1), text);
    }
  },
);

pureTest("text that is long or not ASCII is left to a decoder", () => {
  assertStrictEquals(shortAscii(utf8("a".repeat(129)), 0, 129), undefined);
  assertStrictEquals(shortAscii(utf8("é"), 0, 2), undefined);
});

pureTest("text is written as the encoder writes it, in the bytes announced", () => {
  for (const text of ["", "method", "é", "temp ☀", "a😀b", "half \ud83d pair", "\ufeffmark"]) {
    const expected = utf8(text);
    assertEquals(textLength(text), expected.length);
    const bytes = new Uint8Array(expected.length + 4);
    assertEquals(writeText(text, bytes, 2), expected.length + 2);
    assertEquals(bytes.subarray(2, -2), expected);
  }
});
