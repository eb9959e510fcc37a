import { assert, assertEquals, assertInstanceOf, assertThrows, pureTest } from "../../deps.ts";
import { type Bytes, utf8 } from "../../../src/base/bytes.ts";
import { BusError, BusErrorCode } from "../../../src/base/errors.ts";
import {
  buffer,
  bufferList,
  bufferOrList,
  int,
  optionalBoolean,
  optionalBuffer,
  optionalInt,
  type Param,
  paramsReader,
} from "../../../src/bus/params.ts";
import type { Value } from "../../../src/wire/object.ts";

const a = utf8("a");

interface Row {
  readonly name: string;
  readonly param: Param<unknown>;
  readonly good: readonly [Value | undefined, unknown][];
  readonly bad: readonly (Value | undefined)[];
}

const rows: Row[] = [
  { name: "buffer", param: buffer, good: [[a, a]], bad: [undefined, null, 1n, 1, [a], new Map()] },
  {
    name: "optionalBuffer",
    param: optionalBuffer,
    good: [[a, a], [undefined, undefined]],
    bad: [null, 1n, [a]],
  },
  {
    name: "bufferList",
    param: bufferList,
    good: [[[a, a], [a, a]], [[], []]],
    bad: [a, [1n], undefined],
  },
  {
    name: "bufferOrList",
    param: bufferOrList,
    good: [[a, [a]], [[a, a], [a, a]]],
    bad: [undefined, [a, null], true],
  },
  {
    name: "optionalBoolean",
    param: optionalBoolean(true),
    good: [[false, false], [undefined, true]],
    bad: [1n, a, null],
  },
  {
    name: "int",
    param: int(0, 1),
    good: [[0n, 0], [1n, 1]],
    bad: [2n, -1n, 1, undefined, 2n ** 63n - 1n],
  },
  {
    name: "optionalInt",
    param: optionalInt(0, 9, undefined),
    good: [[undefined, undefined], [9n, 9]],
    bad: [10n, 1.5, a],
  },
];

for (const { name, param, good, bad } of rows) {
  pureTest(
    `${name} takes what it should, and refuses the rest with INVALID and the parameter's name`,
    () => {
      for (const [value, expected] of good) assertEquals(param.read("field", value), expected);
      for (const value of bad) {
        const error = assertThrows(() => param.read("field", value));
        assertInstanceOf(error, BusError);
        assertEquals(error.code, BusErrorCode.INVALID);
        assert(error.message.startsWith("Cannot take parameter field: it must be "), error.message);
      }
    },
  );
}

pureTest("a parameter map is read with its types; unknown parameters are ignored", () => {
  const read = paramsReader({ topic: buffer, qos: optionalInt(0, 1, 0) });
  const params = read(new Map<string, Value>([["topic", a], ["other", null]]));
  const topic: Bytes = params.topic;
  const qos: number = params.qos;
  assertEquals({ topic, qos, keys: Object.keys(params) }, {
    topic: a,
    qos: 0,
    keys: ["topic", "qos"],
  });
});
