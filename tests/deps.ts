/**
 * The one gate for third-party packages of the tests, `deno task dev` and `deno task demo`.
 *
 * @module
 */

export {
  assert,
  assertEquals,
  assertExists,
  assertGreater,
  assertGreaterOrEqual,
  assertInstanceOf,
  assertLess,
  assertLessOrEqual,
  assertMatch,
  assertNotEquals,
  assertRejects,
  assertStrictEquals,
  assertStringIncludes,
  assertThrows,
  fail,
} from "@std/assert";

export { pureTest } from "./support/pure_test.ts";

export * as x509 from "@peculiar/x509";
export { generate as generatePacket, type Packet, parser as packetParser } from "mqtt-packet";
