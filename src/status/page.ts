import type { ConnectionView, Status } from "./types.ts";

/** Messages in quarantine that the page names. */
const NAMED_QUARANTINED = 5;

/** Topics and filters that are suspect or refused that the page names. */
const NAMED_SUBJECTS = 5;

/** A certificate that ends sooner than this is shown, in ms. */
export const EXPIRY_WARNING_MS = 30 * 86_400_000;

const LABEL_WIDTH = 13;

/**
 * The status as lines for a person.
 *
 * @param now Milliseconds since the Unix epoch, for how long connections have been up.
 */
export function statusPage(status: Status, socket: string, now: number): string[] {
  return [
    `iotcored ${status.version}, up ${duration(status.uptime)}, at ${visible(socket)}`,
    "",
    ...status.connections.flatMap((connection) => connectionLines(connection, now)),
    ...spoolLines(status),
    ...publishLines(status),
    ...suspicionLines(status, now),
    row("received", `${grouped(status.received)} messages`),
    ...clientLines(status),
    ...certificateLines(status, now),
    ...status.config_waiting === null
      ? []
      : [row("config", `waiting: ${visible(status.config_waiting)}`)],
  ];
}

/** The status in one line, for a log. */
export function statusLine(status: Status, now: number): string {
  const { connections, spool, publishes } = status;
  const up = connections.filter(({ connected }) => connected).length;
  const fields = {
    connected: `${up}/${connections.length}`,
    spool_messages: spool.messages,
    spool_bytes: spool.bytes,
    accepted: publishes.accepted,
    sent: publishes.sent,
    acknowledged: publishes.acknowledged,
    refused_by_broker: publishes.refused_by_broker,
    throttled_ms: publishes.throttled_ms,
    turned_away: publishes.turned_away,
    overdue: publishes.overdue,
    resent: publishes.resent,
    received: status.received,
    clients: status.clients.open,
    quarantined: spool.quarantined_messages,
    suspects: status.suspicion.suspects,
    refused_subjects: status.suspicion.refused,
  };
  const pairs = Object.entries(fields).map(([name, value]) => `${name}=${value}`);
  return `${new Date(now).toISOString()} ${pairs.join(" ")}`;
}

/** A connection, and why it is or was down. */
export function connectionLines(connection: ConnectionView, now: number): string[] {
  const { client_id, connected, since, address, subscriptions, in_flight, last_error } = connection;
  const state = connected ? `up ${duration(now - (since ?? now))}` : "DOWN";
  const lines = [
    row(
      "connection",
      visible(client_id) || "(new)",
      state,
      `${subscriptions} subscriptions`,
      `${in_flight} in flight`,
      ...address === null ? [] : [visible(address)],
    ),
  ];
  const allows = allowed(connection);
  if (allows.length > 0) lines.push(row("", `broker: ${allows.join(", ")}`));
  if (last_error !== null) {
    lines.push(row("", `${connected ? "before that" : "reason"}: ${visible(last_error)}`));
  }
  return lines;
}

/** A certificate that ends soon is what somebody has to act on; any other is not worth a line. */
function certificateLines({ certificate_expires: expires }: Status, now: number): string[] {
  if (expires === null || expires - now > EXPIRY_WARNING_MS) return [];
  if (expires <= now) return [row("certificate", "EXPIRED")];
  return [row("certificate", `EXPIRES in ${duration(expires - now)}`)];
}

/** What the broker says of its limits, as far as it limits something. */
function allowed(connection: ConnectionView): string[] {
  const { max_packet_bytes, max_qos, subscriptions_delayed, keep_alive_ms, session_expiry_ms } =
    connection;
  return [
    ...subscriptions_delayed > 0 ? [`does not take ${subscriptions_delayed} filters now`] : [],
    ...max_packet_bytes === null ? [] : [`packets up to ${size(max_packet_bytes)}`],
    ...max_qos === null ? [] : [`QoS up to ${max_qos}`],
    ...connection.retain_available === false ? ["no retained messages"] : [],
    ...connection.wildcards_available === false ? ["no wildcards"] : [],
    ...connection.shared_available === false ? ["no shared subscriptions"] : [],
    ...keep_alive_ms === null ? [] : [`keep-alive ${duration(keep_alive_ms)}`],
    ...session_expiry_ms === null ? [] : [`session kept for ${duration(session_expiry_ms)}`],
  ];
}

function spoolLines({ spool }: Status): string[] {
  const percent = spool.max_bytes === 0 ? 0 : Math.floor(100 * spool.bytes / spool.max_bytes);
  const lines = [
    row(
      "spool",
      spool.storage,
      `${grouped(spool.messages)} messages`,
      `${size(spool.bytes)} of ${size(spool.max_bytes)} (${percent}%)`,
      ...(spool.oldest_age_ms > 0 ? [`oldest ${duration(spool.oldest_age_ms)}`] : []),
    ),
    row(
      "",
      `evicted ${grouped(spool.evicted)}`,
      `expired ${grouped(spool.expired)}`,
      `refused ${grouped(spool.refused)}`,
      `failed ${grouped(spool.failed)}`,
      `in quarantine ${grouped(spool.quarantined_messages)}`,
    ),
  ];
  for (const { seq, topic, reason } of spool.quarantined.slice(0, NAMED_QUARANTINED)) {
    lines.push(row("", `#${seq} ${visible(topic)}: ${visible(reason)}`));
  }
  const more = spool.quarantined_messages -
    Math.min(NAMED_QUARANTINED, spool.quarantined.length);
  if (more > 0) lines.push(row("", `and ${grouped(more)} more`));
  return lines;
}

function publishLines({ publishes }: Status): string[] {
  return [
    row(
      "publishes",
      `accepted ${grouped(publishes.accepted)}`,
      `sent ${grouped(publishes.sent)}`,
      `acknowledged ${grouped(publishes.acknowledged)}`,
      `refused by broker ${grouped(publishes.refused_by_broker)}`,
    ),
    row(
      "",
      `expired ${grouped(publishes.expired)}`,
      `QoS 0 waiting ${grouped(publishes.waiting_qos0_messages)}`,
      `throttled for ${duration(publishes.throttled_ms)}`,
      ...(publishes.throttled_by === null ? [] : [`now by the ${publishes.throttled_by}`]),
    ),
    row(
      "",
      `window ${grouped(publishes.window)}`,
      ...(publishes.rate_per_minute === null
        ? []
        : [`slowed to ${grouped(publishes.rate_per_minute)} a minute`]),
      `turned away ${grouped(publishes.turned_away)}`,
      `overdue ${grouped(publishes.overdue)}`,
      `sent again ${grouped(publishes.resent)}`,
    ),
  ];
}

/** Nothing, as long as nothing is or was suspected. */
function suspicionLines({ suspicion }: Status, now: number): string[] {
  const { suspects, refused, trials, refused_messages, dropped_messages, subjects } = suspicion;
  if (suspects + refused + trials === 0) return [];
  const lines = [
    row(
      "closes",
      `suspect ${grouped(suspects)}`,
      `refused ${grouped(refused)}`,
      `tried ${grouped(trials)}`,
      `messages refused ${grouped(refused_messages)}`,
      `dropped ${grouped(dropped_messages)}`,
    ),
  ];
  for (const { kind, name, state, until, reason } of subjects.slice(0, NAMED_SUBJECTS)) {
    const why = reason === null ? "" : `: ${visible(reason)}`;
    const left = until === null ? "" : ` for ${duration(until - now)}`;
    lines.push(row("", `${kind} ${visible(name)} ${state}${left}${why}`));
  }
  const more = suspects + refused - Math.min(NAMED_SUBJECTS, subjects.length);
  if (more > 0) lines.push(row("", `and ${grouped(more)} more`));
  return lines;
}

function clientLines({ clients, queues }: Status): string[] {
  const lines = [
    row(
      "clients",
      `${grouped(clients.open)} open`,
      `${grouped(clients.total)} in all`,
      `${grouped(clients.subscriptions)} subscribed`,
      `closed as slow ${grouped(clients.closed_as_slow)}`,
      `requests refused ${grouped(clients.refused)}`,
    ),
  ];
  if (clients.too_large > 0) {
    lines.push(row("", `messages larger than a subscriber takes ${grouped(clients.too_large)}`));
  }
  const filling = queues.filter(({ fill, bound }) => bound > 0 && fill >= bound / 2);
  for (const { name, fill, bound } of filling) {
    lines.push(row("", `${visible(name)} is at ${grouped(fill)} of ${grouped(bound)}`));
  }
  return lines;
}

export function row(label: string, ...cells: readonly string[]): string {
  return `${label.padEnd(LABEL_WIDTH)}${cells.join("   ")}`;
}

/** A number with commas between its thousands. */
export function grouped(number: number): string {
  return String(number).replaceAll(/\B(?=(\d{3})+$)/g, ",");
}

/** Bytes with a unit that keeps the number short. */
export function size(bytes: number): string {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let amount = bytes;
  let unit = 0;
  while (amount >= 1_024 && unit < units.length - 1) {
    amount /= 1_024;
    unit++;
  }
  return unit === 0 ? `${bytes} B` : `${amount.toFixed(1)} ${units[unit]}`;
}

/** A length of time by its two largest units. */
export function duration(ms: number): string {
  const seconds = Math.max(0, Math.floor(ms / 1_000));
  if (seconds < 10) return `${(Math.max(0, ms) / 1_000).toFixed(1)} s`;
  if (seconds < 60) return `${seconds} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min ${seconds % 60} s`;
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return `${hours} h ${minutes % 60} min`;
  return `${Math.floor(hours / 24)} d ${hours % 24} h`;
}

/** Clients choose topics: none of them may move the cursor of who looks. */
export function visible(text: string): string {
  return text.replace(
    /[\p{Cc}\p{Cf}\u2028\u2029]/gu,
    (char) => `\\u${char.codePointAt(0)!.toString(16).padStart(4, "0")}`,
  );
}
