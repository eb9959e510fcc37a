import type { Bytes } from "../base/bytes.ts";
import type { BusError } from "../base/errors.ts";
import type { Value } from "../wire/object.ts";
import { asBusError, errorFrame, resultFrame } from "./answers.ts";
import type { Reply } from "./methods.ts";

/** The session as its replies see it. */
export interface ReplyOwner {
  readonly id: number;
  /** A reply was settled: those at the head of the queue can go. */
  onSettled(): void;
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

  get client(): number {
    return this.owner.id;
  }

  respond(value: Value): void {
    if (this.frame !== undefined) return;
    if (this.notify) {
      this.frame = null;
    } else {
      try {
        this.frame = resultFrame(value);
      } catch (error) {
        this.fail(error);
        return;
      }
    }
    this.owner.onSettled();
  }

  refuse(error: BusError): void {
    this.fail(error);
  }

  /** Settles with anything that was thrown. */
  fail(error: unknown): void {
    if (this.frame !== undefined) return;
    this.frame = this.notify ? null : errorFrame(asBusError(error));
    this.last = !this.notify;
    this.owner.onRefused(error, this.method, this.notify);
    this.owner.onSettled();
  }
}
