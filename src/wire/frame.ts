/**
 * The bytes of the core bus: frames here, the objects in their payloads beside it.
 *
 * @module
 */

import { type Bytes, fromUtf8 } from "../base/bytes.ts";
import { BusError, BusErrorCode } from "../base/errors.ts";
import { textLength, writeText } from "../base/bytes.ts";
import { crc32 } from "./crc.ts";
import { type Value, valueLength, writeValue } from "./object.ts";

/** The headers of a frame: strings, and numbers that are int32. Names are at most 255 bytes, strings 65,535. */
export type Headers = ReadonlyMap<string, string | number>;

/** One message of the core bus. */
export interface Frame {
  /** Of two headers of the same name, the last one. */
  readonly headers: Headers;
  readonly payload: Bytes;
}

/** The largest frame that is read, in bytes: a payload of 128 KiB in its envelope, and room to spare. */
export const MAX_FRAME_BYTES = 1_048_576;

/** Bytes before the headers: total length, headers length, and the CRC of these. */
export const PRELUDE_BYTES = 12;

const CRC_BYTES = 4;
const MIN_FRAME_BYTES = PRELUDE_BYTES + CRC_BYTES;

const TYPE_INT32 = 4;
const TYPE_STRING = 7;

const NO_HEADERS: Headers = new Map();
const NO_PAYLOAD: Bytes = new Uint8Array(0);

/**
 * The bytes of a frame.
 *
 * @throws {BusError} RANGE when a header is too long or its number is not an int32.
 */
export function encodeFrame(headers: Headers, payload: Bytes = NO_PAYLOAD): Bytes {
  const frame = allocate(headers, payload.length);
  frame.set(payload, frame.length - CRC_BYTES - payload.length);
  return seal(frame);
}

/**
 * The bytes of a frame whose payload is a value, without a copy of the encoded value.
 *
 * @throws {BusError} RANGE as {@linkcode encodeFrame} and `encodeValue` do.
 */
export function encodeValueFrame(value: Value, headers: Headers = NO_HEADERS): Bytes {
  const length = valueLength(value);
  const frame = allocate(headers, length);
  writeValue(value, frame, frame.length - CRC_BYTES - length);
  return seal(frame);
}

/**
 * The frame that bytes hold from their first to their last. Its payload is a view of them.
 *
 * @throws {BusError} PARSE when they are not one whole, undamaged frame; NOMEM above {@linkcode MAX_FRAME_BYTES}.
 */
export function decodeFrame(bytes: Bytes): Frame {
  if (bytes.length < PRELUDE_BYTES) throw parseError("length", `at least 16`, bytes.length);
  const total = checkPrelude(bytes, 0, MAX_FRAME_BYTES);
  if (total !== bytes.length) throw parseError("length", `the announced ${total}`, bytes.length);
  return decodeFrameAt(bytes, 0, total);
}

/**
 * Checks the 12 bytes at an offset and returns the total length that they announce.
 *
 * @throws {BusError} PARSE when they are damaged or contradict themselves, NOMEM when the frame is above the limit.
 */
export function checkPrelude(bytes: Bytes, at: number, maxFrameBytes: number): number {
  const expected = crc32(bytes.subarray(at, at + 8));
  const crc = readUint32(bytes, at + 8);
  if (crc !== expected) throw parseError("prelude CRC", expected, crc);
  const total = readUint32(bytes, at);
  if (total < MIN_FRAME_BYTES) throw parseError("length", `at least ${MIN_FRAME_BYTES}`, total);
  const headersLength = readUint32(bytes, at + 4);
  if (headersLength > total - MIN_FRAME_BYTES) {
    throw parseError("headers length", `at most ${total - MIN_FRAME_BYTES}`, headersLength);
  }
  if (total > maxFrameBytes) {
    throw new BusError(
      BusErrorCode.NOMEM,
      `Cannot read a frame: its length must be at most ${maxFrameBytes}, got ${total}`,
    );
  }
  return total;
}

/**
 * The frame of `total` bytes at an offset, after {@linkcode checkPrelude}. Its payload is a view of the bytes.
 *
 * @throws {BusError} PARSE when the message CRC or a header is damaged.
 */
export function decodeFrameAt(bytes: Bytes, at: number, total: number): Frame {
  const end = at + total - CRC_BYTES;
  const expected = crc32(bytes.subarray(at, end));
  const crc = readUint32(bytes, end);
  if (crc !== expected) throw parseError("message CRC", expected, crc);
  const headersStart = at + PRELUDE_BYTES;
  const headersEnd = headersStart + readUint32(bytes, at + 4);
  return {
    headers: headersStart === headersEnd
      ? NO_HEADERS
      : decodeHeaders(bytes, headersStart, headersEnd),
    payload: bytes.subarray(headersEnd, end),
  };
}

function decodeHeaders(bytes: Bytes, at: number, end: number): Headers {
  const headers = new Map<string, string | number>();
  while (at < end) {
    const nameEnd = at + 1 + bytes[at]!;
    const valueStart = nameEnd + 1;
    checkHeaderEnd(valueStart, end);
    const name = readText(bytes, at + 1, nameEnd);
    const type = bytes[nameEnd];
    if (type === TYPE_INT32) {
      at = valueStart + 4;
      checkHeaderEnd(at, end);
      headers.set(name, readUint32(bytes, valueStart) | 0);
    } else if (type === TYPE_STRING) {
      const start = valueStart + 2;
      checkHeaderEnd(start, end);
      at = start + (bytes[valueStart]! << 8 | bytes[valueStart + 1]!);
      checkHeaderEnd(at, end);
      headers.set(name, readText(bytes, start, at));
    } else {
      throw parseError("header type", "4 or 7", type);
    }
  }
  return headers;
}

function checkHeaderEnd(at: number, end: number): void {
  if (at > end) throw parseError("last header", "whole", `${at - end} bytes too few`);
}

function readText(bytes: Bytes, start: number, end: number): string {
  const text = fromUtf8(bytes, start, end);
  if (text === undefined) throw parseError("header text", "UTF-8", `${end - start} other bytes`);
  return text;
}

function parseError(
  what: string,
  rule: string | number,
  got: string | number | undefined,
): BusError {
  return new BusError(
    BusErrorCode.PARSE,
    `Cannot read a frame: its ${what} must be ${rule}, got ${got}`,
  );
}

/** A frame with its prelude and headers written, and room for a payload and the CRC. */
function allocate(headers: Headers, payloadLength: number): Bytes {
  let headersLength = 0;
  for (const [name, value] of headers) headersLength += headerLength(name, value);
  const frame = new Uint8Array(MIN_FRAME_BYTES + headersLength + payloadLength);
  writeUint32(frame.length, frame, 0);
  writeUint32(headersLength, frame, 4);
  writeUint32(crc32(frame.subarray(0, 8)), frame, 8);
  let at = PRELUDE_BYTES;
  for (const [name, value] of headers) at = writeHeader(name, value, frame, at);
  return frame;
}

function headerLength(name: string, value: string | number): number {
  const nameLength = textLength(name);
  if (nameLength > 0xff) throw headerError("name", "at most 255 bytes", nameLength);
  if (typeof value === "number") {
    if (value !== (value | 0)) throw headerError("number", "an int32", value);
    return 1 + nameLength + 1 + 4;
  }
  const length = textLength(value);
  if (length > 0xffff) throw headerError("string", "at most 65535 bytes", length);
  return 1 + nameLength + 1 + 2 + length;
}

function headerError(what: string, rule: string, got: number): BusError {
  return new BusError(
    BusErrorCode.RANGE,
    `Cannot write a header: its ${what} must be ${rule}, got ${got}`,
  );
}

function writeHeader(name: string, value: string | number, bytes: Bytes, at: number): number {
  const nameEnd = writeText(name, bytes, at + 1);
  bytes[at] = nameEnd - at - 1;
  if (typeof value === "number") {
    bytes[nameEnd] = TYPE_INT32;
    writeUint32(value, bytes, nameEnd + 1);
    return nameEnd + 5;
  }
  bytes[nameEnd] = TYPE_STRING;
  const end = writeText(value, bytes, nameEnd + 3);
  const length = end - nameEnd - 3;
  bytes[nameEnd + 1] = length >>> 8;
  bytes[nameEnd + 2] = length;
  return end;
}

/** Writes the CRC of a frame into its last four bytes. */
function seal(frame: Bytes): Bytes {
  const end = frame.length - CRC_BYTES;
  writeUint32(crc32(frame.subarray(0, end)), frame, end);
  return frame;
}

function readUint32(bytes: Bytes, at: number): number {
  return (bytes[at]! << 24 | bytes[at + 1]! << 16 | bytes[at + 2]! << 8 | bytes[at + 3]!) >>> 0;
}

function writeUint32(uint32: number, bytes: Bytes, at: number): void {
  bytes[at] = uint32 >>> 24;
  bytes[at + 1] = uint32 >>> 16;
  bytes[at + 2] = uint32 >>> 8;
  bytes[at + 3] = uint32;
}
