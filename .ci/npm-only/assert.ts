/**
 * Stand-ins for the assertions of `@std/assert` that the tests use, over `node:assert`, for networks where JSR cannot be
 * reached.
 *
 * @module
 */

import nodeAssert, { AssertionError } from "node:assert";

/** A class, for {@linkcode assertInstanceOf} and friends. */
// deno-lint-ignore no-explicit-any -- constructors of every kind
type Class<T> = abstract new (...args: any[]) => T;

function check(condition: boolean, what: string, message?: string): asserts condition {
  if (!condition) {
    throw new AssertionError({ message: message === undefined ? what : `${what}: ${message}` });
  }
}

function failure(message?: string): AssertionError | undefined {
  return message === undefined ? undefined : new AssertionError({ message });
}

/** Fails unless the expression is truthy. */
export function assert(expr: unknown, message = ""): asserts expr {
  if (!expr) throw new AssertionError({ message });
}

/** Fails with a message. */
export function fail(message?: string): never {
  throw new AssertionError({ message: `Failed assertion${message ? `: ${message}` : "."}` });
}

/** Fails unless both are equal, deeply. */
export function assertEquals<T>(actual: T, expected: T, message?: string): void {
  nodeAssert.deepStrictEqual(actual, expected, failure(message));
}

/** Fails if both are equal, deeply. */
export function assertNotEquals<T>(actual: T, expected: T, message?: string): void {
  nodeAssert.notDeepStrictEqual(actual, expected, failure(message));
}

/** Fails unless both are the same value. */
export function assertStrictEquals<T>(
  actual: unknown,
  expected: T,
  message?: string,
): asserts actual is T {
  nodeAssert.strictEqual(actual, expected, failure(message));
}

/** Fails if the value is null or undefined. */
export function assertExists<T>(actual: T, message?: string): asserts actual is NonNullable<T> {
  check(actual !== undefined && actual !== null, `Expected a value, got ${actual}`, message);
}

/** Fails unless `actual > expected`. */
export function assertGreater<T>(actual: T, expected: T, message?: string): void {
  check(actual > expected, `Expected ${actual} > ${expected}`, message);
}

/** Fails unless `actual >= expected`. */
export function assertGreaterOrEqual<T>(actual: T, expected: T, message?: string): void {
  check(actual >= expected, `Expected ${actual} >= ${expected}`, message);
}

/** Fails unless `actual < expected`. */
export function assertLess<T>(actual: T, expected: T, message?: string): void {
  check(actual < expected, `Expected ${actual} < ${expected}`, message);
}

/** Fails unless `actual <= expected`. */
export function assertLessOrEqual<T>(actual: T, expected: T, message?: string): void {
  check(actual <= expected, `Expected ${actual} <= ${expected}`, message);
}

/** Fails unless the text matches. */
export function assertMatch(actual: string, expected: RegExp, message?: string): void {
  check(expected.test(actual), `Expected ${JSON.stringify(actual)} to match ${expected}`, message);
}

/** Fails unless the text holds the other. */
export function assertStringIncludes(actual: string, expected: string, message?: string): void {
  check(
    actual.includes(expected),
    `Expected ${JSON.stringify(actual)} to hold ${JSON.stringify(expected)}`,
    message,
  );
}

/** Fails unless the value is of the class. */
export function assertInstanceOf<T>(
  actual: unknown,
  expected: Class<T>,
  message = "",
): asserts actual is T {
  check(
    actual instanceof expected,
    `Expected an instance of ${expected.name}, got ${actual}`,
    message,
  );
}

function checkError<E extends Error>(
  error: unknown,
  ErrorClass?: Class<E>,
  includes?: string,
  message?: string,
): E {
  check(error instanceof Error, `Expected an Error, got ${error}`, message);
  if (ErrorClass) assertInstanceOf(error, ErrorClass, message);
  if (includes !== undefined) assertStringIncludes(error.message, includes, message);
  return error as E;
}

/** Fails unless the function throws, and what it asked for; returns the error. */
export function assertThrows<E extends Error = Error>(
  fn: () => unknown,
  ErrorClass?: Class<E>,
  includes?: string,
  message?: string,
): E {
  try {
    fn();
  } catch (error) {
    return checkError(error, ErrorClass, includes, message);
  }
  throw new AssertionError({
    message: "Expected function to throw" + (message ? `: ${message}` : ""),
  });
}

/** Fails unless the promise is rejected, and as asked for; returns the error. */
export async function assertRejects<E extends Error = Error>(
  fn: () => PromiseLike<unknown>,
  ErrorClass?: Class<E>,
  includes?: string,
  message?: string,
): Promise<E> {
  try {
    await fn();
  } catch (error) {
    return checkError(error, ErrorClass, includes, message);
  }
  throw new AssertionError({
    message: "Expected function to reject" + (message ? `: ${message}` : ""),
  });
}
