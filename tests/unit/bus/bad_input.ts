import { BusErrorCode } from "../../../src/base/errors.ts";
import { type Bytes, concat, utf8 } from "../../../src/base/bytes.ts";
import { crc32 } from "../../../src/wire/crc.ts";
import { encodeFrame, MAX_FRAME_BYTES } from "../../../src/wire/frame.ts";
import { encodeValue, type Value } from "../../../src/wire/object.ts";
import { request } from "./harness.ts";

/** One row of the table of bad input in core-bus.md. */
export interface BadInput {
  readonly name: string;
  readonly bytes: Bytes;
  readonly code: BusErrorCode;
}

/** All rows, for a table with the call `publish` (topic buffer, qos int) and the subscription `values`. */
export function badInputs(): BadInput[] {
  const topic = { topic: utf8("a") };
  const good = request(1, "publish", topic);
  const payload = encodeValue(new Map(Object.entries(topic)));
  return [
    { name: "a wrong prelude CRC", bytes: changed(good, 8), code: BusErrorCode.PARSE },
    {
      name: "a wrong message CRC",
      bytes: changed(good, good.length - 1),
      code: BusErrorCode.PARSE,
    },
    { name: "a total below 16", bytes: prelude(15, 0), code: BusErrorCode.PARSE },
    { name: "headers longer than the frame", bytes: prelude(16, 1), code: BusErrorCode.PARSE },
    { name: "a header cut off", bytes: rawFrame([6, 109, 101], payload), code: BusErrorCode.PARSE },
    {
      name: "a header of type 6",
      bytes: rawFrame([1, 109, 6, 0, 0], payload),
      code: BusErrorCode.PARSE,
    },
    {
      name: "bytes left over after the object",
      bytes: publishWith(concat([payload, new Uint8Array(1)])),
      code: BusErrorCode.PARSE,
    },
    {
      name: "an object cut off",
      bytes: publishWith(payload.slice(0, payload.length - 1)),
      code: BusErrorCode.PARSE,
    },
    {
      name: "a frame over the limit",
      bytes: prelude(MAX_FRAME_BYTES + 1, 0),
      code: BusErrorCode.NOMEM,
    },
    {
      name: "a list count beyond the bytes",
      bytes: publishWith(Uint8Array.of(5, 255, 255, 255, 255)),
      code: BusErrorCode.NOMEM,
    },
    {
      name: "a map count beyond the bytes",
      bytes: publishWith(Uint8Array.of(6, 255, 255, 255, 127)),
      code: BusErrorCode.NOMEM,
    },
    { name: "no method", bytes: withHeaders([["type", 1]], payload), code: BusErrorCode.INVALID },
    {
      name: "a method that is a number",
      bytes: withHeaders([["type", 1], ["method", 1]], payload),
      code: BusErrorCode.INVALID,
    },
    {
      name: "no type",
      bytes: withHeaders([["method", "publish"]], payload),
      code: BusErrorCode.INVALID,
    },
    {
      name: "a type that is a string",
      bytes: withHeaders([["type", "1"], ["method", "publish"]], payload),
      code: BusErrorCode.INVALID,
    },
    { name: "type 3", bytes: request(3, "publish", topic), code: BusErrorCode.INVALID },
    { name: "type -1", bytes: request(-1, "publish", topic), code: BusErrorCode.INVALID },
    {
      name: "a payload that is a list",
      bytes: publishWith(encodeValue([])),
      code: BusErrorCode.INVALID,
    },
    { name: "an unknown tag", bytes: publishWith(Uint8Array.of(7)), code: BusErrorCode.INVALID },
    { name: "call on a subscription", bytes: request(1, "values"), code: BusErrorCode.INVALID },
    {
      name: "subscribe on a call",
      bytes: request(2, "publish", topic),
      code: BusErrorCode.INVALID,
    },
    { name: "a missing parameter", bytes: request(1, "publish"), code: BusErrorCode.INVALID },
    {
      name: "a parameter of the wrong type",
      bytes: request(1, "publish", { topic: 1n }),
      code: BusErrorCode.INVALID,
    },
    {
      name: "a parameter out of its range",
      bytes: request(1, "publish", { ...topic, qos: 2n }),
      code: BusErrorCode.INVALID,
    },
    { name: "an empty payload", bytes: publishWith(new Uint8Array(0)), code: BusErrorCode.INVALID },
    { name: "nesting deeper than 15", bytes: publishWith(nested(16)), code: BusErrorCode.RANGE },
    { name: "an unknown method", bytes: request(1, "nothing"), code: BusErrorCode.NOENTRY },
    {
      name: "a method named as an object's property",
      bytes: request(1, "constructor"),
      code: BusErrorCode.NOENTRY,
    },
  ];
}

function changed(frame: Bytes, at: number): Bytes {
  const copy = frame.slice();
  copy[at]! ^= 1;
  return copy;
}

function prelude(total: number, headers: number): Bytes {
  const bytes = new Uint8Array(16);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, total);
  view.setUint32(4, headers);
  view.setUint32(8, crc32(bytes.subarray(0, 8)));
  return bytes;
}

/** A frame with headers as raw bytes and right CRCs. */
function rawFrame(headers: number[], payload: Bytes): Bytes {
  const total = 16 + headers.length + payload.length;
  const start = prelude(total, headers.length).slice(0, 12);
  const body = concat([start, Uint8Array.from(headers), payload]);
  const crc = new Uint8Array(4);
  new DataView(crc.buffer).setUint32(0, crc32(body));
  return concat([body, crc]);
}

function withHeaders(headers: [string, string | number][], payload: Bytes): Bytes {
  return encodeFrame(new Map(headers), payload);
}

function publishWith(payload: Bytes): Bytes {
  return withHeaders([["method", "publish"], ["type", 1]], payload);
}

/** Written by hand, as the encoder refuses it. */
function nested(depth: number): Bytes {
  const value: Value = [];
  const list = Uint8Array.of(5, 1, 0, 0, 0);
  return concat([...new Array<Bytes>(depth - 1).fill(list), encodeValue(value)]);
}
