import { type Awaitable, StorageError } from "./storage.ts";

/**
 * Calls `done` with what `run` gives, at once if it is there, or `failed` with the error of the storage. Any other error is a fault of
 * this program, and nobody's to catch.
 */
export function whenDone<T>(
  run: () => Awaitable<T>,
  done: (value: T, isLate: boolean) => void,
  failed: (error: StorageError) => void,
): void {
  const fail = (error: unknown): void => {
    if (!(error instanceof StorageError)) throw error;
    failed(error);
  };
  let value: Awaitable<T>;
  try {
    value = run();
  } catch (error) {
    return fail(error);
  }
  if (value instanceof Promise) value.then((late) => done(late, true), fail);
  else done(value, false);
}
