import { type BusConnection, call } from "../../src/bus/client.ts";
import type { Status } from "../../src/status/types.ts";
import { readStatus } from "../../src/status/codec.ts";
import { connected, publishParams } from "./daemon.ts";
import type { Ledger } from "./ledger.ts";

/** Publishes messages of a ledger at QoS 1, some at a time, while `more` says so; throws the first error. */
export async function publishNumbered(
  client: BusConnection,
  topic: string,
  ledger: Ledger,
  pipelined: number,
  more: () => boolean,
): Promise<void> {
  let failed = false;
  const publishOneByOne = async (): Promise<void> => {
    while (!failed && more()) {
      const { number, payload } = ledger.issue(topic);
      try {
        await client.call("publish", publishParams({ topic, payload, qos: 1 }));
      } catch (error) {
        failed = true;
        throw error;
      }
      ledger.accept(topic, number);
    }
  };
  const all = await Promise.allSettled(Array.from({ length: pipelined }, publishOneByOne));
  const failure = all.find(({ status }) => status === "rejected");
  if (failure?.status === "rejected") throw failure.reason;
}

/** Publishes so many messages, by one client for each topic; all of them have to be accepted. */
export async function publishMany(
  socket: string,
  ledger: Ledger,
  topics: readonly string[],
  count: number,
): Promise<void> {
  let left = count;
  await Promise.all(topics.map(async (topic) => {
    await using client = await connected(socket);
    await publishNumbered(client, topic, ledger, 32, () => left-- > 0);
  }));
}

/** What the daemon says of itself. */
export async function statusOf(socket: string): Promise<Status> {
  return readStatus(await call(socket, "status"));
}
