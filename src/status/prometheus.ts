import type { ConnectionView, QueueView, Status } from "./status.ts";

/** One figure of a metric, with what tells it from others of the metric. */
interface Sample {
  readonly labels?: Readonly<Record<string, string>>;
  readonly value: number;
}

/** A metric as the text format shows it. */
interface Metric {
  readonly name: string;
  readonly type: "counter" | "gauge";
  readonly help: string;
  readonly samples: (status: Status) => readonly Sample[];
}

function one(value: (status: Status) => number): Metric["samples"] {
  return (status) => [{ value: value(status) }];
}

function connections(value: (connection: ConnectionView) => number | null): Metric["samples"] {
  return (status) =>
    status.connections.flatMap((connection) => {
      const figure = value(connection);
      const labels = { client_id: connection.client_id };
      return figure === null ? [] : [{ labels, value: figure }];
    });
}

function queues(value: (queue: QueueView) => number): Metric["samples"] {
  return (status) =>
    status.queues.map((queue) => ({ labels: { queue: queue.name }, value: value(queue) }));
}

/** Every metric; names end in their unit, and counters in `_total`. */
const METRICS: readonly Metric[] = [
  {
    name: "iotcored_info",
    type: "gauge",
    help: "The version of the daemon and where its messages wait.",
    samples: ({ version, spool }) => [{ labels: { version, storage: spool.storage }, value: 1 }],
  },
  {
    name: "iotcored_uptime_seconds",
    type: "gauge",
    help: "Time since the start of the daemon.",
    samples: one(({ uptime }) => uptime / 1_000),
  },
  {
    name: "iotcored_connection_up",
    type: "gauge",
    help: "Whether a connection to the broker is up.",
    samples: connections(({ connected }) => Number(connected)),
  },
  {
    name: "iotcored_connection_since_seconds",
    type: "gauge",
    help: "When a connection came up, since the Unix epoch.",
    samples: connections(({ since }) => since === null ? null : since / 1_000),
  },
  {
    name: "iotcored_connection_subscriptions",
    type: "gauge",
    help: "Topic filters that are wanted on a connection.",
    samples: connections(({ subscriptions }) => subscriptions),
  },
  {
    name: "iotcored_connection_in_flight",
    type: "gauge",
    help: "QoS 1 messages on a connection without PUBACK.",
    samples: connections(({ in_flight }) => in_flight),
  },
  {
    name: "iotcored_connection_buffered_bytes",
    type: "gauge",
    help: "Bytes written to a connection and not yet taken by its socket.",
    samples: connections(({ buffered_bytes }) => buffered_bytes),
  },
  {
    name: "iotcored_spool_messages",
    type: "gauge",
    help: "Messages in the spool, with those in flight and in quarantine.",
    samples: one(({ spool }) => spool.messages),
  },
  {
    name: "iotcored_spool_bytes",
    type: "gauge",
    help: "Bytes in the spool.",
    samples: one(({ spool }) => spool.bytes),
  },
  {
    name: "iotcored_spool_max_bytes",
    type: "gauge",
    help: "Bytes that the spool may hold.",
    samples: one(({ spool }) => spool.max_bytes),
  },
  {
    name: "iotcored_spool_oldest_age_seconds",
    type: "gauge",
    help: "Age of the oldest message that is to be sent.",
    samples: one(({ spool }) => spool.oldest_age_ms / 1_000),
  },
  {
    name: "iotcored_spool_quarantined_messages",
    type: "gauge",
    help: "Messages that are kept but not sent.",
    samples: one(({ spool }) => spool.quarantined_messages),
  },
  {
    name: "iotcored_spool_evicted_total",
    type: "counter",
    help: "QoS 0 messages that made room for others.",
    samples: one(({ spool }) => spool.evicted),
  },
  {
    name: "iotcored_spool_expired_total",
    type: "counter",
    help: "Messages that expired in the spool.",
    samples: one(({ spool }) => spool.expired),
  },
  {
    name: "iotcored_spool_refused_total",
    type: "counter",
    help: "Messages that were refused because the spool was full.",
    samples: one(({ spool }) => spool.refused),
  },
  {
    name: "iotcored_spool_failed_total",
    type: "counter",
    help: "Messages that could not be stored.",
    samples: one(({ spool }) => spool.failed),
  },
  {
    name: "iotcored_publishes_accepted_total",
    type: "counter",
    help: "Messages of local clients that were accepted.",
    samples: one(({ publishes }) => publishes.accepted),
  },
  {
    name: "iotcored_publishes_sent_total",
    type: "counter",
    help: "Messages sent to the broker, repetitions included.",
    samples: one(({ publishes }) => publishes.sent),
  },
  {
    name: "iotcored_publishes_acknowledged_total",
    type: "counter",
    help: "QoS 1 messages that the broker acknowledged.",
    samples: one(({ publishes }) => publishes.acknowledged),
  },
  {
    name: "iotcored_publishes_refused_by_broker_total",
    type: "counter",
    help: "QoS 1 messages that the broker refused.",
    samples: one(({ publishes }) => publishes.refused_by_broker),
  },
  {
    name: "iotcored_publishes_expired_total",
    type: "counter",
    help: "Messages that expired outside the spool, while they waited for their turn.",
    samples: one(({ publishes }) => publishes.expired),
  },
  {
    name: "iotcored_publishes_throttled_seconds_total",
    type: "counter",
    help: "Time that messages waited for the rate limit.",
    samples: one(({ publishes }) => publishes.throttled_ms / 1_000),
  },
  {
    name: "iotcored_publishes_waiting_qos0_messages",
    type: "gauge",
    help: "QoS 0 messages that wait for the rate limit.",
    samples: one(({ publishes }) => publishes.waiting_qos0_messages),
  },
  {
    name: "iotcored_messages_received_total",
    type: "counter",
    help: "Messages that arrived from the broker.",
    samples: one(({ received }) => received),
  },
  {
    name: "iotcored_clients_open",
    type: "gauge",
    help: "Local clients that are connected.",
    samples: one(({ clients }) => clients.open),
  },
  {
    name: "iotcored_clients_subscribed",
    type: "gauge",
    help: "Local clients with a subscription.",
    samples: one(({ clients }) => clients.subscriptions),
  },
  {
    name: "iotcored_clients_accepted_total",
    type: "counter",
    help: "Local clients that connected.",
    samples: one(({ clients }) => clients.total),
  },
  {
    name: "iotcored_clients_closed_as_slow_total",
    type: "counter",
    help: "Local clients that were closed because they did not read.",
    samples: one(({ clients }) => clients.closed_as_slow),
  },
  {
    name: "iotcored_client_requests_refused_total",
    type: "counter",
    help: "Requests of local clients that were refused.",
    samples: one(({ clients }) => clients.refused),
  },
  {
    name: "iotcored_queue_fill",
    type: "gauge",
    help: "How much is in something that has a bound, in its own unit.",
    samples: queues(({ fill }) => fill),
  },
  {
    name: "iotcored_queue_bound",
    type: "gauge",
    help: "How much may be in it.",
    samples: queues(({ bound }) => bound),
  },
];

/** The status in Prometheus's text exposition format, version 0.0.4. */
export function prometheusText(status: Status): string {
  let text = "";
  for (const { name, type, help, samples } of METRICS) {
    const lines = samples(status).map((sample) => `${name}${labelText(sample)} ${sample.value}\n`);
    if (lines.length === 0) continue;
    text += `# HELP ${name} ${escaped(help)}\n# TYPE ${name} ${type}\n${lines.join("")}`;
  }
  return text;
}

function labelText({ labels = {} }: Sample): string {
  const pairs = Object.entries(labels).map(([name, value]) =>
    `${name}="${escaped(value).replaceAll('"', '\\"')}"`
  );
  return pairs.length === 0 ? "" : `{${pairs.join(",")}}`;
}

function escaped(text: string): string {
  return text.replaceAll("\\", "\\\\").replaceAll("\n", "\\n");
}
