import { type Bytes, utf8 } from "../base/bytes.ts";
import type { Clock } from "../base/clock.ts";
import { BusError, Code } from "../base/errors.ts";
import type { Log } from "../base/log.ts";
import type { ConnackInfo, Qos, SubscribeResult } from "../mqtt/link.ts";
import { localFilter } from "../topic/filter.ts";
import { Trie } from "../topic/trie.ts";
import { encodeValueFrame } from "../wire/frame.ts";
import { receivers } from "./fan_out.ts";
import type { Line, LineConnection } from "./line.ts";
import { Lines } from "./lines.ts";

/** How long no further connection is tried after the broker refused one, in ms. */
export const REFUSED_LINE_MS = 600_000;

/** How long no further connection is tried after one could not be made in time, in ms. */
export const LATE_LINE_MS = 60_000;

/** Filters of all virtual subscriptions together: no broker bounds those. */
export const MAX_VIRTUAL_FILTERS = 10_000;

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
  is: "asked" | "accepted" | "over";
}

/** One filter at the broker, shared by every local subscription that has it. */
interface Shared<C extends LineConnection> {
  readonly line: Line<LocalSubscription, C>;
  readonly users: Set<LocalSubscription>;
}

/** What {@linkcode Subscriptions} is made with. */
export interface SubscriptionsOptions<C extends LineConnection> {
  /** The most connections that may be opened, 1 or more; may change. */
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
  readonly #log: Log;
  readonly #lines: Lines<LocalSubscription, C>;
  readonly #shared = new Map<string, Shared<C>>();
  readonly #virtual = new Trie<LocalSubscription>();
  #received = 0;
  #locals = 0;
  /** Of the last message: those of a topic often come in a row. */
  #lastTopic = { topic: "", bytes: utf8("") };

  constructor(options: SubscriptionsOptions<C>) {
    this.#log = options.log;
    this.#lines = new Lines(options, {
      onAnswer: (filter, result) => this.#onAnswer(filter, result),
      onSynced: options.onSynced,
      onLate: (index, reason) => this.#onLate(index, reason),
    });
  }

  /** Begins to connect (iotcored-2). */
  start(): void {
    this.#lines.start();
  }

  /** The connections that there are, by number; 0 is the one with the bare id. */
  get lines(): ReadonlyMap<number, Line<unknown, C>> {
    return this.#lines.all;
  }

  /** Messages that arrived from the broker. */
  get received(): number {
    return this.#received;
  }

  /** Filters of virtual subscriptions. */
  get virtualFilters(): number {
    return this.#virtual.size;
  }

  /** Subscriptions that clients have, virtual ones included. */
  get locals(): number {
    return this.#locals;
  }

  /**
   * Subscribes a client; it is accepted when the broker has granted every filter, or at once while that connection is down.
   *
   * @throws {BusError} NOMEM when the filters do not fit on the connections there may be, or too many virtual ones are there
   */
  add(filters: readonly string[], qos: Qos, virtual: boolean, sink: MessageSink): void {
    const local: LocalSubscription = {
      sink,
      virtual,
      filters: [...new Set(filters)],
      pending: new Set(),
      is: "asked",
    };
    if (virtual) this.#checkRoom(local.filters.length);
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
    const locals = receivers(this.#lines.all, this.#virtual, index, topic);
    if (locals.length === 0) return;
    const frame = encodeValueFrame(
      new Map([["topic", this.#bytesOf(topic)], ["payload", payload]]),
    );
    for (const local of locals) local.sink.send(frame);
  }

  /** A connection is up. */
  up(index: number, connack: ConnackInfo): void {
    const line = this.#lines.all.get(index);
    if (line === undefined) return;
    line.up(connack);
    this.#lines.wakeOthers(line);
  }

  /** A connection is down: who waits for its answers is accepted, and subscribed when it is back. */
  down(index: number): void {
    const line = this.#lines.all.get(index);
    if (line === undefined) return;
    line.down();
    this.#acceptOffline(line);
    if (index > 0) return;
    // Without the network, a connection that is being made says nothing about what the broker allows.
    for (const other of this.#lines.all.values()) if (other.openTimer) this.#acceptOffline(other);
  }

  /** The broker refused a connection other than the first for its id: its subscribers get NOMEM. */
  refused(index: number, reason: string): void {
    this.#giveUp(index, "the broker refuses a further connection", REFUSED_LINE_MS, reason);
  }

  /** Stops every connection, each after DISCONNECT. */
  async stop(): Promise<void> {
    await this.#lines.stop();
  }

  #bytesOf(topic: string): Bytes {
    if (this.#lastTopic.topic !== topic) this.#lastTopic = { topic, bytes: utf8(topic) };
    return this.#lastTopic.bytes;
  }

  #checkRoom(filters: number): void {
    if (this.#virtual.size + filters <= MAX_VIRTUAL_FILTERS) return;
    const why = `all clients together may have ${MAX_VIRTUAL_FILTERS} virtual filters`;
    this.#log.warn("a virtual subscription is refused: there is no room for its filters", { why });
    throw new BusError(Code.NOMEM, `Cannot subscribe: ${why}`);
  }

  #join(local: LocalSubscription, filter: string, qos: Qos): void {
    let shared = this.#shared.get(filter);
    if (shared === undefined) {
      shared = { line: this.#lines.withRoom(), users: new Set() };
      this.#shared.set(filter, shared);
    }
    const { line, users } = shared;
    users.add(local);
    line.trie.add(localFilter(filter), local);
    line.sync.want(filter, qos);
    if (line.answers && !line.sync.has(filter, qos)) local.pending.add(filter);
  }

  #onLate(index: number, reason: string): void {
    this.#giveUp(index, "a further connection could not be made", LATE_LINE_MS, reason);
  }

  #giveUp(index: number, what: string, blockMs: number, reason: string): void {
    const line = this.#lines.all.get(index);
    if (line === undefined) return;
    this.#log.warn(
      `${what} for more subscriptions; likely cause: the policy allows only the thing name as client id, ` +
        `not the ones that end in _1, _2 and so on; not tried again for ${blockMs / 60_000} min`,
      { connection: index, reason },
    );
    this.#lines.block(blockMs);
    const error = new BusError(Code.NOMEM, `Cannot subscribe: ${what} for more subscriptions`);
    for (const shared of [...this.#shared.values()]) {
      if (shared.line === line) { for (const local of [...shared.users]) this.#fail(local, error); }
    }
    this.#lines.close(line);
  }

  #onAnswer(filter: string, result: SubscribeResult): void {
    const users = [...this.#shared.get(filter)?.users ?? []];
    if (result.code < 0x80) {
      for (const local of users) this.#answered(local, filter);
      return;
    }
    const reason = result.reason || `reason code 0x${result.code.toString(16)}`;
    this.#log.warn("the broker refused a subscription", {
      reason,
      filter_bytes: utf8(filter).length,
    });
    this.#log.debug("the refused filter", { filter });
    const error = new BusError(
      Code.REMOTE,
      `the broker refused the subscription: ${reason}`,
      reason,
    );
    for (const local of users) this.#fail(local, error);
  }

  #acceptOffline(line: Line<LocalSubscription, C>): void {
    line.opened();
    for (const [filter, shared] of this.#shared) {
      if (shared.line === line) { for (const local of shared.users) this.#answered(local, filter); }
    }
  }

  #answered(local: LocalSubscription, filter: string): void {
    if (local.pending.delete(filter)) this.#acceptWhenReady(local);
  }

  #acceptWhenReady(local: LocalSubscription): void {
    if (local.is !== "asked" || local.pending.size > 0) return;
    local.is = "accepted";
    local.sink.accept();
  }

  /** Ends a subscription that cannot be had, with all its filters. */
  #fail(local: LocalSubscription, error: BusError): void {
    const accepted = local.is === "accepted";
    // Not left to `onClose`: a refusal may have to wait behind an answer that its client asked for earlier.
    this.#release(local);
    if (accepted) local.sink.close(error.message);
    else local.sink.refuse(error);
  }

  #release(local: LocalSubscription): void {
    if (local.is === "over") return;
    local.is = "over";
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
    this.#lines.freed(line);
  }
}
