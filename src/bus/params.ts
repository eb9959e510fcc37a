import type { Bytes } from "../base/bytes.ts";
import { BusError, BusErrorCode } from "../base/errors.ts";
import type { Value, ValueMap } from "../wire/object.ts";

/** How one parameter of a method is read from the request's map. */
export interface Param<T> {
  /** The typed value; `value` is `undefined` when the client sent none. Throws INVALID, naming the parameter. */
  read(name: string, value: Value | undefined): T;
}

/** The parameters of a method, by name. */
export type Schema = Readonly<Record<string, Param<unknown>>>;

/** What a handler gets for a schema. */
export type Params<S extends Schema> = {
  readonly [K in keyof S]: S[K] extends Param<infer T> ? T : never;
};

/** A buffer that must be there. A view into the session's buffer: copy what outlives the handler's turn. */
export const buffer: Param<Bytes> = {
  read(name, value): Bytes {
    if (value instanceof Uint8Array) return value;
    throw mismatch(name, "a buffer", value);
  },
};

/** A buffer that may be left out. A view into the session's buffer, as with {@linkcode buffer}. */
export const optionalBuffer: Param<Bytes | undefined> = {
  read: (name, value) => value === undefined ? undefined : buffer.read(name, value),
};

/** A list of buffers that must be there, such as a `key_path`. The buffers are views, as with {@linkcode buffer}. */
export const bufferList: Param<readonly Bytes[]> = {
  read(name, value): readonly Bytes[] {
    if (Array.isArray(value) && value.every((item) => item instanceof Uint8Array)) return value;
    throw mismatch(name, "a list of buffers", value);
  },
};

/** A buffer, or a list of buffers, that must be there; always handed on as a list of views. */
export const bufferOrList: Param<readonly Bytes[]> = {
  read(name, value): readonly Bytes[] {
    if (value instanceof Uint8Array) return [value];
    if (Array.isArray(value)) return bufferList.read(name, value);
    throw mismatch(name, "a buffer or a list of buffers", value);
  },
};

/** A boolean that may be left out. */
export function optionalBoolean(fallback: boolean): Param<boolean> {
  return {
    read(name, value): boolean {
      if (value === undefined) return fallback;
      if (typeof value === "boolean") return value;
      throw mismatch(name, "a boolean", value);
    },
  };
}

/** An int from `min` to `max` (safe integers) that must be there. */
export function int(min: number, max: number): Param<number> {
  return {
    read(name, value): number {
      if (typeof value !== "bigint") throw mismatch(name, "an int", value);
      const number = Number(value);
      if (number >= min && number <= max) return number;
      throw new BusError(
        BusErrorCode.INVALID,
        `Cannot take parameter ${name}: it must be ${min} to ${max}, got ${value}`,
      );
    },
  };
}

/** An int from `min` to `max` (safe integers) that may be left out. */
export function optionalInt<F extends number | undefined>(
  min: number,
  max: number,
  fallback: F,
): Param<number | F> {
  const present = int(min, max);
  return { read: (name, value) => value === undefined ? fallback : present.read(name, value) };
}

/** A list of ints from 0 that may be left out. */
export const optionalInts: Param<readonly number[] | undefined> = {
  read(name, value): readonly number[] | undefined {
    if (value === undefined) return undefined;
    if (!Array.isArray(value)) throw mismatch(name, "a list of ints", value);
    const item = int(0, Number.MAX_SAFE_INTEGER);
    return value.map((one) => item.read(name, one));
  },
};

/** A reader of a whole parameter map; it ignores parameters it does not know, and throws INVALID for the first bad one. */
export function paramsReader<S extends Schema>(schema: S): (map: ValueMap) => Params<S> {
  const entries = Object.entries(schema);
  return (map) => {
    const params: Record<string, unknown> = {};
    for (const [name, param] of entries) params[name] = param.read(name, map.get(name));
    return params as Params<S>;
  };
}

function mismatch(name: string, wanted: string, value: Value | undefined): BusError {
  return new BusError(
    BusErrorCode.INVALID,
    `Cannot take parameter ${name}: it must be ${wanted}, got ${kindOf(value)}`,
  );
}

function kindOf(value: Value | undefined): string {
  if (value === undefined) return "nothing";
  if (value === null) return "null";
  if (value instanceof Uint8Array) return "a buffer";
  if (value instanceof Map) return "a map";
  if (Array.isArray(value)) return "a list";
  return { bigint: "an int", number: "a float", boolean: "a boolean" }[
    typeof value as "bigint" | "number" | "boolean"
  ];
}
