import {
  assert,
  assertEquals,
  assertExists,
  assertGreater,
  assertGreaterOrEqual,
  assertInstanceOf,
  assertLess,
  assertLessOrEqual,
  assertMatch,
  assertNotEquals,
  assertRejects,
  assertStrictEquals,
  assertStringIncludes,
  assertThrows,
  fail,
  pureTest,
} from "../../deps.ts";

// What the originals of `@std/assert` and their stand-ins both do: the test runs against whichever is in use.

/** Each assertion with a call that passes and one that fails. */
const CASES: [string, () => unknown, () => unknown][] = [
  ["assert", () => assert(1), () => assert(0)],
  [
    "assertEquals",
    () => assertEquals({ a: [1] }, { a: [1] }),
    () => assertEquals({ a: [1] }, { a: [2] }),
  ],
  [
    "assertEquals of bytes",
    () => assertEquals(new Uint8Array([1]), new Uint8Array([1])),
    () => assertEquals(new Uint8Array([1]), new Uint8Array([2])),
  ],
  [
    "assertEquals of maps",
    () => assertEquals(new Map([["a", 1n]]), new Map([["a", 1n]])),
    () => assertEquals(new Map([["a", 1n]]), new Map([["a", 2n]])),
  ],
  ["assertNotEquals", () => assertNotEquals([1], [2]), () => assertNotEquals([1], [1])],
  ["assertStrictEquals", () => assertStrictEquals(1, 1), () => assertStrictEquals<unknown>({}, {})],
  ["assertExists", () => assertExists(0), () => assertExists(undefined)],
  ["assertGreater", () => assertGreater(2, 1), () => assertGreater(1, 1)],
  ["assertGreaterOrEqual", () => assertGreaterOrEqual(1, 1), () => assertGreaterOrEqual(0, 1)],
  ["assertLess", () => assertLess(1, 2), () => assertLess(1, 1)],
  ["assertLessOrEqual", () => assertLessOrEqual(1, 1), () => assertLessOrEqual(2, 1)],
  ["assertMatch", () => assertMatch("abc", /b/), () => assertMatch("abc", /d/)],
  [
    "assertStringIncludes",
    () => assertStringIncludes("abc", "b"),
    () => assertStringIncludes("abc", "d"),
  ],
  [
    "assertInstanceOf",
    () => assertInstanceOf(new Error(), Error),
    () => assertInstanceOf({}, Error),
  ],
  ["fail", () => {}, () => fail("no")],
];

for (const [name, passing, failing] of CASES) {
  pureTest(`${name} passes what holds and throws an AssertionError for what does not`, () => {
    passing();
    const error = assertThrows(failing, Error);
    assertEquals(error.name, "AssertionError");
  });
}

pureTest(
  "assertThrows returns the error, and fails for none, another class, or another message",
  () => {
    const boom = (): never => {
      throw new TypeError("boom");
    };
    assertEquals(assertThrows(boom, TypeError, "oo").message, "boom");
    for (
      const check of [
        () => assertThrows(() => 1),
        () => assertThrows(boom, RangeError),
        () => assertThrows(boom, TypeError, "x"),
      ]
    ) {
      assertEquals(assertThrows(check, Error).name, "AssertionError");
    }
  },
);

pureTest("assertRejects does the same for promises", async () => {
  const boom = (): Promise<never> => Promise.reject(new TypeError("boom"));
  assertEquals((await assertRejects(boom, TypeError, "oo")).message, "boom");
  await assertRejects(() => assertRejects(() => Promise.resolve()));
  await assertRejects(() => assertRejects(boom, RangeError));
});
