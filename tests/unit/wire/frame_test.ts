import { assertEquals, assertStrictEquals, assertThrows, pureTest } from "../../deps.ts";
import { type Bytes, utf8 } from "../../../src/base/bytes.ts";
import { BusError, codeName } from "../../../src/base/errors.ts";
import {
  decodeFrame,
  encodeFrame,
  encodeValueFrame,
  type Headers,
  MAX_FRAME_BYTES,
} from "../../../src/wire/frame.ts";
import { encodeValue, type Value } from "../../../src/wire/object.ts";
import { Random } from "../../support/random.ts";
import { prelude, rawFrame, WHOLE } from "./damage.ts";

function refusal(bytes: Bytes): string {
  return codeName(assertThrows(() => decodeFrame(bytes), BusError).code);
}

pureTest("the smallest frame has 16 bytes", () => {
  const bytes = encodeFrame(new Map());
  assertEquals(bytes.length, 16);
  assertEquals(decodeFrame(bytes), { headers: new Map(), payload: new Uint8Array(0) });
});

pureTest("2,000 generated frames come back as they were", () => {
  const random = new Random(4);
  const names = ["", "method", "ключ", "n".repeat(255)];
  const values = [0, -1, 2 ** 31 - 1, -(2 ** 31), "", "publish", "😀", "s".repeat(65_535)];
  for (let i = 0; i < 2_000; i++) {
    const headers: Headers = new Map(
      Array.from({ length: random.int(4) }, () => [random.pick(names), random.pick(values)]),
    );
    const payload = random.bytes(300);
    const bytes = encodeFrame(headers, payload);
    assertEquals(decodeFrame(bytes), { headers, payload });
  }
});

pureTest("a frame of a value is a frame of its bytes", () => {
  const value: Value = new Map<string, Value>([["topic", utf8("a")], ["ключ", [1n, -0.5, null]]]);
  const headers: Headers = new Map([["accepted", 1]]);
  assertEquals(encodeValueFrame(value), encodeFrame(new Map(), encodeValue(value)));
  assertEquals(encodeValueFrame(value, headers), encodeFrame(headers, encodeValue(value)));
});

pureTest("the payload is a view of what was read", () => {
  assertStrictEquals(decodeFrame(WHOLE).payload.buffer, WHOLE.buffer);
});

pureTest("a frame is read wherever it lies in its buffer", () => {
  const buffer = new Uint8Array(WHOLE.length + 20).fill(0xaa);
  buffer.set(WHOLE, 13);
  assertEquals(decodeFrame(buffer.subarray(13, 13 + WHOLE.length)), decodeFrame(WHOLE));
});

pureTest(
  "of two headers of the same name the last counts, as in C",
  () => {
    const header = [4, 0x74, 0x79, 0x70, 0x65, 4, 0, 0, 0];
    const bytes = rawFrame(Uint8Array.of(...header, 1, ...header, 2));
    assertEquals(decodeFrame(bytes).headers, new Map([["type", 2]]));
  },
);

pureTest("headers that no one knows are carried along", () => {
  const headers: Headers = new Map<string, string | number>([["T", 7], ["trace", "x"]]);
  assertEquals(decodeFrame(encodeFrame(headers)).headers, headers);
});

pureTest("bytes that are not one whole frame are refused", () => {
  for (let length = 0; length < WHOLE.length; length++) {
    assertEquals(refusal(WHOLE.subarray(0, length)), "PARSE");
  }
  assertEquals(refusal(Uint8Array.of(...WHOLE, 0)), "PARSE");
});

pureTest(
  "a frame of the limit is read, and one above it is NOMEM",
  () => {
    const largest = encodeFrame(new Map(), new Uint8Array(MAX_FRAME_BYTES - 16));
    assertEquals(decodeFrame(largest).payload.length, MAX_FRAME_BYTES - 16);
    assertEquals(refusal(encodeFrame(new Map(), new Uint8Array(MAX_FRAME_BYTES - 15))), "NOMEM");
    assertEquals(refusal(prelude(2 ** 32 - 1, 0)), "NOMEM");
  },
);

pureTest("headers that the wire cannot carry are refused", () => {
  const headers: Headers[] = [
    new Map([["n".repeat(256), 1]]),
    new Map([["é".repeat(128), 1]]),
    new Map([["reason", "r".repeat(65_536)]]),
    new Map([["error", 2 ** 31]]),
    new Map([["error", 1.5]]),
    new Map([["error", NaN]]),
  ];
  for (const bad of headers) {
    assertEquals(codeName(assertThrows(() => encodeFrame(bad), BusError).code), "RANGE");
  }
});
