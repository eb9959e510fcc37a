import { noCloses } from "../../../src/bus/close_reason.ts";
import type { Bytes } from "../../../src/base/bytes.ts";
import { VERSION } from "../../../src/base/version.ts";
import type { Status } from "../../../src/status/types.ts";
import { readStatus } from "../../../src/status/codec.ts";
import {
  NAMED_QUARANTINED,
  StatusReport,
  type StatusSources,
} from "../../../src/daemon/status_report.ts";
import type { Quarantined } from "../../../src/spool/storage.ts";
import { decodeFrame, MAX_FRAME_BYTES } from "../../../src/wire/frame.ts";
import { decodeValue } from "../../../src/wire/object.ts";
import { assert, assertEquals, pureTest } from "../../deps.ts";
import { FakeClock } from "../../support/fake_clock.ts";

class Watcher {
  readonly got: Status[] = [];
  largest = 0;
  accepted = 0;
  close = (): void => {};

  accept(): void {
    this.accepted++;
  }

  send(frame: Bytes): void {
    this.largest = Math.max(this.largest, frame.length);
    this.got.push(readStatus(decodeValue(decodeFrame(frame).payload)));
  }

  onClose(fn: () => void): void {
    this.close = fn;
  }
}

function sources(clock: FakeClock, quarantined: readonly Quarantined[] = []): StatusSources {
  const connection = (clientId: string, connected: boolean) => ({
    buffered: 5,
    status: {
      clientId,
      connected,
      since: connected ? clock.wallStart : undefined,
      address: connected ? "192.0.2.1:8883" : undefined,
      allows: connected
        ? { sessionPresent: false, receiveMaximum: 9, maximumPacketSize: 900, keepAliveS: 20 }
        : undefined,
      inFlight: 4,
      lastError: connected ? undefined : "refused",
    },
  });
  return {
    clock,
    connections: new Map([[1, connection("thing_1", false)], [0, connection("thing", true)]]),
    subscriptions: {
      received: 7,
      tooLarge: 26,
      virtualFilters: 25,
      assignments: new Map([[1, { sync: { size: 2, delayed: 1 } }], [0, {
        sync: { size: 50, delayed: 0 },
      }]]),
    },
    intake: { accepted: 1, refused: 26 },
    gates: {
      counters: { trials: 27, condemned: 28 },
      standings: () => [
        {
          subject: { kind: "topic" as const, name: "bad" },
          standing: { type: "condemned" as const, since: 500, until: 2_500, reason: "because" },
        },
      ],
    },
    publisher: {
      counters: {
        sent: 2,
        acknowledged: 3,
        refusedByBroker: 4,
        expired: 25,
        dropped: 29,
        throttledMs: 5.4,
      },
      congestion: { turnedAway: 26, overdue: 27, resent: 28, window: 29, perSecond: 0.51 },
      throttledBy: "account" as const,
      inFlight: 6,
    },
    queue: { length: 8, bytes: 9 },
    spool: {
      stats: () => ({
        storage: "memory" as const,
        messages: 10,
        bytes: 11,
        maxBytes: 12,
        oldestAgeMs: 13,
        evicted: 14,
        expired: 15,
        refused: 16,
        failed: 17,
        quarantined,
      }),
    },
    certificateExpires: () => 1_800_000_000_000,
    clients: () => ({
      clients: 18,
      total: 19,
      subscriptions: 20,
      closed: { ...noCloses(), slow: 21, idle: 27 },
      refused: 22,
      queuedBytes: 23,
      partialBytes: 28,
      longestQueueBytes: 24,
    }),
    rejected: { count: 29 },
    readGate: { heldMs: 30 },
    config: () => ({ maxInFlight: 100, maxConnections: 2 }),
    waiting: () => "the reason",
  };
}

pureTest("the status gathers every counter from where it is counted", () => {
  const clock = new FakeClock();
  const report = new StatusReport(sources(clock, [
    { seq: 3, topic: "a/b", reason: "why", size: 100 },
  ]));
  clock.advance(1_500);
  const status = readStatus(report.value());
  assertEquals(status.version, VERSION);
  assertEquals(status.uptime, 1_500);
  assertEquals(status.connections, [
    {
      client_id: "thing",
      connected: true,
      since: clock.wallStart,
      address: "192.0.2.1:8883",
      subscriptions: 50,
      in_flight: 4,
      buffered_bytes: 5,
      subscriptions_delayed: 0,
      max_packet_bytes: 900,
      max_qos: null,
      retain_available: null,
      wildcards_available: null,
      shared_available: null,
      keep_alive_ms: 20_000,
      session_expiry_ms: null,
      last_error: null,
    },
    {
      client_id: "thing_1",
      connected: false,
      since: null,
      address: null,
      subscriptions: 2,
      in_flight: 4,
      buffered_bytes: 5,
      subscriptions_delayed: 1,
      max_packet_bytes: null,
      max_qos: null,
      retain_available: null,
      wildcards_available: null,
      shared_available: null,
      keep_alive_ms: null,
      session_expiry_ms: null,
      last_error: "refused",
    },
  ]);
  assertEquals(status.publishes, {
    accepted: 1,
    sent: 2,
    acknowledged: 3,
    refused_by_broker: 4,
    expired: 25,
    throttled_ms: 5,
    waiting_qos0_messages: 8,
    waiting_qos0_bytes: 9,
    turned_away: 26,
    overdue: 27,
    resent: 28,
    window: 29,
    rate_per_minute: 31,
    throttled_by: "account",
  });
  assertEquals(status.spool, {
    storage: "memory",
    messages: 10,
    bytes: 11,
    max_bytes: 12,
    oldest_age_ms: 13,
    evicted: 14,
    expired: 15,
    refused: 16,
    failed: 17,
    quarantined_messages: 1,
    quarantined: [{ seq: 3, topic: "a/b", reason: "why" }],
  });
  assertEquals(status.suspicion, {
    suspects: 0,
    refused: 1,
    trials: 27,
    condemned: 28,
    refused_messages: 26,
    dropped_messages: 29,
    subjects: [{
      kind: "topic",
      name: "bad",
      state: "refused",
      since: clock.wallStart + 500,
      until: clock.wallStart + 2_500,
      reason: "because",
    }],
  });
  assertEquals([status.received, status.rejected, status.held_ms], [7, 29, 30]);
  assertEquals(status.config_waiting, "the reason");
  assertEquals(status.clients, {
    open: 18,
    total: 19,
    subscriptions: 20,
    closed_as_slow: 21,
    closed_as_idle: 27,
    refused: 22,
    too_large: 26,
  });
  assertEquals(status.queues, [
    { name: "spool_bytes", fill: 11, bound: 12 },
    { name: "quarantine_bytes", fill: 100, bound: 3 },
    { name: "waiting_qos0_bytes", fill: 9, bound: 4_194_304 },
    { name: "in_flight", fill: 6, bound: 100 },
    { name: "unwritten_bytes", fill: 5, bound: 1_048_576 },
    { name: "subscriptions", fill: 52, bound: 100 },
    { name: "virtual_filters", fill: 25, bound: 10_000 },
    { name: "clients", fill: 18, bound: 4_096 },
    { name: "partial_frame_bytes", fill: 28, bound: 33_554_432 },
    { name: "longest_client_queue_bytes", fill: 24, bound: 1_048_576 },
  ]);
});

pureTest(
  "a watcher gets the status at once and each second, by one timer for all, and none for nobody",
  () => {
    const clock = new FakeClock();
    const report = new StatusReport(sources(clock));
    assertEquals(clock.timers, 0);
    const [first, second] = [new Watcher(), new Watcher()];
    report.watch(first);
    clock.advance(500);
    report.watch(second);
    assertEquals([first.accepted, first.got.length, second.got.length], [1, 1, 1]);
    assertEquals(clock.timers, 1);
    clock.advance(2_000);
    assertEquals(first.got.map(({ uptime }) => uptime), [0, 1_000, 2_000]);
    assertEquals(second.got.map(({ uptime }) => uptime), [500, 1_000, 2_000]);
    first.close();
    clock.advance(1_000);
    assertEquals([first.got.length, second.got.length], [3, 4]);
    second.close();
    assertEquals(clock.timers, 0);
    report.watch(first);
    assertEquals(clock.timers, 1);
  },
);

pureTest("a watcher that is closed by what it is sent leaves no timer behind", () => {
  const clock = new FakeClock();
  const watcher = new Watcher();
  watcher.send = () => watcher.close();
  new StatusReport(sources(clock)).watch(watcher);
  assertEquals(clock.timers, 0);
});

pureTest(
  "a status names only so many quarantined messages that it fits into a frame, and counts all",
  () => {
    const long = { topic: "t".repeat(512), reason: "r".repeat(255), size: 1 };
    const quarantined = Array.from({ length: 5_000 }, (_, seq) => ({ seq, ...long }));
    const watcher = new Watcher();
    const clock = new FakeClock();
    new StatusReport(sources(clock, quarantined)).watch(watcher);
    assertEquals(watcher.got[0]?.spool.quarantined_messages, 5_000);
    assertEquals(watcher.got[0]?.spool.quarantined.length, NAMED_QUARANTINED);
    assert(watcher.largest < MAX_FRAME_BYTES);
  },
);
