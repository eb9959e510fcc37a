import { prometheusText } from "../../../src/status/prometheus.ts";
import { assert, assertEquals, assertMatch, pureTest } from "../../deps.ts";
import { SAMPLE_STATUS } from "../../support/sample_status.ts";

interface Parsed {
  readonly types: Map<string, string>;
  /** Values by name and labels, as they stand. */
  readonly samples: Map<string, number>;
}

const SAMPLE = /^([a-zA-Z_:][a-zA-Z0-9_:]*)(\{.*\})? (\S+)$/;
const LABELS = /^\{(?:[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\\\|\\"|\\n)*",?)+\}$/;

/** Reads the text format 0.0.4 strictly: HELP, TYPE, then every sample of that metric, each metric once. */
function parse(text: string): Parsed {
  assert(text.endsWith("\n"), "the last line must end with a newline");
  const types = new Map<string, string>();
  const samples = new Map<string, number>();
  let current = "";
  let awaited: "HELP" | "TYPE" | "sample" = "HELP";
  for (const line of text.slice(0, -1).split("\n")) {
    const meta = /^# (HELP|TYPE) (\S+) (.+)$/.exec(line);
    if (meta !== null) {
      const [, kind, name = "", rest = ""] = meta;
      if (kind === "HELP") {
        assert(awaited !== "TYPE", line);
        assert(!types.has(name), `${name} comes twice`);
        current = name;
        awaited = "TYPE";
      } else {
        assertEquals([awaited, name], ["TYPE", current]);
        assertMatch(rest, /^(counter|gauge)$/);
        types.set(name, rest);
        awaited = "sample";
      }
      continue;
    }
    assertEquals(awaited, "sample", line);
    const sample = SAMPLE.exec(line);
    assert(sample !== null, `not a sample: ${line}`);
    const [, name, labels = "", value] = sample;
    assertEquals(name, current);
    if (labels !== "") assertMatch(labels, LABELS);
    assert(Number.isFinite(Number(value)), line);
    assert(!samples.has(name + labels), `${line} comes twice`);
    samples.set(name + labels, Number(value));
  }
  return { types, samples };
}

pureTest("the metrics are valid Prometheus text, and only counters end in _total", () => {
  const { types, samples } = parse(prometheusText(SAMPLE_STATUS));
  for (const [name, type] of types) {
    assertEquals(name.endsWith("_total"), type === "counter", name);
    assertMatch(name, /^iotcored_[a-z0-9_]+$/);
  }
  assert(samples.size >= types.size);
});

pureTest("every figure of the status is among the metrics, times in seconds", () => {
  const { samples } = parse(prometheusText(SAMPLE_STATUS));
  const figures: Record<string, number> = {
    'iotcored_info{version="1.2.3",storage="disk"}': 1,
    iotcored_uptime_seconds: 93_784,
    'iotcored_connection_up{client_id="thing"}': 1,
    'iotcored_connection_up{client_id="thing_1"}': 0,
    'iotcored_connection_since_seconds{client_id="thing"}': 1_767_225_600,
    'iotcored_connection_subscriptions{client_id="thing"}': 3,
    'iotcored_connection_in_flight{client_id="thing"}': 2,
    'iotcored_connection_buffered_bytes{client_id="thing"}': 77,
    iotcored_spool_messages: 1_234,
    iotcored_spool_bytes: 5_000_000,
    iotcored_spool_max_bytes: 67_108_864,
    iotcored_spool_oldest_age_seconds: 61,
    iotcored_spool_evicted_total: 11,
    iotcored_spool_expired_total: 12,
    iotcored_spool_refused_total: 13,
    iotcored_spool_failed_total: 14,
    iotcored_spool_quarantined_messages: 2,
    iotcored_publishes_accepted_total: 1_234_567,
    iotcored_publishes_sent_total: 1_234_568,
    iotcored_publishes_acknowledged_total: 1_234_000,
    iotcored_publishes_refused_by_broker_total: 15,
    iotcored_publishes_expired_total: 25,
    iotcored_publishes_throttled_seconds_total: 16.5,
    iotcored_publishes_waiting_qos0_messages: 17,
    iotcored_messages_received_total: 19,
    iotcored_clients_open: 20,
    iotcored_clients_accepted_total: 21,
    iotcored_clients_subscribed: 22,
    iotcored_clients_closed_as_slow_total: 23,
    iotcored_client_requests_refused_total: 24,
    iotcored_client_messages_too_large_total: 26,
    'iotcored_queue_fill{queue="clients"}': 4_000,
    'iotcored_queue_bound{queue="clients"}': 4_096,
  };
  for (const [name, value] of Object.entries(figures)) assertEquals(samples.get(name), value, name);
  assertEquals(samples.has('iotcored_connection_since_seconds{client_id="thing_1"}'), false);
});

pureTest("labels are escaped", () => {
  const [connection] = SAMPLE_STATUS.connections;
  const odd = { ...connection!, client_id: 'a"b\\c\nd' };
  const text = prometheusText({ ...SAMPLE_STATUS, connections: [odd] });
  parse(text);
  assert(text.includes('iotcored_connection_up{client_id="a\\"b\\\\c\\nd"} 1\n'));
});

pureTest("a metric without samples is left out", () => {
  const text = prometheusText({ ...SAMPLE_STATUS, connections: [] });
  parse(text);
  assertEquals(text.includes("iotcored_connection_up"), false);
});
