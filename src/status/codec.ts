import { fromUtf8, utf8 } from "../base/bytes.ts";
import { BusError, BusErrorCode } from "../base/errors.ts";
import type { Value, ValueMap } from "../wire/object.ts";
import { type Fields, type Leaf, type Row, STATUS_FIELDS } from "./metrics.ts";
import type { Status } from "./types.ts";

/** What {@linkcode toValue} takes. */
type Plain = null | boolean | number | string | readonly Plain[] | {
  readonly [name: string]: Plain;
};

/** A status as it travels. */
export function statusValue(status: Status): Value {
  return toValue(status as unknown as Plain);
}

/**
 * Reads a status; what a daemon of another version does not say is 0, empty or `null`.
 *
 * @throws {BusError} PARSE when it is no map
 */
export function readStatus(value: Value): Status {
  if (value instanceof Map) return readFields(value, STATUS_FIELDS) as unknown as Status;
  throw new BusError(BusErrorCode.PARSE, "Cannot read status: it must be a map");
}

function toValue(plain: Plain): Value {
  if (typeof plain === "string") return utf8(plain);
  if (typeof plain === "number") return BigInt(Math.round(plain));
  if (plain === null || typeof plain === "boolean") return plain;
  if (Array.isArray(plain)) return plain.map(toValue);
  return new Map(Object.entries(plain).map(([name, value]) => [name, toValue(value)]));
}

function readFields(map: ValueMap, fields: Fields): Readonly<Record<string, unknown>> {
  return Object.fromEntries(
    Object.entries(fields).map(([name, row]) => [name, readRow(map.get(name), row)]),
  );
}

function readRow(value: Value | undefined, row: Row): unknown {
  if ("section" in row) return readFields(value instanceof Map ? value : new Map(), row.section);
  if ("kind" in row) return readLeaf(value, row);
  const items = Array.isArray(value) ? value.filter((item) => item instanceof Map) : [];
  return items.map((item) => readFields(item, row.list));
}

function readLeaf(value: Value | undefined, { kind, optional }: Leaf): unknown {
  if (optional && (value ?? null) === null) return null;
  if (kind === "boolean") return value === true;
  if (kind === "text") return value instanceof Uint8Array ? fromUtf8(value) ?? "" : "";
  return typeof value === "bigint" || typeof value === "number" ? Number(value) : 0;
}
