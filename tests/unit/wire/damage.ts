/**
 * Requests with one thing wrong each, and the code that each must get (`core-bus.md`, "What bad input gets").
 * `deno run -W=tests/fixtures tests/unit/wire/damage.ts` writes them to `tests/fixtures/frame-*.bin`.
 *
 * @module
 */

import { type Bytes, concat, utf8 } from "../../../src/base/bytes.ts";
import { BusErrorCode } from "../../../src/base/errors.ts";
import { crc32 } from "../../../src/wire/crc.ts";
import { encodeFrame, encodeValueFrame, type Headers } from "../../../src/wire/frame.ts";
import { encodeValue, type Value } from "../../../src/wire/object.ts";

/** A damaged request. */
export interface Damage {
  /** The part of its file's name after `frame-`. */
  readonly name: string;
  readonly code: BusErrorCode;
  readonly bytes: Bytes;
}

const HEADERS: Headers = new Map<string, string | number>([["method", "publish"], ["type", 1]]);

const PARAMETERS: Value = new Map<string, Value>([
  ["topic", utf8("sensors/temp")],
  ["payload", utf8("21.5")],
  ["qos", 1n],
]);

/** A request that is whole, which each damage starts from. */
export const WHOLE: Bytes = encodeValueFrame(PARAMETERS, HEADERS);

/** A frame around raw header bytes and a payload, its CRCs right. */
export function rawFrame(headers: Bytes, payload: Bytes = new Uint8Array(0)): Bytes {
  const total = 16 + headers.length + payload.length;
  return withMessageCrc(concat([prelude(total, headers.length), headers, payload]));
}

/** The 12 bytes before the headers, their CRC right. */
export function prelude(total: number, headersLength: number): Bytes {
  const bytes = new Uint8Array(12);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, total);
  view.setUint32(4, headersLength);
  view.setUint32(8, crc32(bytes.subarray(0, 8)));
  return bytes;
}

function withMessageCrc(bytes: Bytes): Bytes {
  const crc = new Uint8Array(4);
  new DataView(crc.buffer).setUint32(0, crc32(bytes));
  return concat([bytes, crc]);
}

function flipped(offset: number): Bytes {
  const bytes = WHOLE.slice();
  bytes[offset]! ^= 0x01;
  return bytes;
}

function withPayload(...payload: Bytes[]): Bytes {
  return encodeFrame(HEADERS, concat(payload));
}

/** A value inside `depth` lists. */
export function nested(depth: number, value: Value = null): Value {
  return depth === 0 ? value : [nested(depth - 1, value)];
}

/** The bytes of null inside `depth` lists, which the encoder may refuse to make. */
export function nestedBytes(depth: number): Bytes {
  const bytes = new Uint8Array(depth * 5 + 1);
  for (let i = 0; i < depth; i++) bytes.set([5, 1], i * 5);
  return bytes;
}

function header(name: string, ...typeAndValue: number[]): Bytes {
  return concat([Uint8Array.of(name.length), utf8(name), Uint8Array.from(typeAndValue)]);
}

const PARSE: readonly (readonly [name: string, bytes: Bytes])[] = [
  ["bad-prelude-crc", flipped(8)],
  ["bad-message-crc", flipped(WHOLE.length - 1)],
  ["bad-total", flipped(3)],
  ["bad-headers-length", flipped(7)],
  ["bad-header", flipped(14)],
  ["bad-payload", flipped(WHOLE.length - 10)],
  ["total-below-16", concat([prelude(15, 0), new Uint8Array(3)])],
  ["headers-longer-than-frame", withMessageCrc(concat([prelude(20, 5), new Uint8Array(4)]))],
  ["header-name-cut-off", rawFrame(Uint8Array.of(6, 0x6d, 0x65))],
  ["header-without-type", rawFrame(header("type"))],
  ["header-int32-cut-off", rawFrame(header("type", 4, 0, 0, 0))],
  ["header-string-length-cut-off", rawFrame(header("method", 7, 0))],
  ["header-string-cut-off", rawFrame(header("method", 7, 0, 2, 0x70))],
  ["header-of-type-boolean", rawFrame(header("virtual", 0))],
  ["header-of-type-int64", rawFrame(header("type", 5, 0, 0, 0, 0, 0, 0, 0, 1))],
  ["header-name-not-utf8", rawFrame(Uint8Array.of(1, 0xff, 4, 0, 0, 0, 1))],
  ["header-string-not-utf8", rawFrame(header("method", 7, 0, 2, 0xc3, 0x28))],
  ["bytes-left-over", withPayload(encodeValue(PARAMETERS), Uint8Array.of(0))],
  ["object-cut-off", withPayload(encodeValue(PARAMETERS).subarray(0, -1))],
  ["list-element-missing", withPayload(Uint8Array.of(5, 2, 0, 0, 0, 1, 1))],
  ["count-cut-off", withPayload(Uint8Array.of(6, 0, 0, 0))],
  ["buffer-length-beyond-frame", withPayload(Uint8Array.of(4, 0xff, 0xff, 0xff, 0xff))],
];

/** Every damage. */
export const DAMAGES: readonly Damage[] = [
  ...PARSE.map(([name, bytes]) => ({ name, code: BusErrorCode.PARSE, bytes })),
  { name: "above-limit", code: BusErrorCode.NOMEM, bytes: prelude(1_048_577, 0) },
  {
    name: "list-count-beyond-frame",
    code: BusErrorCode.NOMEM,
    bytes: withPayload(Uint8Array.of(5, 0xff, 0xff, 0xff, 0xff)),
  },
  {
    name: "map-count-beyond-frame",
    code: BusErrorCode.NOMEM,
    bytes: withPayload(Uint8Array.of(6, 2, 0, 0, 0), new Uint8Array(9)),
  },
  { name: "unknown-tag", code: BusErrorCode.INVALID, bytes: withPayload(Uint8Array.of(7)) },
  { name: "nested-16-deep", code: BusErrorCode.RANGE, bytes: withPayload(nestedBytes(16)) },
];

if (import.meta.main) {
  for (const { name, bytes } of DAMAGES) {
    Deno.writeFileSync(new URL(`../../fixtures/frame-${name}.bin`, import.meta.url), bytes);
  }
}
