import { FILTERS_PER_CONNECTION } from "../aws/limits.ts";
import type { Clock, Timer } from "../base/clock.ts";
import { BusError, BusErrorCode } from "../base/errors.ts";
import type { Log } from "../base/log.ts";
import type { PooledConnection } from "../mqtt/pool.ts";
import type { ConnackInfo } from "../mqtt/link.ts";
import { Trie } from "../topic/trie.ts";
import { Copies } from "./copies.ts";
import { type FilterGate, FilterSync, type FilterSyncHandler } from "./filter_sync.ts";

/** How long a connection without subscriptions is kept, in ms. */
export const IDLE_CONNECTION_MS = 60_000;

/** How long a further connection may take while the first one stands, in ms; a refusal can show as a mere close. */
export const OPEN_CONNECTION_MS = 15_000;

/** What is needed of a connection. */
export type FilterConnection = Pick<
  PooledConnection,
  "index" | "status" | "subscribe" | "unsubscribe" | "ping" | "reconnect"
>;

/** What is needed of the pool. */
export interface FilterPool {
  open(index: number): FilterConnection;
  close(index: number): void;
}

/** The filters that are assigned to one connection, and who gets what arrives on it. */
export class FilterAssignment<T> {
  /** Whoever gets messages, by filter. */
  readonly trie = new Trie<T>();
  readonly copies = new Copies();
  readonly sync: FilterSync;
  /** Runs while no filter is assigned. */
  idleTimer: Timer | undefined;
  /** Runs while the connection is made for the first time and clients wait to hear whether the broker allows it. */
  openTimer: Timer | undefined;

  constructor(
    readonly connection: FilterConnection,
    clock: Clock,
    gate: FilterGate,
    handler: FilterSyncHandler,
    random?: () => number,
  ) {
    this.sync = new FilterSync(clock, gate, handler, random);
  }

  /** The number of the connection. */
  get index(): number {
    return this.connection.index;
  }

  /** Whether another filter fits. */
  get hasRoom(): boolean {
    return this.sync.size < FILTERS_PER_CONNECTION;
  }

  /** Whether the broker's answer about a filter can be waited for. */
  get answers(): boolean {
    return this.sync.isUp || this.openTimer !== undefined;
  }

  /** The connection was accepted by the broker. */
  up(connack: ConnackInfo): void {
    this.opened();
    this.sync.up(this.connection, connack.sessionPresent, connack);
  }

  /** The connection is gone. */
  down(): void {
    this.opened();
    this.sync.down();
  }

  /** Nobody waits any longer to hear whether the broker allows the connection. */
  opened(): void {
    this.openTimer?.cancel();
    this.openTimer = undefined;
  }
}

/** What {@linkcode FilterAssignments} is made with. */
export interface AssignmentOptions {
  /** The most connections that may be open, 1 or more. */
  readonly maxConnections: number;
  readonly pool: FilterPool;
  /** What says when the filters of a connection may be subscribed. */
  readonly gate: (index: number) => FilterGate;
  readonly clock: Clock;
  readonly log: Log;
  /** A number in [0, 1). */
  readonly random?: () => number;
}

/** Who hears of the assignments. */
export interface AssignmentHandler extends FilterSyncHandler {
  /** A further connection could not be made in time, though the first one stands. */
  onLate(assignment: FilterAssignment<unknown>, reason: string): void;
}

/** Which connection has which filters (iotcored-5): one is opened when filters need room, and closed when none needs it. */
export class FilterAssignments<T> {
  maxConnections: number;
  readonly #options: AssignmentOptions;
  readonly #handler: AssignmentHandler;
  readonly #byIndex = new Map<number, FilterAssignment<T>>();
  #blockedUntil = -Infinity;

  constructor(options: AssignmentOptions, handler: AssignmentHandler) {
    this.maxConnections = options.maxConnections;
    this.#options = options;
    this.#handler = handler;
  }

  /** By the number of the connection. */
  get all(): ReadonlyMap<number, FilterAssignment<T>> {
    return this.#byIndex;
  }

  /** Opens the first connection. */
  start(): void {
    this.#open(0);
  }

  /**
   * The first assignment that takes one more filter, opened if need be.
   *
   * @throws {BusError} NOMEM when there is none
   */
  withRoom(): FilterAssignment<T> {
    const { clock, log } = this.#options;
    const blocked = clock.now() < this.#blockedUntil;
    for (let index = 0; index < this.maxConnections; index++) {
      const assignment = this.#byIndex.get(index);
      if (assignment?.hasRoom) {
        assignment.idleTimer?.cancel();
        return assignment;
      }
      if (assignment === undefined && !(blocked && index > 0)) return this.#open(index);
    }
    const why = blocked
      ? "a further connection was refused, or could not be made, a short time ago"
      : `AWS IoT Core allows ${FILTERS_PER_CONNECTION} subscriptions on a connection, and the ` +
        `${this.maxConnections} allowed by --max-connections are full`;
    log.warn("a subscription is refused: there is no room for its filter", { why });
    throw new BusError(BusErrorCode.NOMEM, `Cannot subscribe: ${why}`);
  }

  /** Opens no further connection for so many ms. */
  block(ms: number): void {
    this.#blockedUntil = this.#options.clock.now() + ms;
  }

  /** A filter was dropped: a further connection without any is closed after a while. */
  freed(assignment: FilterAssignment<T>): void {
    const { index, sync } = assignment;
    if (index === 0 || sync.size > 0 || this.#byIndex.get(index) !== assignment) return;
    assignment.idleTimer?.cancel();
    assignment.idleTimer = this.#options.clock.after(
      IDLE_CONNECTION_MS,
      () => this.close(assignment),
    );
  }

  /** Closes a connection. */
  close(assignment: FilterAssignment<T>): void {
    this.#end(assignment);
    this.#options.pool.close(assignment.index);
  }

  /** Forgets all of them: whoever owns the pool closes it. */
  stop(): void {
    for (const assignment of [...this.#byIndex.values()]) this.#end(assignment);
  }

  #end(assignment: FilterAssignment<T>): void {
    assignment.idleTimer?.cancel();
    assignment.down();
    this.#byIndex.delete(assignment.index);
  }

  #open(index: number): FilterAssignment<T> {
    const { clock, gate, pool, log, random } = this.#options;
    if (index > 0) {
      log.info("a further connection is opened for more subscriptions", { connection: index });
    }
    const connection = pool.open(index);
    const assignment = new FilterAssignment<T>(
      connection,
      clock,
      gate(index),
      this.#handler,
      random,
    );
    this.#byIndex.set(index, assignment);
    if (index > 0 && this.#byIndex.get(0)?.sync.isUp) {
      assignment.openTimer = clock.after(
        OPEN_CONNECTION_MS,
        () => this.#handler.onLate(assignment, connection.status.lastError ?? "no answer"),
      );
    }
    return assignment;
  }
}
