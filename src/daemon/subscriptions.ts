import { type Bytes, utf8 } from "../base/bytes.ts";
import type { Clock } from "../base/clock.ts";
import { BusError, Code } from "../base/errors.ts";
import type { Log } from "../base/log.ts";
import type { ConnackInfo, Qos, SubscribeResult } from "../mqtt/port.ts";
import { localFilter } from "../topic/filter.ts";
import { Trie } from "../topic/trie.ts";
import { encodeValueFrame } from "../wire/frame.ts";
import type { Value } from "../wire/object.ts";
import { FILTERS_PER_LINE, Line, type LineConnection } from "./line.ts";

/** How long a connection without subscriptions is kept, in ms. */
export const IDLE_LINE_MS = 60_000;

/** How long no further connection is tried after the broker refused one, in ms. */
export const REFUSED_LINE_MS = 600_000;

/** What is needed of a client of the bus that wants messages. */
export interface MessageSink {
  readonly id: number;
  accept(): void;
  refuse(error: BusError): void;
  send(frame: Bytes): void;
  close(reason: string): void;
  onClose(fn: () => void): void;
}

/** One subscription of one client: some filters, and the client that gets each matching message once. */
interface LocalSubscription {
  readonly sink: MessageSink;
  readonly virtual: boolean;
  readonly filters: readonly string[];
  /** Filters whose SUBACK the client waits for. */
  readonly pending: Set<string>;
  accepted: boolean;
}

/** One filter at the broker, shared by every local subscription that has it. */
interface Shared<C extends LineConnection> {
  readonly line: Line<LocalSubscription, C>;
  readonly users: Set<LocalSubscription>;
}

/** What {@linkcode Subscriptions} is made with. */
export interface SubscriptionsOptions<C extends LineConnection> {
  /** The most connections that may be opened, 1 or more. */
  readonly maxConnections: number;
  readonly clock: Clock;
  readonly log: Log;
  /** Makes the connection of a number. */
  readonly connect: (index: number) => C;
  /** A connection has made everything that is wanted on it. */
  readonly onSynced: () => void;
}

/** Shares the broker's subscriptions among the clients of the bus (iotcored-5) and hands out what arrives. */
export class Subscriptions<C extends LineConnection> {
  readonly #options: SubscriptionsOptions<C>;
  readonly #shared = new Map<string, Shared<C>>();
  readonly #virtual = new Trie<LocalSubscription>();
  readonly #lines = new Map<number, Line<LocalSubscription, C>>();
  #refusedUntil = -Infinity;
  #received = 0;
  #locals = 0;

  constructor(options: SubscriptionsOptions<C>) {
    this.#options = options;
  }

  /** Begins to connect (iotcored-2). */
  start(): void {
    if (!this.#lines.has(0)) this.#open(0);
  }

  /** The connections that there are, by number; 0 is the one with the bare id. */
  get lines(): ReadonlyMap<number, Line<unknown, C>> {
    return this.#lines;
  }

  /** Messages that arrived from the broker. */
  get received(): number {
    return this.#received;
  }

  /** Subscriptions that clients have, virtual ones included. */
  get locals(): number {
    return this.#locals;
  }

  /**
   * Subscribes a client; it is accepted when the broker has granted every filter, or at once while that connection is down.
   *
   * @throws {BusError} NOMEM when the filters do not fit on the connections there may be
   */
  add(filters: readonly string[], qos: Qos, virtual: boolean, sink: MessageSink): void {
    const local: LocalSubscription = {
      sink,
      virtual,
      filters: [...new Set(filters)],
      pending: new Set(),
      accepted: false,
    };
    this.#locals++;
    try {
      for (const filter of local.filters) {
        if (virtual) this.#virtual.add(localFilter(filter), local);
        else this.#join(local, filter, qos);
      }
    } catch (error) {
      this.#release(local);
      throw error;
    }
    sink.onClose(() => this.#release(local));
    this.#acceptWhenReady(local);
  }

  /** Hands out a message that arrived on a connection: once to each subscription that gets it from there. */
  deliver(index: number, topic: string, payload: Bytes): void {
    this.#received++;
    const line = this.#lines.get(index);
    if (line === undefined) return;
    let frame: Bytes | undefined;
    const give = (local: LocalSubscription): void =>
      local.sink.send(frame ??= encodeValueFrame(messageValue(topic, payload)));
    if (this.#lines.size === 1) {
      for (const local of line.trie.match(topic)) give(local);
      for (const local of this.#virtual.match(topic)) give(local);
      return;
    }
    // Another copy comes, or came, over each other connection with a matching filter; the lowest one counts.
    const earlier = new Set<LocalSubscription>();
    let first = true;
    for (const other of this.#lines.values()) {
      if (other.index >= index || !other.sync.isUp) continue;
      for (const local of other.trie.match(topic)) {
        earlier.add(local);
        first = false;
      }
    }
    for (const local of line.trie.match(topic)) if (!earlier.has(local)) give(local);
    if (first) { for (const local of this.#virtual.match(topic)) give(local); }
  }

  /** A connection is up. */
  up(index: number, connack: ConnackInfo): void {
    this.#lines.get(index)?.up(connack);
  }

  /** A connection is down: who waits for its answers is accepted, and subscribed when it is back. */
  down(index: number): void {
    const line = this.#lines.get(index);
    if (line === undefined) return;
    line.down();
    for (const [filter, shared] of this.#shared) {
      if (shared.line === line) { for (const local of shared.users) this.#answered(local, filter); }
    }
  }

  /** The broker refused a connection other than the first for its id: its subscribers get NOMEM. */
  refused(index: number, reason: string): void {
    const line = this.#lines.get(index);
    if (line === undefined) return;
    this.#refusedUntil = this.#options.clock.now() + REFUSED_LINE_MS;
    this.#options.log.warn(
      "the broker refuses a further connection; its policy may allow only the thing name as client id, " +
        `not ${index} connections more; not tried again for ${REFUSED_LINE_MS / 60_000} minutes`,
      { connection: index, reason },
    );
    const error = new BusError(
      Code.NOMEM,
      "the broker refused a further connection for more subscriptions",
    );
    for (const shared of [...this.#shared.values()]) {
      if (shared.line === line) { for (const local of [...shared.users]) this.#fail(local, error); }
    }
    this.#close(line);
  }

  /** Stops every connection, each after DISCONNECT. */
  async stop(): Promise<void> {
    const lines = [...this.#lines.values()];
    for (const line of lines) line.idleTimer?.cancel();
    await Promise.all(lines.map((line) => line.connection.stop()));
  }

  #join(local: LocalSubscription, filter: string, qos: Qos): void {
    let shared = this.#shared.get(filter);
    if (shared === undefined) {
      shared = { line: this.#lineWithRoom(), users: new Set() };
      this.#shared.set(filter, shared);
    }
    const { line, users } = shared;
    users.add(local);
    line.trie.add(localFilter(filter), local);
    line.sync.want(filter, qos);
    if (line.sync.isUp && !line.sync.has(filter, qos)) local.pending.add(filter);
  }

  #lineWithRoom(): Line<LocalSubscription, C> {
    const { maxConnections, clock, log } = this.#options;
    for (let index = 0; index < maxConnections; index++) {
      const line = this.#lines.get(index);
      if (line?.hasRoom) {
        line.idleTimer?.cancel();
        return line;
      }
      if (line === undefined && clock.now() >= this.#refusedUntil) return this.#open(index);
    }
    const most = maxConnections * FILTERS_PER_LINE;
    const why = clock.now() < this.#refusedUntil
      ? "the broker refused a further connection"
      : `AWS IoT Core allows ${FILTERS_PER_LINE} subscriptions on each of ${maxConnections} connections, ${most} in all`;
    log.warn("a subscription is refused: there is no room for its filter", { why });
    throw new BusError(Code.NOMEM, `Cannot subscribe: ${why}`);
  }

  #open(index: number): Line<LocalSubscription, C> {
    const { clock, connect, log, onSynced } = this.#options;
    if (index > 0) {
      log.info("a further connection is opened for more subscriptions", { connection: index });
    }
    const line = new Line<LocalSubscription, C>(index, connect(index), clock, {
      onAnswer: (filter, result) => this.#onAnswer(filter, result),
      onSynced,
    });
    this.#lines.set(index, line);
    line.connection.start();
    return line;
  }

  #close(line: Line<LocalSubscription, C>): void {
    line.idleTimer?.cancel();
    line.down();
    this.#lines.delete(line.index);
    line.connection.stop().catch((error: Error) =>
      this.#options.log.error("a connection could not be closed", {
        connection: line.index,
        error: error.message,
      })
    );
  }

  #onAnswer(filter: string, result: SubscribeResult): void {
    const users = [...this.#shared.get(filter)?.users ?? []];
    if (result.code < 0x80) {
      for (const local of users) this.#answered(local, filter);
      return;
    }
    const reason = result.reason || `reason code 0x${result.code.toString(16)}`;
    this.#options.log.warn("the broker refused a subscription", {
      reason,
      filter_bytes: utf8(filter).length,
    });
    this.#options.log.debug("the refused filter", { filter });
    const error = new BusError(
      Code.REMOTE,
      `the broker refused the subscription: ${reason}`,
      reason,
    );
    for (const local of users) this.#fail(local, error);
  }

  #answered(local: LocalSubscription, filter: string): void {
    if (local.pending.delete(filter)) this.#acceptWhenReady(local);
  }

  #acceptWhenReady(local: LocalSubscription): void {
    if (local.accepted || local.pending.size > 0) return;
    local.accepted = true;
    local.sink.accept();
  }

  /** Ends a subscription that cannot be had; its other filters are left too, through `onClose`. */
  #fail(local: LocalSubscription, error: BusError): void {
    if (local.accepted) local.sink.close(error.message);
    else local.sink.refuse(error);
  }

  #release(local: LocalSubscription): void {
    this.#locals--;
    for (const filter of local.filters) {
      if (local.virtual) this.#virtual.remove(localFilter(filter), local);
      else this.#leave(local, filter);
    }
  }

  #leave(local: LocalSubscription, filter: string): void {
    const shared = this.#shared.get(filter);
    if (!shared?.users.delete(local)) return;
    const { line, users } = shared;
    line.trie.remove(localFilter(filter), local);
    if (users.size > 0) return;
    this.#shared.delete(filter);
    line.sync.drop(filter);
    if (line.index > 0 && line.sync.size === 0) {
      line.idleTimer = this.#options.clock.after(IDLE_LINE_MS, () => this.#close(line));
    }
  }
}

function messageValue(topic: string, payload: Bytes): Value {
  return new Map([["topic", utf8(topic)], ["payload", payload]]);
}
