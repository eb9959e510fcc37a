import type { Bytes } from "../base/bytes.ts";
import { BusError, BusErrorCode } from "../base/errors.ts";
import { encodeFrame, encodeValueFrame, type Headers } from "../wire/frame.ts";
import type { Value } from "../wire/object.ts";
import { MAX_REASON_LENGTH } from "./limits.ts";
import type { Reply } from "./methods.ts";

const NO_HEADERS: Headers = new Map();
const NULL_RESULT = encodeValueFrame(null, NO_HEADERS);

/** The frame that tells a client it is subscribed. */
export const ACCEPTED: Bytes = encodeFrame(new Map([["accepted", 1]]));

const plainErrors = new Map<number, Bytes>();

/** The frame of a result. Shared where it always looks the same: never modify it. */
function resultFrame(value: Value): Bytes {
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
  return new BusError(BusErrorCode.FAILURE, "The request failed inside the daemon");
}

/** The session as its replies see it. */
export interface ReplyOwner {
  /** A reply was settled: those at the head of the queue can go. */
  onSettled(): void;
  /** A request that has no answer was dealt with. */
  onNotified(): void;
  /** A request was refused; `error` is what was thrown, so that a bug can be told from a refusal. */
  onRefused(error: unknown, method: string, notify: boolean): void;
}

/** One call in the order of its session: settled once, at once or later. */
export class PendingReply implements Reply {
  /** What to send: `undefined` while under way, `null` when settled without bytes (`notify`). */
  frame: Bytes | null | undefined = undefined;
  /** Whether the connection ends after this answer. */
  last = false;

  constructor(
    private readonly owner: ReplyOwner,
    private readonly method: string,
    readonly notify: boolean,
  ) {}

  respond(value: Value): void {
    if (this.frame !== undefined) return;
    if (this.notify) return this.#notified();
    try {
      this.frame = resultFrame(value);
    } catch (error) {
      this.fail(error);
      return;
    }
    this.owner.onSettled();
  }

  refuse(error: BusError): void {
    this.fail(error);
  }

  /** Settles with anything that was thrown. */
  fail(error: unknown): void {
    if (this.frame !== undefined) return;
    this.owner.onRefused(error, this.method, this.notify);
    if (this.notify) return this.#notified();
    this.frame = errorFrame(asBusError(error));
    this.last = true;
    this.owner.onSettled();
  }

  #notified(): void {
    this.frame = null;
    this.owner.onNotified();
  }
}
