/**
 * The status: one table of its fields, of which the map on the bus, the metrics and the page are made.
 *
 * @module
 */

import type {
  ClientsView,
  ConnectionView,
  PublishView,
  QuarantinedView,
  QueueView,
  SpoolView,
  Status,
  SubjectView,
  SuspicionView,
} from "./types.ts";

/** What a metric of Prometheus is called and says; a name with `_seconds` is of a figure in ms. */
export interface Metric {
  readonly name: string;
  readonly type: "counter" | "gauge";
  readonly help: string;
}

/** A field of the status that is one figure or text. */
export interface Leaf {
  readonly kind: "text" | "boolean" | "count";
  /** Whether it may be `null`, which is also what a daemon that does not say it means. */
  readonly optional?: true;
  readonly metric?: Metric;
}

/** The fields of one part of the status, of any type. */
export type Fields = Readonly<Record<string, Row>>;

/** A field: a figure or text, a part with fields of its own, or a list of such parts, told apart by `label`. */
export type Row = Leaf | { readonly section: Fields } | {
  readonly list: Fields;
  readonly label?: { readonly name: string; readonly field: string };
};

type RowOf<T> = T extends readonly unknown[] ? Extract<Row, { readonly list: Fields }>
  : T extends object ? Extract<Row, { readonly section: Fields }>
  : Leaf;

/** A row for each field of `T`, and no other: a field of the status without one does not compile. */
type FieldsOf<T> = { readonly [K in keyof T]-?: RowOf<T[K]> };

const TEXT: Leaf = { kind: "text" };
const OPTIONAL_TEXT: Leaf = { kind: "text", optional: true };
const COUNT: Leaf = { kind: "count" };
const OPTIONAL_COUNT: Leaf = { kind: "count", optional: true };
const OPTIONAL_BOOLEAN: Leaf = { kind: "boolean", optional: true };

function gauge(name: string, help: string): Leaf {
  return { kind: "count", metric: { name: `iotcored_${name}`, type: "gauge", help } };
}

function counter(name: string, help: string): Leaf {
  return { kind: "count", metric: { name: `iotcored_${name}_total`, type: "counter", help } };
}

const CONNECTION = {
  client_id: TEXT,
  connected: {
    ...gauge("connection_up", "Whether a connection to the broker is up."),
    kind: "boolean",
  },
  since: {
    ...gauge("connection_since_seconds", "When a connection came up, since the Unix epoch."),
    optional: true,
  },
  address: OPTIONAL_TEXT,
  subscriptions: gauge(
    "connection_subscriptions",
    "Topic filters that are wanted on a connection.",
  ),
  in_flight: gauge("connection_in_flight", "QoS 1 messages on a connection without PUBACK."),
  buffered_bytes: gauge(
    "connection_buffered_bytes",
    "Bytes written to a connection and not yet taken by its socket.",
  ),
  subscriptions_delayed: gauge(
    "connection_subscriptions_delayed",
    "Topic filters that the broker does not take now, and that are tried again.",
  ),
  max_packet_bytes: OPTIONAL_COUNT,
  max_qos: OPTIONAL_COUNT,
  retain_available: OPTIONAL_BOOLEAN,
  wildcards_available: OPTIONAL_BOOLEAN,
  shared_available: OPTIONAL_BOOLEAN,
  keep_alive_ms: OPTIONAL_COUNT,
  session_expiry_ms: OPTIONAL_COUNT,
  last_error: OPTIONAL_TEXT,
} as const satisfies FieldsOf<ConnectionView>;

const QUARANTINED = {
  seq: COUNT,
  topic: TEXT,
  reason: TEXT,
} as const satisfies FieldsOf<QuarantinedView>;

const SPOOL = {
  storage: TEXT,
  messages: gauge(
    "spool_messages",
    "Messages in the spool, with those in flight and in quarantine.",
  ),
  bytes: gauge("spool_bytes", "Bytes in the spool."),
  max_bytes: gauge("spool_max_bytes", "Bytes that the spool may hold."),
  oldest_age_ms: gauge(
    "spool_oldest_age_seconds",
    "Age of the oldest message that is to be sent.",
  ),
  evicted: counter("spool_evicted", "QoS 0 messages that made room for others."),
  expired: counter("spool_expired", "Messages that expired in the spool."),
  refused: counter("spool_refused", "Messages that were refused because the spool was full."),
  failed: counter("spool_failed", "Messages that could not be stored."),
  quarantined_messages: gauge("spool_quarantined_messages", "Messages that are kept but not sent."),
  quarantined: { list: QUARANTINED },
} as const satisfies FieldsOf<SpoolView>;

const PUBLISHES = {
  accepted: counter("publishes_accepted", "Messages of local clients that were accepted."),
  sent: counter("publishes_sent", "Messages sent to the broker, repetitions included."),
  acknowledged: counter("publishes_acknowledged", "QoS 1 messages that the broker acknowledged."),
  refused_by_broker: counter(
    "publishes_refused_by_broker",
    "QoS 1 messages that the broker refused.",
  ),
  expired: counter(
    "publishes_expired",
    "Messages that expired outside the spool, while they waited for their turn.",
  ),
  throttled_ms: counter(
    "publishes_throttled_seconds",
    "Time that messages waited for the rate limit.",
  ),
  waiting_qos0_messages: gauge(
    "publishes_waiting_qos0_messages",
    "QoS 0 messages that wait for the rate limit.",
  ),
  waiting_qos0_bytes: COUNT,
  turned_away: counter(
    "publishes_turned_away",
    "QoS 1 messages that the broker turned away because the quota is exceeded.",
  ),
  overdue: counter("publishes_overdue", "QoS 1 messages without PUBACK for longer than is usual."),
  resent: counter("publishes_resent", "QoS 1 messages sent again for want of a PUBACK."),
  window: gauge("publishes_window", "QoS 1 messages that may be unanswered."),
  rate_per_minute: {
    ...gauge("publishes_rate_per_minute", "Messages a minute, while the account takes no more."),
    optional: true,
  },
  throttled_by: OPTIONAL_TEXT,
} as const satisfies FieldsOf<PublishView>;

const SUBJECT = {
  kind: TEXT,
  name: TEXT,
  state: TEXT,
  since: COUNT,
  until: { ...COUNT, optional: true },
  reason: OPTIONAL_TEXT,
} as const satisfies FieldsOf<SubjectView>;

const SUSPICION = {
  suspects: gauge(
    "suspects",
    "Topics and filters that the broker may close the connection for.",
  ),
  refused: gauge(
    "refused_subjects",
    "Topics and filters that are refused because the broker closes the connection for them.",
  ),
  trials: counter("trials", "Packets of suspects that went alone."),
  condemned: counter(
    "condemned",
    "Topics and filters that were found to be why the connection was closed.",
  ),
  refused_messages: counter(
    "publishes_refused_by_topic",
    "Messages of local clients that were refused because of their topic.",
  ),
  dropped_messages: counter(
    "publishes_dropped_by_topic",
    "Accepted messages that were given up because of their topic.",
  ),
  subjects: { list: SUBJECT },
} as const satisfies FieldsOf<SuspicionView>;

const CLIENTS = {
  open: gauge("clients_open", "Local clients that are connected."),
  total: counter("clients_accepted", "Local clients that connected."),
  subscriptions: gauge("clients_subscribed", "Local clients with a subscription."),
  closed_as_slow: counter(
    "clients_closed_as_slow",
    "Local clients that were closed because they did not read.",
  ),
  closed_as_idle: counter(
    "clients_closed_as_idle",
    "Local clients that were closed because they asked for nothing for long.",
  ),
  refused: counter("client_requests_refused", "Requests of local clients that were refused."),
  too_large: counter(
    "client_messages_too_large",
    "Messages that were left out for a subscriber because they are larger than it takes.",
  ),
} as const satisfies FieldsOf<ClientsView>;

const QUEUE = {
  name: TEXT,
  fill: gauge("queue_fill", "How much is in something that has a bound, in its own unit."),
  bound: gauge("queue_bound", "How much may be in it."),
} as const satisfies FieldsOf<QueueView>;

/** Every field of the status: how it travels on the bus, and the metric that it is. */
export const STATUS_FIELDS: Fields = {
  version: TEXT,
  uptime: gauge("uptime_seconds", "Time since the start of the daemon."),
  connections: { list: CONNECTION, label: { name: "client_id", field: "client_id" } },
  spool: { section: SPOOL },
  publishes: { section: PUBLISHES },
  suspicion: { section: SUSPICION },
  received: counter("messages_received", "Messages that arrived from the broker."),
  rejected: counter(
    "messages_rejected",
    "Messages that were not handed out, as their publisher broke MQTT.",
  ),
  held_ms: counter(
    "reading_held_seconds",
    "Time for which reading from the broker was held back for subscribers that were behind.",
  ),
  certificate_expires: {
    ...gauge(
      "certificate_expires_seconds",
      "When the device certificate ends, since the Unix epoch.",
    ),
    optional: true,
  },
  clients: { section: CLIENTS },
  queues: { list: QUEUE, label: { name: "queue", field: "name" } },
  config_waiting: OPTIONAL_TEXT,
} as const satisfies FieldsOf<Status>;
