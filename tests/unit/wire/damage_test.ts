import { assert, assertEquals, assertMatch, assertThrows, pureTest } from "../../deps.ts";
import type { Bytes } from "../../../src/base/bytes.ts";
import { BusError, codeName } from "../../../src/base/errors.ts";
import { FrameReader } from "../../../src/wire/frame_reader.ts";
import { decodeValue, type Value } from "../../../src/wire/object.ts";
import { DAMAGES, WHOLE } from "./damage.ts";

/** What a server does with what comes in, byte by byte or at once. */
function read(bytes: Bytes, step: number): Value | undefined {
  const reader = new FrameReader();
  for (let at = 0; at < bytes.length; at += step) {
    reader.push(bytes.subarray(at, at + step));
    const frame = reader.next();
    if (frame !== undefined) return decodeValue(frame.payload);
  }
  return undefined;
}

pureTest("the request that the damages start from is whole", () => {
  assert(read(WHOLE, WHOLE.length) instanceof Map);
});

for (const { name, code, bytes } of DAMAGES) {
  Deno.test(`frame-${name} gets ${codeName(code)} [iotcored-1]`, () => {
    const path = new URL(`../../fixtures/frame-${name}.bin`, import.meta.url);
    assertEquals(Deno.readFileSync(path), bytes, "the fixture is out of date: run damage.ts");
    for (const step of [bytes.length, 1]) {
      const error = assertThrows(() => read(bytes, step), BusError);
      assertEquals(codeName(error.code), codeName(code));
      assertMatch(error.message, /^Cannot read a .+ must .+, got .+$/);
    }
  });
}

Deno.test("each fixture of a damaged frame is one of the damages", () => {
  const files = [...Deno.readDirSync(new URL("../../fixtures", import.meta.url))]
    .map((entry) => entry.name)
    .filter((name) => /^frame-.*\.bin$/.test(name));
  assertEquals(files.sort(), DAMAGES.map(({ name }) => `frame-${name}.bin`).sort());
});

pureTest("a single flipped bit anywhere in a frame is never read", () => {
  for (let bit = 0; bit < WHOLE.length * 8; bit++) {
    const bytes = WHOLE.slice();
    bytes[bit >> 3]! ^= 1 << (bit & 7);
    const error = assertThrows(() => read(bytes, bytes.length), BusError, undefined, `bit ${bit}`);
    assertEquals(codeName(error.code), "PARSE", `bit ${bit}`);
  }
});

pureTest("a request cut off anywhere is awaited, not refused", () => {
  for (let length = 0; length < WHOLE.length; length++) {
    assertEquals(read(WHOLE.subarray(0, length), 7), undefined);
  }
});
