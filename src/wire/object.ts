import type { Bytes } from "../base/bytes.ts";
import { BusError, BusErrorCode } from "../base/errors.ts";
import { shortAscii, textLength, writeText } from "../base/bytes.ts";

/**
 * A Greengrass object: null, boolean, int64 (`bigint`), float64 (`number`), buffer, list or map.
 * Text travels as a buffer.
 */
export type Value = null | boolean | bigint | number | Bytes | Value[] | ValueMap;

/** A map of a Greengrass object; its entries keep their order on the wire. */
export type ValueMap = Map<string, Value>;

/** How many lists and maps may lie in each other. */
export const MAX_DEPTH = 15;

const Tag = { NULL: 0, BOOLEAN: 1, INT64: 2, FLOAT64: 3, BUFFER: 4, LIST: 5, MAP: 6 } as const;

const INT64_MIN = -(2n ** 63n);
const INT64_MAX = 2n ** 63n - 1n;

/** Least bytes of a list element (its tag) and of a map entry (the length of its key, and a tag). */
const ELEMENT_BYTES = 1;
const ENTRY_BYTES = 5;

/** Keys name parameters: one that is not UTF-8 names none, which is for the method to say. */
const keyDecoder = new TextDecoder("utf-8", { ignoreBOM: true });

/** A DataView over each message would cost more than copying its few numbers. */
const number = new DataView(new ArrayBuffer(8));
const numberBytes = new Uint8Array(number.buffer);

/**
 * The bytes of a value.
 *
 * @throws {BusError} RANGE when it is nested deeper than 15 or holds an integer beyond int64.
 */
export function encodeValue(value: Value): Bytes {
  const bytes = new Uint8Array(valueLength(value));
  writeValue(value, bytes, 0);
  return bytes;
}

/**
 * How many bytes {@linkcode writeValue} needs.
 *
 * @throws {BusError} RANGE when the value is nested deeper than 15 or holds an integer beyond int64.
 */
export function valueLength(value: Value, depth = 1): number {
  if (value === null) return 1;
  if (typeof value === "boolean") return 2;
  if (typeof value === "number") return 9;
  if (typeof value === "bigint") {
    if (value >= INT64_MIN && value <= INT64_MAX) return 9;
    throw new BusError(BusErrorCode.RANGE, "Cannot write an integer: it must fit in 64 bits");
  }
  if (value instanceof Uint8Array) return 5 + value.length;
  checkDepth(depth, "write");
  let length = 5;
  if (Array.isArray(value)) {
    for (const element of value) length += valueLength(element, depth + 1);
  } else {
    for (const [key, entry] of value) {
      length += 4 + textLength(key) + valueLength(entry, depth + 1);
    }
  }
  return length;
}

/** Writes a value into bytes that have room for its {@linkcode valueLength}; returns the offset after it. */
export function writeValue(value: Value, bytes: Bytes, at: number): number {
  if (value === null) {
    bytes[at] = Tag.NULL;
    return at + 1;
  }
  if (typeof value === "boolean") {
    bytes[at] = Tag.BOOLEAN;
    bytes[at + 1] = value ? 1 : 0;
    return at + 2;
  }
  if (typeof value === "bigint") {
    number.setBigInt64(0, value, true);
    return writeNumber(Tag.INT64, bytes, at);
  }
  if (typeof value === "number") {
    number.setFloat64(0, value, true);
    return writeNumber(Tag.FLOAT64, bytes, at);
  }
  if (value instanceof Uint8Array) {
    bytes.set(value, writeHead(Tag.BUFFER, value.length, bytes, at));
    return at + 5 + value.length;
  }
  if (Array.isArray(value)) {
    at = writeHead(Tag.LIST, value.length, bytes, at);
    for (const element of value) at = writeValue(element, bytes, at);
    return at;
  }
  at = writeHead(Tag.MAP, value.size, bytes, at);
  for (const [key, entry] of value) {
    const end = writeText(key, bytes, at + 4);
    writeUint32(end - at - 4, bytes, at);
    at = writeValue(entry, bytes, end);
  }
  return at;
}

/**
 * The value that bytes hold. Its buffers are views of them; the first of two equal keys counts, as in C.
 *
 * @throws {BusError} PARSE when the bytes end too early or too late, INVALID for an unknown tag, NOMEM for a count that
 * they cannot hold, RANGE when nested deeper than 15.
 */
export function decodeValue(bytes: Bytes): Value {
  const reader = new ValueReader(bytes);
  const value = reader.value(1);
  if (reader.left > 0) {
    throw new BusError(
      BusErrorCode.PARSE,
      `Cannot read a value: it must end its bytes, got ${reader.left} more`,
    );
  }
  return value;
}

/** Reads values one after another; the offset lives here because each value says where the next one starts. */
class ValueReader {
  readonly #bytes: Bytes;
  #at = 0;

  constructor(bytes: Bytes) {
    this.#bytes = bytes;
  }

  get left(): number {
    return this.#bytes.length - this.#at;
  }

  value(depth: number): Value {
    const tag = this.#bytes[this.#take(1)];
    switch (tag) {
      case Tag.NULL:
        return null;
      case Tag.BOOLEAN:
        return this.#bytes[this.#take(1)] !== 0;
      case Tag.INT64:
        this.#number();
        return number.getBigInt64(0, true);
      case Tag.FLOAT64:
        this.#number();
        return number.getFloat64(0, true);
      case Tag.BUFFER: {
        const length = this.#uint32();
        const start = this.#take(length);
        return this.#bytes.subarray(start, start + length);
      }
      case Tag.LIST:
        return this.#list(depth);
      case Tag.MAP:
        return this.#map(depth);
      default:
        throw new BusError(
          BusErrorCode.INVALID,
          `Cannot read a value: its tag must be 0 to 6, got ${tag}`,
        );
    }
  }

  #list(depth: number): Value[] {
    const count = this.#count(ELEMENT_BYTES);
    checkDepth(depth, "read");
    const list: Value[] = [];
    for (let i = 0; i < count; i++) list.push(this.value(depth + 1));
    return list;
  }

  #map(depth: number): ValueMap {
    const count = this.#count(ENTRY_BYTES);
    checkDepth(depth, "read");
    const map: ValueMap = new Map();
    for (let i = 0; i < count; i++) {
      const key = this.#key();
      const value = this.value(depth + 1);
      if (!map.has(key)) map.set(key, value);
    }
    return map;
  }

  #key(): string {
    const length = this.#uint32();
    const start = this.#take(length);
    const end = start + length;
    return shortAscii(this.#bytes, start, end) ??
      keyDecoder.decode(this.#bytes.subarray(start, end));
  }

  #count(leastBytes: number): number {
    const count = this.#uint32();
    if (count * leastBytes > this.left) {
      throw new BusError(
        BusErrorCode.NOMEM,
        `Cannot read a list or map: its count must fit in the ${this.left} bytes left, got ${count}`,
      );
    }
    return count;
  }

  #uint32(): number {
    const at = this.#take(4);
    const bytes = this.#bytes;
    return (bytes[at]! | bytes[at + 1]! << 8 | bytes[at + 2]! << 16 | bytes[at + 3]! << 24) >>> 0;
  }

  #number(): void {
    const at = this.#take(8);
    for (let i = 0; i < 8; i++) numberBytes[i] = this.#bytes[at + i]!;
  }

  #take(length: number): number {
    const at = this.#at;
    if (length > this.left) {
      throw new BusError(
        BusErrorCode.PARSE,
        `Cannot read a value: it must have ${length} more bytes, got ${this.left}`,
      );
    }
    this.#at = at + length;
    return at;
  }
}

function checkDepth(depth: number, verb: "read" | "write"): void {
  if (depth <= MAX_DEPTH) return;
  throw new BusError(
    BusErrorCode.RANGE,
    `Cannot ${verb} a value: it must be nested at most ${MAX_DEPTH} deep, got more`,
  );
}

function writeHead(tag: number, length: number, bytes: Bytes, at: number): number {
  bytes[at] = tag;
  writeUint32(length, bytes, at + 1);
  return at + 5;
}

function writeUint32(uint32: number, bytes: Bytes, at: number): void {
  bytes[at] = uint32;
  bytes[at + 1] = uint32 >>> 8;
  bytes[at + 2] = uint32 >>> 16;
  bytes[at + 3] = uint32 >>> 24;
}

function writeNumber(tag: number, bytes: Bytes, at: number): number {
  bytes[at] = tag;
  for (let i = 0; i < 8; i++) bytes[at + 1 + i] = numberBytes[i]!;
  return at + 9;
}
