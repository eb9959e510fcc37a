import { BusError, BusErrorCode } from "../../../src/base/errors.ts";
import type { Status } from "../../../src/status/types.ts";
import { readStatus, statusValue } from "../../../src/status/codec.ts";
import { reconnectDelay } from "../../../src/base/backoff.ts";
import { decodeValue, encodeValue } from "../../../src/wire/object.ts";
import { assert, assertEquals, assertThrows, pureTest } from "../../deps.ts";
import { SAMPLE_STATUS } from "../../support/sample_status.ts";

pureTest("a status survives its way over the bus with every figure", () => {
  assertEquals(readStatus(decodeValue(encodeValue(statusValue(SAMPLE_STATUS)))), SAMPLE_STATUS);
});

pureTest("what a daemon of another version does not say reads as 0, empty or null", () => {
  const status: Status = readStatus(new Map([["uptime", 5n]]));
  assertEquals(status.uptime, 5);
  assertEquals(status.version, "");
  assertEquals(status.connections, []);
  assertEquals(status.spool.messages, 0);
  assertEquals(readStatus(new Map([["connections", [new Map()]]])).connections[0]?.since, null);
});

pureTest("an answer that is no map is no status", () => {
  const error = assertThrows(() => readStatus([1n]), BusError);
  assertEquals(error.code, BusErrorCode.PARSE);
});

pureTest("the waits for a daemon that is gone double from 50 ms and stay within 2 s", () => {
  assertEquals([0, 1, 2, 10, 1_000].map((attempt) => reconnectDelay(attempt, 1)), [
    50,
    100,
    200,
    2_000,
    2_000,
  ]);
  assert(reconnectDelay(3, 0) >= 200);
});
