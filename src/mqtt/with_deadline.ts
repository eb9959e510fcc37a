import type { Clock } from "../base/clock.ts";
import { ConnectError, faultIn, fromSocketError, type Stage } from "./connect_error.ts";

/** Called with the name of a callback as it begins, so that a test can throw there; the program itself runs without one. */
export type CallbackHook = (callback: string) => void;

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
  readonly hook?: CallbackHook | undefined;
}

/** What ends a step. */
export interface Ending<T> {
  done(value: T): void;
  fail(error: unknown): void;
  /** A callback for a library: what it throws fails the step. `name` is said then. */
  guarded<A extends unknown[]>(name: string, callback: (...args: A) => void): (...args: A) => void;
}

/**
 * Runs one step with a deadline. `start` gets what ends the step well or badly, and returns what to undo either way.
 *
 * @throws {ConnectError} By the returned promise, whatever `start` failed with.
 */
export function withDeadline<T>(
  options: DeadlineOptions,
  start: (ending: Ending<T>) => () => void,
): Promise<T> {
  const { stage, where, what, ms, clock, signal, hook } = options;
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
    const done = (value: T): void => {
      if (settle()) resolve(value);
    };
    const fail = (error: unknown): void => {
      if (settle()) reject(fromSocketError(stage, where, error));
    };
    const guarded: Ending<T>["guarded"] = (name, callback) => (...args) => {
      try {
        hook?.(`${stage} ${name}`);
        callback(...args);
      } catch (error) {
        fail(error instanceof ConnectError ? error : faultIn(stage, where, name, error));
      }
    };
    const abort = (): void => fail(new ConnectError(stage, "aborted", `${what} was given up`));
    const timer = clock.after(ms, () => {
      fail(new ConnectError(stage, "timeout", `${where}: ${what} took longer than ${ms} ms`));
    });
    if (signal?.aborted) return abort();
    signal?.addEventListener("abort", abort);
    guarded("start", () => void (undo = start({ done, fail, guarded })))();
    if (over) undo();
  });
}
