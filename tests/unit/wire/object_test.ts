import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertStrictEquals,
  assertThrows,
  pureTest,
} from "../../deps.ts";
import { concat, utf8 } from "../../../src/base/bytes.ts";
import { BusError, codeName } from "../../../src/base/errors.ts";
import { decodeValue, encodeValue, type Value } from "../../../src/wire/object.ts";
import { nested, nestedBytes } from "./damage.ts";
import { Random } from "../../support/random.ts";

const INT64_MIN = -(2n ** 63n);
const INT64_MAX = 2n ** 63n - 1n;

const CASES: readonly (readonly [name: string, value: Value, bytes: readonly number[]])[] = [
  ["null", null, [0]],
  ["true", true, [1, 1]],
  ["false", false, [1, 0]],
  ["an int64", 258n, [2, 2, 1, 0, 0, 0, 0, 0, 0]],
  ["the least int64", INT64_MIN, [2, 0, 0, 0, 0, 0, 0, 0, 0x80]],
  ["the greatest int64", INT64_MAX, [2, 255, 255, 255, 255, 255, 255, 255, 0x7f]],
  ["an int64 beyond 2^53", 2n ** 53n + 1n, [2, 1, 0, 0, 0, 0, 0, 0x20, 0]],
  ["a float64", 1.5, [3, 0, 0, 0, 0, 0, 0, 0xf8, 0x3f]],
  ["a whole float64", 1, [3, 0, 0, 0, 0, 0, 0, 0xf0, 0x3f]],
  ["an empty buffer", new Uint8Array(0), [4, 0, 0, 0, 0]],
  ["a buffer", utf8("ab"), [4, 2, 0, 0, 0, 0x61, 0x62]],
  ["an empty list", [], [5, 0, 0, 0, 0]],
  ["a list", [null, true], [5, 2, 0, 0, 0, 0, 1, 1]],
  ["an empty map", new Map(), [6, 0, 0, 0, 0]],
  ["a map", new Map([["é", null]]), [6, 1, 0, 0, 0, 2, 0, 0, 0, 0xc3, 0xa9, 0]],
];

for (const [name, value, bytes] of CASES) {
  pureTest(`${name} is written and read back`, () => {
    assertEquals(encodeValue(value), Uint8Array.from(bytes));
    assertEquals(decodeValue(Uint8Array.from(bytes)), value);
  });
}

function randomValue(random: Random, depth: number): Value {
  switch (random.int(depth < 15 ? 9 : 7)) {
    case 0:
      return null;
    case 1:
      return random.int(2) === 0;
    case 2:
      return random.pick([INT64_MIN, INT64_MAX, 0n, -1n, 2n ** 53n + 1n, -(2n ** 32n)]);
    case 3:
      return BigInt.asIntN(64, BigInt(random.int(2 ** 32)) << BigInt(random.int(33)));
    case 4:
      return random.pick([0, -0, NaN, Infinity, -Infinity, 5e-324, Number.MAX_VALUE]);
    case 5:
      return random.float() * 10 ** random.int(20);
    case 6:
      return random.bytes(40);
    case 7:
      return Array.from({ length: random.int(5) }, () => randomValue(random, depth + 1));
    default:
      return new Map(
        Array.from({ length: random.int(5) }, (_, i) => [
          random.pick(["topic", "", "ключ", "😀", "k".repeat(40)]) + i,
          randomValue(random, depth + 1),
        ]),
      );
  }
}

pureTest("5,000 generated values come back as they were", () => {
  const random = new Random(2);
  for (let i = 0; i < 5_000; i++) {
    const value = randomValue(random, 0);
    const bytes = encodeValue(value);
    const back = decodeValue(bytes);
    assertEquals(back, value);
    assertEquals(encodeValue(back), bytes);
  }
});

pureTest("20,000 mutated values are read or refused with a code", () => {
  const random = new Random(3);
  const refused = new Set<string>();
  for (let i = 0; i < 20_000; i++) {
    const bytes = encodeValue([randomValue(random, 0), new Map([["k", randomValue(random, 0)]])]);
    bytes[random.int(bytes.length)] = random.int(256);
    const mutated = bytes.subarray(0, bytes.length - random.int(3));
    try {
      decodeValue(mutated);
    } catch (error) {
      assertInstanceOf(error, BusError);
      refused.add(codeName(error.code));
    }
  }
  assertEquals([...refused].sort(), ["INVALID", "NOMEM", "PARSE"]);
});

pureTest("buffers are views of what was read", () => {
  const bytes = encodeValue([utf8("abc")]);
  const value = decodeValue(bytes);
  assert(Array.isArray(value) && value[0] instanceof Uint8Array);
  assertStrictEquals(value[0].buffer, bytes.buffer);
});

pureTest("of two equal keys the first counts", () => {
  const entry = (value: number) => Uint8Array.of(1, 0, 0, 0, 0x6b, 1, value);
  const bytes = concat([Uint8Array.of(6, 2, 0, 0, 0), entry(1), entry(0)]);
  assertEquals(decodeValue(bytes), new Map([["k", true]]));
});

pureTest(
  "a key that is not UTF-8 is read, and is no parameter's name",
  () => {
    const bytes = Uint8Array.of(6, 1, 0, 0, 0, 2, 0, 0, 0, 0x6b, 0xff, 0);
    assertEquals(decodeValue(bytes), new Map([["k\ufffd", null]]));
  },
);

pureTest("any boolean byte but 0 is true, as in C", () => {
  assertEquals(decodeValue(Uint8Array.of(1, 2)), true);
});

pureTest("values nest 15 deep and no deeper", () => {
  assertEquals(decodeValue(nestedBytes(15)), nested(15));
  assertEquals(encodeValue(nested(15)), nestedBytes(15));
  for (const inner of [null, [], new Map()]) {
    const deep = nested(inner === null ? 16 : 15, inner);
    assertEquals(assertThrows(() => encodeValue(deep), BusError).code, 8);
  }
  assertEquals(assertThrows(() => decodeValue(nestedBytes(16)), BusError).code, 8);
  assertEquals(assertThrows(() => decodeValue(nestedBytes(100_000)), BusError).code, 8);
});

pureTest("an integer beyond int64 is refused, not cut", () => {
  for (const beyond of [INT64_MAX + 1n, INT64_MIN - 1n]) {
    assertEquals(assertThrows(() => encodeValue([beyond]), BusError).code, 8);
  }
});

pureTest(
  "counts are held against the bytes left before anything is made",
  () => {
    const code = (...bytes: number[]) =>
      assertThrows(() => decodeValue(Uint8Array.from(bytes)), BusError).code;
    assertEquals(decodeValue(Uint8Array.of(5, 2, 0, 0, 0, 0, 0)), [null, null]);
    assertEquals(code(5, 3, 0, 0, 0, 0, 0), 9);
    assertEquals(decodeValue(Uint8Array.of(6, 1, 0, 0, 0, 0, 0, 0, 0, 0)), new Map([["", null]]));
    assertEquals(code(6, 1, 0, 0, 0, 0, 0, 0, 0), 9);
    assertEquals(code(6, 0xff, 0xff, 0xff, 0xff), 9);
  },
);

pureTest(
  "a value cut off anywhere is PARSE, or NOMEM by its count",
  () => {
    const bytes = encodeValue([1n, 1.5, utf8("ab"), true, new Map([["k", null]])]);
    const countsTooMuch = (length: number) =>
      (length >= 5 && length < 10) || (length >= 37 && length < 42);
    assertEquals(bytes.length, 43);
    for (let length = 0; length < bytes.length; length++) {
      const error = assertThrows(() => decodeValue(bytes.subarray(0, length)), BusError);
      assertEquals(codeName(error.code), countsTooMuch(length) ? "NOMEM" : "PARSE", `${length}`);
    }
  },
);
