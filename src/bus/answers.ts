import type { Bytes } from "../base/bytes.ts";
import { BusError, Code } from "../base/errors.ts";
import { encodeFrame, encodeValueFrame, type Headers } from "../wire/frame.ts";
import type { Value } from "../wire/object.ts";
import { MAX_REASON_LENGTH } from "./limits.ts";

const NO_HEADERS: Headers = new Map();
const NULL_RESULT = encodeValueFrame(null, NO_HEADERS);

/** The frame that tells a client it is subscribed. */
export const ACCEPTED: Bytes = encodeFrame(new Map([["accepted", 1]]));

const plainErrors = new Map<number, Bytes>();

/** The frame of a result. Shared where it always looks the same: never modify it. */
export function resultFrame(value: Value): Bytes {
  return value === null ? NULL_RESULT : encodeValueFrame(value, NO_HEADERS);
}

/** The frame of a refusal, with the `reason` header when the error has a reason. Shared: never modify it. */
export function errorFrame(error: BusError): Bytes {
  if (error.reason !== undefined) {
    const reason = error.reason.slice(0, MAX_REASON_LENGTH).toWellFormed();
    return encodeFrame(
      new Map<string, string | number>([["error", error.code], ["reason", reason]]),
    );
  }
  let frame = plainErrors.get(error.code);
  if (frame === undefined) {
    frame = encodeFrame(new Map([["error", error.code]]));
    plainErrors.set(error.code, frame);
  }
  return frame;
}

/** What a client is told about anything that was thrown: a bug is FAILURE, without details. */
export function asBusError(error: unknown): BusError {
  if (error instanceof BusError) return error;
  return new BusError(Code.FAILURE, "The request failed inside the daemon");
}
