import { BusError, BusErrorCode } from "../base/errors.ts";
import type { Frame } from "../wire/frame.ts";
import { decodeValue, type ValueMap } from "../wire/object.ts";
import type { CallMethod, Method, MethodTable, SubscribeMethod } from "./methods.ts";

/** Values of the `type` header. */
export const RequestType = { NOTIFY: 0, CALL: 1, SUBSCRIBE: 2 } as const;

/** One of the values of {@linkcode RequestType}. */
export type RequestType = typeof RequestType[keyof typeof RequestType];

/** A request that names a method of the table, in the way that the method is meant. */
export interface Request {
  readonly name: string;
  readonly method: CallMethod | SubscribeMethod;
  /** Views into the frame. */
  readonly map: ValueMap;
}

/** How the client wants its answer. Throws INVALID. */
export function requestType({ headers }: Frame): RequestType {
  const type = headers.get("type");
  if (type === RequestType.CALL || type === RequestType.NOTIFY || type === RequestType.SUBSCRIBE) {
    return type;
  }
  throw new BusError(
    BusErrorCode.INVALID,
    `Cannot take request: header type must be an int32 of 0 to 2, got ${
      typeof type === "number" ? type : kindOf(type)
    }`,
  );
}

/** Looks the request up in the table. Throws {@linkcode BusError} as the table of core-bus.md says. */
export function readRequest(frame: Frame, type: RequestType, table: MethodTable): Request {
  const name = frame.headers.get("method");
  if (typeof name !== "string") {
    throw new BusError(
      BusErrorCode.INVALID,
      `Cannot take request: header method must be a string, got ${kindOf(name)}`,
    );
  }
  const map = readMap(frame);
  const method = Object.hasOwn(table, name) ? table[name] : undefined;
  if (method === undefined) {
    throw new BusError(
      BusErrorCode.NOENTRY,
      `Cannot find method: ${name.length} characters name none`,
    );
  }
  return { name, method: chosen(name, method, type), map };
}

function chosen(name: string, method: Method, type: RequestType): CallMethod | SubscribeMethod {
  const wanted = type === RequestType.SUBSCRIBE ? "subscribe" : "call";
  if (method.kind === "either") return method[wanted];
  if (method.kind === wanted) return method;
  throw new BusError(
    BusErrorCode.INVALID,
    `Cannot take request: method ${name} must be used by ${method.kind}`,
  );
}

function readMap({ payload }: Frame): ValueMap {
  if (payload.length === 0) return new Map();
  const value = decodeValue(payload);
  if (value instanceof Map) return value;
  throw new BusError(BusErrorCode.INVALID, "Cannot take request: the payload must be a map");
}

function kindOf(header: string | number | undefined): string {
  if (header === undefined) return "none";
  return typeof header === "string" ? "a string" : "an int32";
}
