/**
 * A client of `iotcored` for Deno, Node 20.16 and later, and Bun. It has no dependencies.
 *
 * ```ts
 * import { connect } from "@iotcored/client"; // from JSR; from npm it is "iotcored-client"
 *
 * await using client = await connect();
 * await client.publish("sensors/temp", "21.5", { qos: 1 });
 * for await (const { topic, payload } of client.subscribe("commands/#", { qos: 1 })) {
 *   console.log(topic, new TextDecoder().decode(payload));
 * }
 * ```
 *
 * One connection is kept for publishes, and one for each subscription. When the daemon restarts, subscriptions are made again
 * and publishes with QoS 1 that it had not answered are sent again, so that one may come twice, but none is lost; what the
 * broker sends meanwhile is missed by the subscription. With Deno the program needs `--allow-read`, `--allow-write` and
 * `--allow-net=unix:PATH` for the socket.
 *
 * @module
 */

export type { Bytes } from "../base/bytes.ts";
export { BusError, BusErrorCode, codeName } from "../base/errors.ts";
export {
  type Client,
  connect,
  type ConnectOptions,
  DEFAULT_SOCKET,
  DEFAULT_TIMEOUT_MS,
  type FeedEvents,
  type Message,
  type Messages,
  type PublishOptions,
  type QuarantinedMessage,
  type SubscribeOptions,
} from "./client.ts";
export { NoServerError } from "../bus/client.ts";
export type { Feed } from "./feed.ts";
export type {
  ClientsView,
  ConnectionView,
  PublishView,
  QuarantinedView,
  QueueView,
  SpoolView,
  Status,
  SubjectView,
  SuspicionView,
} from "../status/types.ts";
