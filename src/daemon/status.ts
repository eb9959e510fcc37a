import type { Bytes } from "../base/bytes.ts";
import type { Clock, Timer } from "../base/clock.ts";
import { VERSION } from "../base/version.ts";
import type { BusCounters } from "../bus/server.ts";
import { type QueueView, type Status, statusValue } from "../client/status.ts";
import type { ConnectionStatus } from "../mqtt/connection.ts";
import type { SpoolStats } from "../spool/spool.ts";
import { encodeValueFrame } from "../wire/frame.ts";
import type { Value } from "../wire/object.ts";
import { type BoundName, BOUNDS } from "./bounds.ts";
import type { PublishCounters } from "./publisher.ts";

/** How often a subscriber of `status` gets it, in ms. */
export const STATUS_INTERVAL_MS = 1_000;

/** Messages in quarantine that a status names, so that it always fits into a frame. */
export const NAMED_QUARANTINED = 100;

const NO_CLIENTS: BusCounters = {
  clients: 0,
  total: 0,
  subscriptions: 0,
  closedAsSlow: 0,
  refused: 0,
  queuedBytes: 0,
  longestQueueBytes: 0,
};

/** A connection as the status sees it. */
export interface StatusLine {
  readonly connection: { readonly status: ConnectionStatus; readonly buffered: number };
  readonly sync: { readonly size: number };
}

/** Where the figures are counted; they are looked at only when somebody asks. */
export interface StatusSources {
  readonly clock: Clock;
  readonly subscriptions: {
    readonly lines: ReadonlyMap<number, StatusLine>;
    readonly received: number;
    readonly virtualFilters: number;
  };
  readonly publisher: {
    readonly counters: PublishCounters;
    readonly inFlight: number;
    readonly waitingQos0: { readonly messages: number; readonly bytes: number };
  };
  readonly spool: { stats(): SpoolStats };
  /** The server's figures; `undefined` before it serves. */
  readonly clients: () => BusCounters | undefined;
  /** As it is now. */
  readonly config: () => { readonly maxInFlight: number; readonly maxConnections: number };
  /** Why a changed configuration is not used, or not in full. */
  readonly waiting: () => string | undefined;
}

/** What is needed of a client that watches the status. */
export interface StatusWatcher {
  accept(): void;
  send(frame: Bytes): void;
  onClose(fn: () => void): void;
}

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
    const lines = [...subscriptions.lines].sort(([a], [b]) => a - b).map(([, line]) => line);
    const spool = this.#sources.spool.stats();
    const clients = this.#sources.clients() ?? NO_CLIENTS;
    return {
      version: VERSION,
      uptime: clock.now() - this.#startedAt,
      connections: lines.map(connectionView),
      spool: spoolView(spool),
      publishes: this.#publishes(),
      received: subscriptions.received,
      clients: {
        open: clients.clients,
        total: clients.total,
        subscriptions: clients.subscriptions,
        closed_as_slow: clients.closedAsSlow,
        refused: clients.refused,
      },
      queues: this.#queues(lines, spool, clients),
      config_waiting: this.#sources.waiting() ?? null,
    };
  }

  #publishes(): Status["publishes"] {
    const { counters, waitingQos0 } = this.#sources.publisher;
    return {
      accepted: counters.accepted,
      sent: counters.sent,
      acknowledged: counters.acknowledged,
      refused_by_broker: counters.refusedByBroker,
      expired: counters.expired,
      throttled_ms: counters.throttledMs,
      waiting_qos0_messages: waitingQos0.messages,
      waiting_qos0_bytes: waitingQos0.bytes,
    };
  }

  #queues(lines: readonly StatusLine[], spool: SpoolStats, clients: BusCounters): QueueView[] {
    const { publisher, subscriptions } = this.#sources;
    const config = this.#sources.config();
    const filters = lines.reduce((sum, { sync }) => sum + sync.size, 0);
    const unwritten = lines.map(({ connection }) => connection.buffered);
    return [
      queue("spool_bytes", spool.bytes, spool.maxBytes),
      queue("waiting_qos0_bytes", publisher.waitingQos0.bytes),
      queue("in_flight", publisher.inFlight, config.maxInFlight),
      queue("unwritten_bytes", Math.max(0, ...unwritten)),
      queue("subscriptions", filters, BOUNDS.subscriptions.most * config.maxConnections),
      queue("virtual_filters", subscriptions.virtualFilters),
      queue("clients", clients.clients),
      queue("longest_client_queue_bytes", clients.longestQueueBytes),
    ];
  }
}

function connectionView({ connection, sync }: StatusLine): Status["connections"][number] {
  const { clientId, connected, since, inFlight, lastError } = connection.status;
  return {
    client_id: clientId,
    connected,
    since: since ?? null,
    subscriptions: sync.size,
    in_flight: inFlight,
    buffered_bytes: connection.buffered,
    last_error: lastError ?? null,
  };
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

/** @param bound What is configured, where the table has only the greatest there may be. */
function queue(name: BoundName, fill: number, bound: number = BOUNDS[name].most): QueueView {
  return { name, fill, bound };
}
