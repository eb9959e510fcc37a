/**
 * Stand-ins for the assertions of `@std/assert` that the tests use, over `node:assert`, for networks where JSR cannot be
 * reached.
 *
 * @module
 */

import nodeAssert, { AssertionError } from "node:assert";

// deno-lint-ignore no-explicit-any -- as in the original: constructors of every kind
type AnyClass = new (...args: any[]) => any;

// deno-lint-ignore no-explicit-any -- as in the original: constructors of every kind
type ErrorType<E extends Error> = new (...args: any[]) => E;

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
export function assertInstanceOf<T extends AnyClass>(
  actual: unknown,
  expected: T,
  message = "",
): asserts actual is InstanceType<T> {
  check(
    actual instanceof expected,
    `Expected an instance of ${expected.name}, got ${actual}`,
    message,
  );
}

function checkError(
  error: unknown,
  ErrorClass?: ErrorType<Error> | string,
  includes?: string,
): void {
  if (ErrorClass === undefined || typeof ErrorClass === "string") return;
  check(error instanceof Error, `Expected an Error, got ${error}`);
  assertInstanceOf(error, ErrorClass);
  if (includes !== undefined) assertStringIncludes(error.message, includes);
}

/** Fails unless the function throws; returns what was thrown. */
export function assertThrows(fn: () => unknown, message?: string): unknown;
/** Fails unless the function throws an error of the class whose message holds the text; returns the error. */
export function assertThrows<E extends Error = Error>(
  fn: () => unknown,
  ErrorClass: ErrorType<E>,
  includes?: string,
  message?: string,
): E;
export function assertThrows(
  fn: () => unknown,
  ErrorClass?: ErrorType<Error> | string,
  includes?: string,
): unknown {
  try {
    fn();
  } catch (error) {
    checkError(error, ErrorClass, includes);
    return error;
  }
  throw new AssertionError({ message: "Expected function to throw" });
}

/** Fails unless the promise is rejected; returns what it was rejected with. */
export function assertRejects(fn: () => PromiseLike<unknown>, message?: string): Promise<unknown>;
/** Fails unless the promise is rejected with an error of the class whose message holds the text; returns the error. */
export function assertRejects<E extends Error = Error>(
  fn: () => PromiseLike<unknown>,
  ErrorClass: ErrorType<E>,
  includes?: string,
  message?: string,
): Promise<E>;
export async function assertRejects(
  fn: () => PromiseLike<unknown>,
  ErrorClass?: ErrorType<Error> | string,
  includes?: string,
): Promise<unknown> {
  try {
    await fn();
  } catch (error) {
    checkError(error, ErrorClass, includes);
    return error;
  }
  throw new AssertionError({ message: "Expected function to reject" });
}
