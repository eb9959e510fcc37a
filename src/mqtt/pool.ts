import type { Bytes } from "../base/bytes.ts";
import type { Clock } from "../base/clock.ts";
import { type ExitError, messageOf } from "../base/errors.ts";
import type { Log } from "../base/log.ts";
import { Connection, type ConnectionOptions } from "./connection.ts";
import type { Dial, Target } from "./dial.ts";
import type { ConnackInfo, Delivery, LinkEnd } from "./link.ts";

/** How often at most a connection that came up makes the others try at once, in ms: so long it has stood to be good. */
export const WAKE_SPACING_MS = 30_000;

/** One of the connections of a {@linkcode ConnectionPool}. */
export class PooledConnection extends Connection {
  /** Whether the pool still has it; what a closed one says is nobody's any more. */
  attached = true;

  /** @param index 0 for the one with the bare client id (iotcored-param-id-1), over which everything is published. */
  constructor(readonly index: number, options: ConnectionOptions) {
    super(options);
  }
}

/** Gets what happens on every connection of a pool, in order. */
export interface PoolHandler {
  /** A link stands. */
  onUp(connection: PooledConnection, connack: ConnackInfo): void;
  /** The link is gone; another follows. */
  onDown(connection: PooledConnection, end: LinkEnd): void;
  /** A message arrived; its PUBACK goes out when this returns. */
  onMessage(
    connection: PooledConnection,
    topic: string,
    payload: Bytes,
    delivery?: Delivery,
  ): void;
  /** No further attempt will be made: `error.exit` is 77 (iotcored-4) or 78. */
  onFailed(connection: PooledConnection, error: ExitError): void;
}

/** What a {@linkcode ConnectionPool} is made with. */
export interface PoolOptions {
  /** Whom the connection of a number connects to; asked before each attempt, so that a changed configuration applies. */
  readonly target: (index: number) => Target;
  readonly dial: Dial;
  readonly handler: PoolHandler;
  readonly clock: Clock;
  readonly log: Log;
  /** A number in [0, 1). */
  readonly random: () => number;
}

/** The connections that there are (iotcored-5): opens them, hands on what happens on them, closes them. */
export class ConnectionPool {
  readonly #options: PoolOptions;
  readonly #connections = new Map<number, PooledConnection>();
  readonly #closing = new Set<Promise<void>>();
  #wokenAt = -Infinity;
  #started = false;

  constructor(options: PoolOptions) {
    this.#options = options;
  }

  /** The open connections by number. */
  get all(): ReadonlyMap<number, PooledConnection> {
    return this.#connections;
  }

  /** Begins to connect (iotcored-2); until then connections that are opened wait. */
  start(): void {
    this.#started = true;
    for (const connection of this.#connections.values()) connection.start();
  }

  /** Makes the connection of a number that is not open. */
  open(index: number): PooledConnection {
    const { target, dial, handler, clock, log, random } = this.#options;
    const connection: PooledConnection = new PooledConnection(index, {
      target: () => target(index),
      dial,
      log,
      clock,
      random,
      handler: {
        onUp: (connack) => connection.attached && handler.onUp(connection, connack),
        onDown: (end) => connection.attached && handler.onDown(connection, end),
        onMessage: (topic, payload, delivery) =>
          connection.attached && handler.onMessage(connection, topic, payload, delivery),
        onFailed: (error) => connection.attached && handler.onFailed(connection, error),
      },
    });
    this.#connections.set(index, connection);
    if (this.#started) connection.start();
    return connection;
  }

  /** Closes the connection of a number, after DISCONNECT if it stands; it says nothing more. */
  close(index: number): void {
    const connection = this.#connections.get(index);
    if (connection === undefined) return;
    connection.attached = false;
    this.#connections.delete(index);
    const closing = connection.stop().catch((error: unknown) =>
      this.#options.log.error("a connection could not be closed", {
        connection: index,
        error: messageOf(error),
      })
    ).finally(() => this.#closing.delete(closing));
    this.#closing.add(closing);
  }

  /** The broker can be reached: connections that wait for their next attempt need not. */
  wakeOthers(connection: PooledConnection): void {
    const now = this.#options.clock.now();
    if (now - this.#wokenAt < WAKE_SPACING_MS) return;
    for (const other of this.#connections.values()) {
      const { connected, lastError } = other.status;
      if (connected || lastError === undefined) continue;
      this.#wokenAt = now;
      other.reconnect(`connection ${connection.index} is up`);
    }
  }

  /** Makes every link anew, with a fresh target and credentials. */
  reconnect(reason: string): void {
    for (const connection of this.#connections.values()) connection.reconnect(reason);
  }

  /** Closes all connections; resolves when every socket is gone. */
  async stop(): Promise<void> {
    for (const index of [...this.#connections.keys()]) this.close(index);
    await Promise.all(this.#closing);
  }
}
