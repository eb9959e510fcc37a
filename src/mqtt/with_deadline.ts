import type { Clock } from "../base/clock.ts";
import { ConnectError, fromSocketError, type Stage } from "./connect_error.ts";

/** One step of an attempt to connect. */
export interface DeadlineOptions {
  readonly stage: Stage;
  /** The peer, for messages. */
  readonly where: string;
  /** What is waited for, for the message of a timeout: `the TLS handshake`. */
  readonly what: string;
  /** The longest it may take, in ms. */
  readonly ms: number;
  readonly clock: Clock;
  /** Gives the attempt up. */
  readonly signal?: AbortSignal | undefined;
}

/**
 * Runs one step with a deadline. `start` gets what ends the step well or badly, and returns what to undo either way.
 *
 * @throws {ConnectError} By the returned promise, whatever `start` failed with.
 */
export function withDeadline<T>(
  options: DeadlineOptions,
  start: (done: (value: T) => void, fail: (error: unknown) => void) => () => void,
): Promise<T> {
  const { stage, where, what, ms, clock, signal } = options;
  return new Promise((resolve, reject) => {
    let undo = (): void => {};
    let over = false;
    const settle = (): boolean => {
      if (over) return false;
      over = true;
      timer.cancel();
      signal?.removeEventListener("abort", abort);
      undo();
      return true;
    };
    const fail = (error: unknown): void => {
      if (settle()) reject(fromSocketError(stage, where, error));
    };
    const abort = (): void => fail(new ConnectError(stage, "aborted", `${what} was given up`));
    const timer = clock.after(ms, () => {
      fail(new ConnectError(stage, "timeout", `${where}: ${what} took longer than ${ms} ms`));
    });
    if (signal?.aborted) return abort();
    signal?.addEventListener("abort", abort);
    undo = start((value) => {
      if (settle()) resolve(value);
    }, fail);
    if (over) undo();
  });
}
