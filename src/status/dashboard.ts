/**
 * The status as a page that is looked at: figures of now, and bars of the last minute, for a terminal of 80 columns and 24 rows.
 *
 * @module
 */

import {
  connectionLines,
  duration,
  EXPIRY_WARNING_MS,
  grouped,
  row,
  size,
  visible,
} from "./page.ts";
import type { Status } from "./types.ts";

/** Seconds that are drawn. */
export const DRAWN_SECONDS = 60;

/** Connections that get lines of their own, three each at most. */
const SHOWN_CONNECTIONS = 2;

/** A bar's heights, from nothing to full. */
const BLOCKS = { unicode: " ▁▂▃▄▅▆▇█", ascii: " .:-=+*#@" } as const;

/** How bars are drawn. */
export type BarStyle = keyof typeof BLOCKS;

/** One second. */
interface Sample {
  readonly depth: number;
  readonly sent: number;
  readonly received: number;
}

/** The last minute of a daemon, fed with each status that came. */
export class Minute {
  #last: Status | undefined;
  #samples: Sample[] = [];

  /** Adds the status of another second. Counters that went back are of a daemon that was started anew. */
  add(status: Status): void {
    const last = this.#last;
    this.#last = status;
    const since = (now: number, then: number | undefined): number =>
      then === undefined || now < then ? 0 : now - then;
    this.#samples.push({
      depth: status.spool.messages,
      sent: since(status.publishes.sent, last?.publishes.sent),
      received: since(status.received, last?.received),
    });
    this.#samples = this.#samples.slice(-DRAWN_SECONDS);
  }

  /** Figures of one kind, oldest first. */
  of(kind: keyof Sample): number[] {
    return this.#samples.map((sample) => sample[kind]);
  }
}

/** Figures as bars of equal width, the highest of them full; what is more than nothing is seen. */
export function bars(figures: readonly number[], style: BarStyle): string {
  const blocks = [...BLOCKS[style]];
  const most = Math.max(...figures, 1);
  return figures.map((figure) => {
    const height = Math.ceil((blocks.length - 1) * figure / most);
    return blocks[height];
  }).join("");
}

/**
 * The page, of at most 23 lines of 79 columns.
 *
 * @param now Milliseconds since the Unix epoch.
 */
export function dashboard(
  status: Status,
  minute: Minute,
  { socket, style, now }: {
    readonly socket: string;
    readonly style: BarStyle;
    readonly now: number;
  },
): string[] {
  const { connections, spool, publishes, suspicion, clients } = status;
  const more = connections.length - SHOWN_CONNECTIONS;
  const percent = spool.max_bytes === 0 ? 0 : Math.floor(100 * spool.bytes / spool.max_bytes);
  return [
    `iotcored ${status.version}, up ${duration(status.uptime)}, at ${visible(socket)}`,
    "",
    ...connections.slice(0, SHOWN_CONNECTIONS).flatMap((one) => connectionLines(one, now)),
    ...more > 0 ? [row("", `and ${more} more connections`)] : [],
    row(
      "spool",
      `${grouped(spool.messages)} messages`,
      `${size(spool.bytes)} of ${size(spool.max_bytes)} (${percent}%)`,
      `oldest ${duration(spool.oldest_age_ms)}`,
    ),
    "",
    barRow("depth", minute.of("depth"), style),
    barRow("sent/s", minute.of("sent"), style),
    barRow("received/s", minute.of("received"), style),
    "",
    row(
      "publishes",
      `accepted ${grouped(publishes.accepted)}`,
      `acknowledged ${grouped(publishes.acknowledged)}`,
      `refused ${grouped(publishes.refused_by_broker)}`,
    ),
    row(
      "throttled",
      `for ${duration(publishes.throttled_ms)}`,
      `QoS 0 waiting ${grouped(publishes.waiting_qos0_messages)}`,
    ),
    row(
      "suspects",
      grouped(suspicion.suspects),
      `refused topics and filters ${grouped(suspicion.refused)}`,
      `in quarantine ${grouped(spool.quarantined_messages)}`,
    ),
    row("clients", `${grouped(clients.open)} open`, `${grouped(clients.subscriptions)} subscribed`),
    ...warnings(status, now),
  ];
}

function warnings({ certificate_expires: expires, config_waiting: waiting }: Status, now: number) {
  const lines: string[] = [];
  if (expires !== null && expires - now < EXPIRY_WARNING_MS) {
    const when = expires <= now ? "EXPIRED" : `EXPIRES in ${duration(expires - now)}`;
    lines.push(row("certificate", when));
  }
  if (waiting !== null) lines.push(row("config", `waiting: ${visible(waiting)}`));
  return lines;
}

/** Label, bars to the right, so that now is always at the same place, and the highest figure. */
function barRow(label: string, figures: readonly number[], style: BarStyle): string {
  const most = figures.length === 0 ? 0 : Math.max(...figures);
  return `${label.padEnd(11)}${bars(figures, style).padStart(DRAWN_SECONDS)} ${short(most)}`;
}

/** A figure in at most 6 characters. */
function short(figure: number): string {
  if (figure < 100_000) return String(figure);
  if (figure < 10_000_000) return `${Math.floor(figure / 1_000)}k`;
  return `${Math.floor(figure / 1_000_000)}M`;
}
