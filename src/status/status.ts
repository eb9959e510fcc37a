import { fromUtf8, utf8 } from "../base/bytes.ts";
import { BusError, Code } from "../base/errors.ts";
import type { Value, ValueMap } from "../wire/object.ts";

/** One connection to the broker. */
export interface ConnectionView {
  /** Of the last attempt; empty before the first. */
  readonly client_id: string;
  readonly connected: boolean;
  /** When the connection came up, in ms since the Unix epoch; `null` while it is down. */
  readonly since: number | null;
  /** Where its TCP connection leads, the endpoint or the proxy, such as `192.0.2.1:8883`; `null` while it is down. */
  readonly address: string | null;
  /** Topic filters that are wanted on it. */
  readonly subscriptions: number;
  /** QoS 1 messages without PUBACK. */
  readonly in_flight: number;
  /** Bytes that were written and not yet taken by the socket. */
  readonly buffered_bytes: number;
  /** Why the last attempt failed or the last connection was lost. */
  readonly last_error: string | null;
}

/** A message that is kept, but not sent. */
export interface QuarantinedView {
  readonly seq: number;
  readonly topic: string;
  readonly reason: string;
}

/** The messages that wait; counters are since the start of the daemon. */
export interface SpoolView {
  /** `memory` or `disk`. */
  readonly storage: string;
  /** With what is in flight and in quarantine. */
  readonly messages: number;
  readonly bytes: number;
  readonly max_bytes: number;
  /** Age of the oldest message that is to be sent, in ms; 0 when there is none. */
  readonly oldest_age_ms: number;
  /** QoS 0 messages that made room for others. */
  readonly evicted: number;
  readonly expired: number;
  /** Messages that were refused because the spool was full. */
  readonly refused: number;
  /** Messages that could not be stored. */
  readonly failed: number;
  /** How many messages are in quarantine. */
  readonly quarantined_messages: number;
  /** The first of them. */
  readonly quarantined: readonly QuarantinedView[];
}

/** What became of the messages of local clients, since the start of the daemon. */
export interface PublishView {
  readonly accepted: number;
  readonly sent: number;
  /** QoS 1 messages with a PUBACK that says success. */
  readonly acknowledged: number;
  /** QoS 1 messages that the broker refused, and that were given up. */
  readonly refused_by_broker: number;
  /** Messages that expired outside the spool, while they waited for their turn. */
  readonly expired: number;
  /** How long messages waited for the rate limit, in ms. */
  readonly throttled_ms: number;
  /** QoS 0 messages that wait for the rate limit now, and their bytes. */
  readonly waiting_qos0_messages: number;
  readonly waiting_qos0_bytes: number;
}

/** The local clients. */
export interface ClientsView {
  /** Connected now. */
  readonly open: number;
  /** Since the start of the daemon, as are the other counters. */
  readonly total: number;
  /** Connected with a subscription now. */
  readonly subscriptions: number;
  /** Closed because they did not read. */
  readonly closed_as_slow: number;
  /** Requests that were refused. */
  readonly refused: number;
}

/** How full something is that has a bound. */
export interface QueueView {
  readonly name: string;
  readonly fill: number;
  readonly bound: number;
}

/**
 * What the daemon says of itself. The names are those that travel on the core bus and that `iotcored status --json` prints.
 */
export interface Status {
  readonly version: string;
  /** Since the start of the daemon, in ms. */
  readonly uptime: number;
  readonly connections: readonly ConnectionView[];
  readonly spool: SpoolView;
  readonly publishes: PublishView;
  /** Messages that arrived from the broker since the start of the daemon. */
  readonly received: number;
  readonly clients: ClientsView;
  readonly queues: readonly QueueView[];
  /** Why a changed configuration is not used, or not in full; `null` when nothing waits. */
  readonly config_waiting: string | null;
}

/** What {@linkcode toValue} takes. */
type Plain = null | boolean | number | string | readonly Plain[] | {
  readonly [name: string]: Plain;
};

/** A status as it travels. */
export function statusValue(status: Status): Value {
  return toValue(status as unknown as Plain);
}

function toValue(plain: Plain): Value {
  if (typeof plain === "string") return utf8(plain);
  if (typeof plain === "number") return BigInt(Math.round(plain));
  if (plain === null || typeof plain === "boolean") return plain;
  if (Array.isArray(plain)) return plain.map(toValue);
  return new Map(Object.entries(plain).map(([name, value]) => [name, toValue(value)]));
}

/**
 * Reads a status; what a daemon of another version does not say is 0, empty or `null`.
 *
 * @throws {BusError} PARSE when it is no map
 */
export function readStatus(value: Value): Status {
  const status = section(value);
  if (status === undefined) throw new BusError(Code.PARSE, "Cannot read status: it must be a map");
  return {
    version: text(status, "version"),
    uptime: count(status, "uptime"),
    connections: list(status, "connections").map(readConnection),
    spool: readSpool(section(status.get("spool"))),
    publishes: readPublishes(section(status.get("publishes"))),
    received: count(status, "received"),
    clients: readClients(section(status.get("clients"))),
    queues: list(status, "queues").map((queue) => ({
      name: text(queue, "name"),
      fill: count(queue, "fill"),
      bound: count(queue, "bound"),
    })),
    config_waiting: (status.get("config_waiting") ?? null) === null
      ? null
      : text(status, "config_waiting"),
  };
}

function readConnection(map: ValueMap): ConnectionView {
  return {
    client_id: text(map, "client_id"),
    connected: map.get("connected") === true,
    since: (map.get("since") ?? null) === null ? null : count(map, "since"),
    address: (map.get("address") ?? null) === null ? null : text(map, "address"),
    subscriptions: count(map, "subscriptions"),
    in_flight: count(map, "in_flight"),
    buffered_bytes: count(map, "buffered_bytes"),
    last_error: (map.get("last_error") ?? null) === null ? null : text(map, "last_error"),
  };
}

function readSpool(map: ValueMap | undefined): SpoolView {
  return {
    storage: text(map, "storage"),
    messages: count(map, "messages"),
    bytes: count(map, "bytes"),
    max_bytes: count(map, "max_bytes"),
    oldest_age_ms: count(map, "oldest_age_ms"),
    evicted: count(map, "evicted"),
    expired: count(map, "expired"),
    refused: count(map, "refused"),
    failed: count(map, "failed"),
    quarantined_messages: count(map, "quarantined_messages"),
    quarantined: list(map, "quarantined").map((one) => ({
      seq: count(one, "seq"),
      topic: text(one, "topic"),
      reason: text(one, "reason"),
    })),
  };
}

function readPublishes(map: ValueMap | undefined): PublishView {
  return {
    accepted: count(map, "accepted"),
    sent: count(map, "sent"),
    acknowledged: count(map, "acknowledged"),
    refused_by_broker: count(map, "refused_by_broker"),
    expired: count(map, "expired"),
    throttled_ms: count(map, "throttled_ms"),
    waiting_qos0_messages: count(map, "waiting_qos0_messages"),
    waiting_qos0_bytes: count(map, "waiting_qos0_bytes"),
  };
}

function readClients(map: ValueMap | undefined): ClientsView {
  return {
    open: count(map, "open"),
    total: count(map, "total"),
    subscriptions: count(map, "subscriptions"),
    closed_as_slow: count(map, "closed_as_slow"),
    refused: count(map, "refused"),
  };
}

function section(value: Value | undefined): ValueMap | undefined {
  return value instanceof Map ? value : undefined;
}

function list(map: ValueMap | undefined, name: string): ValueMap[] {
  const value = map?.get(name);
  return Array.isArray(value) ? value.filter((item) => item instanceof Map) : [];
}

function count(map: ValueMap | undefined, name: string): number {
  const value = map?.get(name);
  return typeof value === "bigint" || typeof value === "number" ? Number(value) : 0;
}

function text(map: ValueMap | undefined, name: string): string {
  const value = map?.get(name);
  return value instanceof Uint8Array ? fromUtf8(value) ?? "" : "";
}
