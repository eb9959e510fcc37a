import type { Clock } from "../base/clock.ts";
import { BusError, Code, messageOf } from "../base/errors.ts";
import type { Log } from "../base/log.ts";
import { FILTERS_PER_LINE, Line, type LineConnection, type LineHandler } from "./line.ts";

/** How long a connection without subscriptions is kept, in ms. */
export const IDLE_LINE_MS = 60_000;

/** How long a further connection may take while the first one stands, in ms; a refusal can show as a mere close. */
export const OPEN_LINE_MS = 15_000;

/** How often at most a connection that came up makes the others try at once, in ms: so long it has stood to be good. */
export const WAKE_SPACING_MS = 30_000;

/** What {@linkcode Lines} is made with. */
export interface LinesOptions<C extends LineConnection> {
  /** The most connections that may be open, 1 or more; may change. */
  readonly maxConnections: number;
  readonly clock: Clock;
  readonly log: Log;
  /** Makes the connection of a number. */
  readonly connect: (index: number) => C;
}

/** Who hears of the lines: {@linkcode Subscriptions}. */
export interface LinesHandler extends LineHandler {
  /** A further connection could not be made in time, though the first one stands. */
  onLate(index: number, reason: string): void;
}

/** The connections that there are (iotcored-5): opened when filters need room, closed when nobody needs them any more. */
export class Lines<T, C extends LineConnection> {
  readonly #options: LinesOptions<C>;
  readonly #handler: LinesHandler;
  readonly #lines = new Map<number, Line<T, C>>();
  readonly #closing = new Set<Promise<void>>();
  #blockedUntil = -Infinity;
  #wokenAt = -Infinity;

  constructor(options: LinesOptions<C>, handler: LinesHandler) {
    this.#options = options;
    this.#handler = handler;
  }

  /** By number; 0 is the one with the bare id. */
  get all(): ReadonlyMap<number, Line<T, C>> {
    return this.#lines;
  }

  /** Opens the first connection, unless it is there. */
  start(): void {
    if (!this.#lines.has(0)) this.#open(0);
  }

  /**
   * The first line that takes one more filter, opened if need be.
   *
   * @throws {BusError} NOMEM when there is none
   */
  withRoom(): Line<T, C> {
    const { maxConnections, clock, log } = this.#options;
    const blocked = clock.now() < this.#blockedUntil;
    for (let index = 0; index < maxConnections; index++) {
      const line = this.#lines.get(index);
      if (line?.hasRoom) {
        line.idleTimer?.cancel();
        return line;
      }
      if (line === undefined && !(blocked && index > 0)) return this.#open(index);
    }
    const why = blocked
      ? "a further connection was refused, or could not be made, a short time ago"
      : `AWS IoT Core allows ${FILTERS_PER_LINE} subscriptions on a connection, and the ${maxConnections} allowed by ` +
        `--max-connections are full`;
    log.warn("a subscription is refused: there is no room for its filter", { why });
    throw new BusError(Code.NOMEM, `Cannot subscribe: ${why}`);
  }

  /** Opens no further connection for so many ms. */
  block(ms: number): void {
    this.#blockedUntil = this.#options.clock.now() + ms;
  }

  /** A filter was dropped: a further connection without any is closed after a while. */
  freed(line: Line<T, C>): void {
    if (line.index === 0 || line.sync.size > 0 || this.#lines.get(line.index) !== line) return;
    line.idleTimer?.cancel();
    line.idleTimer = this.#options.clock.after(IDLE_LINE_MS, () => this.close(line));
  }

  /** Closes a connection, after DISCONNECT if it stands. */
  close(line: Line<T, C>): void {
    line.cancelTimers();
    line.down();
    this.#lines.delete(line.index);
    const closing = line.connection.stop().catch((error: unknown) =>
      this.#options.log.error("a connection could not be closed", {
        connection: line.index,
        error: messageOf(error),
      })
    ).finally(() => this.#closing.delete(closing));
    this.#closing.add(closing);
  }

  /** The broker can be reached: connections that wait for their next attempt need not. */
  wakeOthers(line: Line<T, C>): void {
    const now = this.#options.clock.now();
    if (now - this.#wokenAt < WAKE_SPACING_MS) return;
    for (const other of this.#lines.values()) {
      if (other.sync.isUp || other.connection.status.lastError === undefined) continue;
      this.#wokenAt = now;
      other.connection.reconnect(`connection ${line.index} is up`);
    }
  }

  /** Closes all connections; resolves when every socket is gone. */
  async stop(): Promise<void> {
    for (const line of [...this.#lines.values()]) this.close(line);
    await Promise.all(this.#closing);
  }

  #open(index: number): Line<T, C> {
    const { clock, connect, log } = this.#options;
    const line = new Line<T, C>(index, connect(index), clock, this.#handler);
    this.#lines.set(index, line);
    if (index > 0) {
      log.info("a further connection is opened for more subscriptions", { connection: index });
    }
    if (index > 0 && this.#lines.get(0)?.sync.isUp) {
      line.openTimer = clock.after(
        OPEN_LINE_MS,
        () => this.#handler.onLate(index, line.connection.status.lastError ?? "no answer"),
      );
    }
    line.connection.start();
    return line;
  }
}
