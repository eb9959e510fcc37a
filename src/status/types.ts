/** One connection to the broker. */
export interface ConnectionView {
  /** Of the last attempt; empty before the first. */
  readonly client_id: string;
  /** Whether it is up. */
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
  /** Topic filters that the broker does not take now, and that are tried again. */
  readonly subscriptions_delayed: number;
  /** Bytes of the largest packet that the broker takes; as all that follows, `null` when it does not say or is not connected. */
  readonly max_packet_bytes: number | null;
  /** The highest QoS that the broker takes; `null` also for 1. */
  readonly max_qos: number | null;
  /** `false` when the broker keeps no retained messages. */
  readonly retain_available: boolean | null;
  /** `false` when the broker takes no wildcards in filters. */
  readonly wildcards_available: boolean | null;
  /** `false` when the broker has no shared subscriptions. */
  readonly shared_available: boolean | null;
  /** The keep-alive that the broker wants in place of the configured one, in ms. */
  readonly keep_alive_ms: number | null;
  /** How long the broker keeps the session after a connection, when it is not what was asked for, in ms. */
  readonly session_expiry_ms: number | null;
  /** Why the last attempt failed or the last connection was lost. */
  readonly last_error: string | null;
}

/** A message that is kept, but not sent. */
export interface QuarantinedView {
  /** Its number in the spool. */
  readonly seq: number;
  /** Its topic. */
  readonly topic: string;
  /** Why it is kept back. */
  readonly reason: string;
}

/** The messages that wait; counters are since the start of the daemon. */
export interface SpoolView {
  /** `memory` or `disk`. */
  readonly storage: string;
  /** With what is in flight and in quarantine. */
  readonly messages: number;
  /** What they count for, in bytes. */
  readonly bytes: number;
  /** The most that they may count for, in bytes. */
  readonly max_bytes: number;
  /** Age of the oldest message that is to be sent, in ms; 0 when there is none. */
  readonly oldest_age_ms: number;
  /** QoS 0 messages that made room for others. */
  readonly evicted: number;
  /** Messages that expired in the spool. */
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

/** A topic or filter that the broker may close, or closes, the connection for. */
export interface SubjectView {
  /** `topic` or `filter`. */
  readonly kind: string;
  /** The topic, or the filter. */
  readonly name: string;
  /** `suspect`: its packets go one at a time, each alone in flight; `refused`: nobody may use it. */
  readonly state: string;
  /** In ms since the Unix epoch. */
  readonly since: number;
  /** Until when it is refused, in ms since the Unix epoch; `null` for a suspect. */
  readonly until: number | null;
  /** Why it is refused; `null` for a suspect. */
  readonly reason: string | null;
}

/** The search for packets that the broker closes the connection for; counters are since the start of the daemon. */
export interface SuspicionView {
  /** Topics and filters that are suspect now. */
  readonly suspects: number;
  /** Topics and filters that are refused now. */
  readonly refused: number;
  /** Packets of suspects that went alone. */
  readonly trials: number;
  /** Topics and filters that were found to be why the connection was closed. */
  readonly condemned: number;
  /** Messages of clients that were refused at once because of their topic. */
  readonly refused_messages: number;
  /** Accepted messages that were given up because of their topic: QoS 0, and QoS 1 for which the quarantine had no room. */
  readonly dropped_messages: number;
  /** The first of the suspects and the refused. */
  readonly subjects: readonly SubjectView[];
}

/** What became of the messages of local clients, since the start of the daemon. */
export interface PublishView {
  /** Messages that were accepted. */
  readonly accepted: number;
  /** Messages sent to the broker, repetitions included. */
  readonly sent: number;
  /** QoS 1 messages with a PUBACK that says success. */
  readonly acknowledged: number;
  /** QoS 1 messages that the broker refused, and that were given up. */
  readonly refused_by_broker: number;
  /** Messages that expired outside the spool, while they waited for their turn. */
  readonly expired: number;
  /** How long messages waited for the rate limit, in ms. */
  readonly throttled_ms: number;
  /** QoS 0 messages that wait for the rate limit now. */
  readonly waiting_qos0_messages: number;
  /** What they count for, in bytes. */
  readonly waiting_qos0_bytes: number;
  /** PUBACKs that said "quota exceeded" (0x97); their messages are sent again. */
  readonly turned_away: number;
  /** Messages that had no PUBACK for longer than is usual. */
  readonly overdue: number;
  /** Messages that were sent again on the same connection for want of a PUBACK. */
  readonly resent: number;
  /** QoS 1 messages that may be unanswered now; it shrinks when messages are lost. */
  readonly window: number;
  /** Messages a minute that are sent while the account takes no more; `null` while it takes everything. */
  readonly rate_per_minute: number | null;
  /** What keeps messages waiting now, though connected: `account`, `rate limit` or `broker window`; `null`: nothing. */
  readonly throttled_by: string | null;
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
  /** Closed because they asked for nothing for long. */
  readonly closed_as_idle: number;
  /** Requests that were refused. */
  readonly refused: number;
  /** Messages that were left out for a subscriber because they are larger than it takes. */
  readonly too_large: number;
}

/** How full something is that has a bound. */
export interface QueueView {
  /** What it is. */
  readonly name: string;
  /** How much is in it, in its own unit. */
  readonly fill: number;
  /** How much may be in it. */
  readonly bound: number;
}

/**
 * What the daemon says of itself. The names are those that travel on the core bus and that `iotcored status --json` prints.
 */
export interface Status {
  /** Of the daemon. */
  readonly version: string;
  /** Since the start of the daemon, in ms. */
  readonly uptime: number;
  /** The connections to the broker, the one with the bare client id first. */
  readonly connections: readonly ConnectionView[];
  /** The messages that wait. */
  readonly spool: SpoolView;
  /** What became of messages. */
  readonly publishes: PublishView;
  /** What the broker closes the connection for, or may. */
  readonly suspicion: SuspicionView;
  /** Messages that arrived from the broker since the start of the daemon. */
  readonly received: number;
  /** Messages that were acknowledged and not handed out, as their publisher broke MQTT. */
  readonly rejected: number;
  /** How long reading from the broker was held back for subscribers that were behind, in ms. */
  readonly held_ms: number;
  /** When the device certificate in use ends, in ms since the Unix epoch; `null` before it was read. */
  readonly certificate_expires: number | null;
  /** The local clients. */
  readonly clients: ClientsView;
  /** What has a bound. */
  readonly queues: readonly QueueView[];
  /** Why a changed configuration is not used, or not in full; `null` when nothing waits. */
  readonly config_waiting: string | null;
}
