import { utf8 } from "../../../src/base/bytes.ts";
import { connectBus } from "../../../src/bus/client.ts";
import { BusError, BusErrorCode } from "../../../src/base/errors.ts";
import type { Value } from "../../../src/wire/object.ts";

const PAYLOAD_BYTES = 1_024;

/** Publishes with QoS 1 until the spool is full; how many were accepted. Anything else than "full" is an error. */
export async function fill(socket: string, topic: string): Promise<number> {
  const params = new Map<string, Value>([
    ["topic", utf8(topic)],
    ["payload", new Uint8Array(PAYLOAD_BYTES)],
    ["qos", 1n],
  ]);
  let accepted = 0;
  const connection = await connectBus(socket);
  try {
    while (true) {
      // Some at a time: what follows a refusal on the connection is not read any more.
      const calls = Array.from({ length: 64 }, () => connection.call("publish", params));
      const results = await Promise.allSettled(calls);
      accepted += results.filter(({ status }) => status === "fulfilled").length;
      const refused = results.find((result) => result.status === "rejected");
      if (refused === undefined) continue;
      if (refused.reason instanceof BusError && refused.reason.code === BusErrorCode.NOMEM) {
        return accepted;
      }
      throw refused.reason;
    }
  } finally {
    connection.close();
  }
}
