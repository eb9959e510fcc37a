import type { Level } from "../base/log.ts";

/** Why the connection of a client was closed. */
export type CloseReason =
  /** Everything that was asked for is answered, or it was refused. */
  | { readonly type: "done" }
  /** The client closed or reset it. */
  | { readonly type: "left" }
  /** A fault of this program. */
  | { readonly type: "fault" }
  /** No request came for long. */
  | { readonly type: "idle" }
  /** It did not take what is for it. */
  | { readonly type: "slow"; readonly why: string }
  /** The daemon stops. */
  | { readonly type: "stopped" };

/** How often each reason was the one, since the start. */
export type CloseCounters = Record<CloseReason["type"], number>;

/** Counters that have counted nothing. */
export function noCloses(): CloseCounters {
  return { done: 0, left: 0, fault: 0, idle: 0, slow: 0, stopped: 0 };
}

/** How its line is logged: who is closed against its will is told the operator. */
export function closeLevel({ type }: CloseReason): Level {
  return type === "slow" ? "warn" : "debug";
}
