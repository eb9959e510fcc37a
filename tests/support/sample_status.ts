import type { Status } from "../../src/status/types.ts";

/** A status in which every figure differs. */
export const SAMPLE_STATUS: Status = {
  version: "1.2.3",
  uptime: 93_784_000,
  connections: [
    {
      client_id: "thing",
      connected: true,
      since: 1_767_225_600_000,
      address: "192.0.2.1:8883",
      subscriptions: 3,
      in_flight: 2,
      buffered_bytes: 77,
      last_error: null,
    },
    {
      client_id: "thing_1",
      connected: false,
      since: null,
      address: null,
      subscriptions: 1,
      in_flight: 0,
      buffered_bytes: 0,
      last_error: 'closed: "why"\n\\path\x1b[2J',
    },
  ],
  spool: {
    storage: "disk",
    messages: 1_234,
    bytes: 5_000_000,
    max_bytes: 67_108_864,
    oldest_age_ms: 61_000,
    evicted: 11,
    expired: 12,
    refused: 13,
    failed: 14,
    quarantined_messages: 2,
    quarantined: [
      { seq: 9, topic: "bad/topic", reason: "closed the connection 3 times" },
      { seq: 10, topic: "evil\x1b[2J", reason: "too" },
    ],
  },
  publishes: {
    accepted: 1_234_567,
    sent: 1_234_568,
    acknowledged: 1_234_000,
    refused_by_broker: 15,
    expired: 25,
    throttled_ms: 16_500,
    waiting_qos0_messages: 17,
    waiting_qos0_bytes: 18,
  },
  received: 19,
  clients: { open: 20, total: 21, subscriptions: 22, closed_as_slow: 23, refused: 24 },
  queues: [
    { name: "spool_bytes", fill: 5_000_000, bound: 67_108_864 },
    { name: "clients", fill: 4_000, bound: 4_096 },
  ],
  config_waiting: "Cannot reach \x1b[2J",
};
