import type { Clock, Timer } from "../base/clock.ts";
import { VERSION } from "../base/version.ts";
import { noCloses } from "../bus/close_reason.ts";
import type { BusCounters } from "../bus/server.ts";
import type { QueueView, Status } from "../status/types.ts";
import { statusValue } from "../status/codec.ts";
import { MAX_CLIENTS, MAX_PARTIAL_BYTES, MAX_QUEUED_BYTES } from "../bus/limits.ts";
import type { Subscriber } from "../bus/methods.ts";
import type { BrokerLimits } from "../mqtt/broker_limits.ts";
import type { PooledConnection } from "../mqtt/pool.ts";
import type { ReadGate } from "../mqtt/read_gate.ts";
import type { RejectedMessages } from "../subscribe/rejected_messages.ts";
import type { Intake } from "../publish/intake.ts";
import type { Publisher } from "../publish/publisher.ts";
import { QOS0_QUEUE_BYTES, type Qos0Queue } from "../publish/qos0_queue.ts";
import type { SendGates } from "../publish/send_gates.ts";
import { MAX_UNWRITTEN_BYTES } from "../publish/send_throttle.ts";
import { FILTERS_PER_CONNECTION } from "../aws/limits.ts";
import { MAX_VIRTUAL_FILTERS } from "../subscribe/subscriptions.ts";
import { QUARANTINE_SHARE, type SpoolStats } from "../spool/spool.ts";
import { encodeValueFrame } from "../wire/frame.ts";
import type { Value } from "../wire/object.ts";

/** How often a subscriber of `status` gets it, in ms. */
export const STATUS_INTERVAL_MS = 1_000;

/** Messages in quarantine that a status names, so that it always fits into a frame. */
export const NAMED_QUARANTINED = 100;

/** Topics and filters, suspect or refused, that a status names. */
export const NAMED_SUBJECTS = 100;

const NO_CLIENTS: BusCounters = {
  clients: 0,
  total: 0,
  subscriptions: 0,
  closed: noCloses(),
  refused: 0,
  queuedBytes: 0,
  partialBytes: 0,
  longestQueueBytes: 0,
};

/** Where the figures are counted; they are looked at only when somebody asks. */
export interface StatusSources {
  readonly clock: Clock;
  readonly connections: ReadonlyMap<number, Pick<PooledConnection, "status" | "buffered">>;
  readonly subscriptions: {
    readonly assignments: ReadonlyMap<
      number,
      { readonly sync: { readonly size: number; readonly delayed: number } }
    >;
    readonly received: number;
    readonly tooLarge: number;
    readonly virtualFilters: number;
  };
  readonly rejected: Pick<RejectedMessages, "count">;
  readonly readGate: Pick<ReadGate, "heldMs">;
  readonly intake: Pick<Intake, "accepted" | "refused">;
  readonly publisher: Pick<Publisher, "congestion" | "counters" | "inFlight" | "throttledBy">;
  readonly queue: Pick<Qos0Queue, "length" | "bytes">;
  readonly gates: Pick<SendGates, "counters" | "standings">;
  readonly spool: { stats(): SpoolStats };
  /** When the certificate in use ends, in ms since the epoch; `undefined` before it was read. */
  readonly certificateExpires: () => number | undefined;
  /** The server's figures; `undefined` before it serves. */
  readonly clients: () => BusCounters | undefined;
  /** As it is now. */
  readonly config: () => { readonly maxInFlight: number; readonly maxConnections: number };
  /** Why a changed configuration is not used, or not in full. */
  readonly waiting: () => string | undefined;
}

/** What is needed of a client that watches the status. */
export type StatusWatcher = Pick<Subscriber, "accept" | "send" | "onClose">;

/** The `status` of the daemon: gathered when it is asked for, and each second while somebody watches it. */
export class StatusReport {
  readonly #sources: StatusSources;
  readonly #startedAt: number;
  readonly #watchers = new Set<StatusWatcher>();
  #timer: Timer | undefined;

  constructor(sources: StatusSources) {
    this.#sources = sources;
    this.#startedAt = sources.clock.now();
  }

  /** The status of this moment, as it travels. */
  value(): Value {
    return statusValue(this.#gather());
  }

  /** Sends the status to a client at once, and then each second. */
  watch(watcher: StatusWatcher): void {
    this.#watchers.add(watcher);
    watcher.onClose(() => {
      this.#watchers.delete(watcher);
      if (this.#watchers.size === 0) this.#stop();
    });
    watcher.accept();
    watcher.send(encodeValueFrame(this.value()));
    if (this.#watchers.size > 0) this.#timer ??= this.#next();
  }

  #next(): Timer {
    return this.#sources.clock.after(STATUS_INTERVAL_MS, () => {
      this.#timer = this.#next();
      const frame = encodeValueFrame(this.value());
      for (const watcher of [...this.#watchers]) watcher.send(frame);
    });
  }

  #stop(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
  }

  #gather(): Status {
    const { clock, subscriptions } = this.#sources;
    const spool = this.#sources.spool.stats();
    const clients = this.#sources.clients() ?? NO_CLIENTS;
    return {
      version: VERSION,
      uptime: clock.now() - this.#startedAt,
      connections: this.#connections(),
      spool: spoolView(spool),
      publishes: this.#publishes(),
      suspicion: this.#suspicion(),
      received: subscriptions.received,
      rejected: this.#sources.rejected.count,
      held_ms: Math.round(this.#sources.readGate.heldMs),
      certificate_expires: this.#sources.certificateExpires() ?? null,
      clients: {
        open: clients.clients,
        total: clients.total,
        subscriptions: clients.subscriptions,
        closed_as_slow: clients.closed.slow,
        closed_as_idle: clients.closed.idle,
        refused: clients.refused,
        too_large: subscriptions.tooLarge,
      },
      queues: this.#queues(spool, clients),
      config_waiting: this.#sources.waiting() ?? null,
    };
  }

  #connections(): Status["connections"] {
    const { connections, subscriptions } = this.#sources;
    return [...connections].sort(([a], [b]) => a - b).map(([index, { status, buffered }]) => {
      const sync = subscriptions.assignments.get(index)?.sync;
      return {
        client_id: status.clientId,
        connected: status.connected,
        since: status.since ?? null,
        address: status.address ?? null,
        subscriptions: sync?.size ?? 0,
        in_flight: status.inFlight,
        buffered_bytes: buffered,
        subscriptions_delayed: sync?.delayed ?? 0,
        ...allowedBy(status.allows),
        last_error: status.lastError ?? null,
      };
    });
  }

  #publishes(): Status["publishes"] {
    const { intake, publisher, queue } = this.#sources;
    const { congestion, counters } = publisher;
    const { perSecond } = congestion;
    return {
      accepted: intake.accepted,
      sent: counters.sent,
      acknowledged: counters.acknowledged,
      refused_by_broker: counters.refusedByBroker,
      expired: counters.expired,
      throttled_ms: counters.throttledMs,
      waiting_qos0_messages: queue.length,
      waiting_qos0_bytes: queue.bytes,
      turned_away: congestion.turnedAway,
      overdue: congestion.overdue,
      resent: congestion.resent,
      window: congestion.window,
      rate_per_minute: perSecond === undefined ? null : Math.round(perSecond * 60),
      throttled_by: publisher.throttledBy ?? null,
    };
  }

  #suspicion(): Status["suspicion"] {
    const { clock, gates, intake, publisher } = this.#sources;
    const standings = gates.standings();
    const epoch = clock.wallNow() - clock.now();
    const suspects = standings.filter(({ standing }) => standing.type === "suspect").length;
    return {
      suspects,
      refused: standings.length - suspects,
      ...gates.counters,
      refused_messages: intake.refused,
      dropped_messages: publisher.counters.dropped,
      subjects: standings.slice(0, NAMED_SUBJECTS).map(({ subject, standing }) => ({
        ...subject,
        state: standing.type === "suspect" ? "suspect" : "refused",
        since: epoch + standing.since,
        until: standing.type === "suspect" ? null : epoch + standing.until,
        reason: standing.type === "suspect" ? null : standing.reason,
      })),
    };
  }

  #queues(spool: SpoolStats, clients: BusCounters): QueueView[] {
    const { connections, publisher, queue, subscriptions } = this.#sources;
    const config = this.#sources.config();
    let filters = 0;
    for (const { sync } of subscriptions.assignments.values()) filters += sync.size;
    const unwritten = [...connections.values()].map(({ buffered }) => buffered);
    return [
      bounded("spool_bytes", spool.bytes, spool.maxBytes),
      bounded(
        "quarantine_bytes",
        spool.quarantined.reduce((sum, { size }) => sum + size, 0),
        spool.maxBytes * QUARANTINE_SHARE,
      ),
      bounded("waiting_qos0_bytes", queue.bytes, QOS0_QUEUE_BYTES),
      bounded("in_flight", publisher.inFlight, config.maxInFlight),
      bounded("unwritten_bytes", Math.max(0, ...unwritten), MAX_UNWRITTEN_BYTES),
      bounded("subscriptions", filters, FILTERS_PER_CONNECTION * config.maxConnections),
      bounded("virtual_filters", subscriptions.virtualFilters, MAX_VIRTUAL_FILTERS),
      bounded("clients", clients.clients, MAX_CLIENTS),
      bounded("partial_frame_bytes", clients.partialBytes, MAX_PARTIAL_BYTES),
      bounded("longest_client_queue_bytes", clients.longestQueueBytes, MAX_QUEUED_BYTES),
    ];
  }
}

function allowedBy(limits: BrokerLimits = {}) {
  return {
    max_packet_bytes: limits.maximumPacketSize ?? null,
    max_qos: limits.maximumQos ?? null,
    retain_available: limits.retainAvailable ?? null,
    wildcards_available: limits.wildcardAvailable ?? null,
    shared_available: limits.sharedAvailable ?? null,
    keep_alive_ms: inMs(limits.keepAliveS),
    session_expiry_ms: inMs(limits.sessionExpiryS),
  };
}

function inMs(seconds: number | undefined): number | null {
  return seconds === undefined ? null : seconds * 1_000;
}

function spoolView(stats: SpoolStats): Status["spool"] {
  const { quarantined } = stats;
  return {
    storage: stats.storage,
    messages: stats.messages,
    bytes: stats.bytes,
    max_bytes: stats.maxBytes,
    oldest_age_ms: stats.oldestAgeMs,
    evicted: stats.evicted,
    expired: stats.expired,
    refused: stats.refused,
    failed: stats.failed,
    quarantined_messages: quarantined.length,
    quarantined: quarantined.slice(0, NAMED_QUARANTINED)
      .map(({ seq, topic, reason }) => ({ seq, topic, reason })),
  };
}

function bounded(name: string, fill: number, bound: number): QueueView {
  return { name, fill, bound };
}
