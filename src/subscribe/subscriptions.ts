/**
 * Messages on their way in: filters of local clients, what is subscribed at the broker, and who gets what arrives.
 *
 * @module
 */

import type { Qos } from "../aws/limits.ts";
import { type Bytes, utf8 } from "../base/bytes.ts";
import type { Clock, Timer } from "../base/clock.ts";
import { BusError, BusErrorCode } from "../base/errors.ts";
import type { Log } from "../base/log.ts";
import type { Subscriber } from "../bus/methods.ts";
import { type ConnackInfo, type Delivery, PLAIN, type SubscribeResult } from "../mqtt/link.ts";
import { describeCode } from "../mqtt/reason_codes.ts";
import { localFilter } from "../topic/filter.ts";
import { Trie } from "../topic/trie.ts";
import { encodeValueFrame } from "../wire/frame.ts";
import type { Value } from "../wire/object.ts";
import { type Arrival, receivers, type SharedFilter, subscribers } from "./fan_out.ts";
import {
  type FilterAssignment,
  FilterAssignments,
  type FilterConnection,
  type FilterPool,
} from "./filter_assignment.ts";
import type { FilterGate } from "./filter_sync.ts";
import { RetainedWait } from "./retained_wait.ts";

/** How long no further connection is tried after the broker refused one, in ms. */
export const REFUSED_BLOCK_MS = 600_000;

/** How long no further connection is tried after one could not be made in time, in ms. */
export const LATE_BLOCK_MS = 60_000;

/** How long the answer to a client waits for SUBACK, in ms: the C library makes its calls one after another. */
export const SUBACK_WAIT_MS = 1_000;

/** Filters of all virtual subscriptions together: no broker bounds those. */
export const MAX_VIRTUAL_FILTERS = 10_000;

/** What is needed of a client of the bus that wants messages. */
export type MessageSubscriber = Pick<
  Subscriber,
  "id" | "label" | "accept" | "refuse" | "send" | "close" | "onClose"
>;

/** The number of a connection, which is all that is needed of it to find its filters. */
type Numbered = Pick<FilterConnection, "index">;

/** One subscription of one client: some filters, and the client that gets each matching message once. */
interface LocalSubscription {
  readonly subscriber: MessageSubscriber;
  readonly virtual: boolean;
  readonly filters: readonly string[];
  /** Filters whose SUBACK the client waits for. */
  readonly pending: Set<string>;
  /** Bytes of the largest frame that the client takes. */
  readonly maxFrameBytes: number;
  /** Whether the client wants to know which messages were retained. */
  readonly retainFlag: boolean;
  /** While the client waits for the retained messages of its filters. */
  retained: RetainedWait | undefined;
  state: "asked" | "accepted" | "over";
  /** Runs while the client waits for SUBACK. */
  timer: Timer | undefined;
  /** Whether it was said that a message was too large for the client. */
  warned: boolean;
}

/** What a client asks for. */
export interface SubscriptionRequest {
  readonly filters: readonly string[];
  readonly qos: Qos;
  /** Get what arrives, and subscribe nothing at the broker. */
  readonly virtual: boolean;
  /** Bytes of the largest frame that the client takes; larger messages are left out. */
  readonly maxFrameBytes: number;
  /** Mark retained messages by `retain` in the value; C clients do not expect it. */
  readonly retainFlag?: boolean;
}

/** One filter at the broker, shared by every local subscription that has it. */
interface Shared extends SharedFilter<LocalSubscription> {
  readonly assignment: FilterAssignment<Shared>;
  readonly users: Set<LocalSubscription>;
}

/** What {@linkcode Subscriptions} is made with. */
export interface SubscriptionsOptions {
  /** The most connections that may be opened, 1 or more. */
  readonly maxConnections: number;
  readonly pool: FilterPool;
  /** What says when the filters of a connection may be subscribed. */
  readonly gate: (index: number) => FilterGate;
  /** Why a filter is refused now, if it is. */
  readonly refusal: (filter: string) => string | undefined;
  readonly clock: Clock;
  readonly log: Log;
  /** A number in [0, 1). */
  readonly random?: () => number;
  /** A connection has made everything that is wanted on it. */
  readonly onSynced: () => void;
}

/** Shares the broker's subscriptions among the clients of the bus (iotcored-5) and hands out what arrives. */
export class Subscriptions {
  readonly #log: Log;
  readonly #refusal: (filter: string) => string | undefined;
  readonly #clock: Clock;
  readonly #assignments: FilterAssignments<Shared>;
  readonly #shared = new Map<string, Shared>();
  readonly #virtual = new Trie<LocalSubscription>();
  #received = 0;
  #tooLarge = 0;
  #locals = 0;
  /** Of the last message: those of a topic often come in a row. */
  #lastTopic = { topic: "", bytes: utf8("") };

  constructor(options: SubscriptionsOptions) {
    this.#log = options.log;
    this.#refusal = options.refusal;
    this.#clock = options.clock;
    this.#assignments = new FilterAssignments(options, {
      onAnswer: (filter, result) => this.#onAnswer(filter, result),
      onSynced: options.onSynced,
      onDelayed: (filter, result, ms) => this.#onDelayed(filter, result, ms),
      onStays: (filter, result) => this.#onStays(filter, result),
      onLate: ({ index }, reason) => this.#onLate(index, reason),
    });
  }

  /** Opens the first connection, which has filters from then on. */
  start(): void {
    this.#assignments.start();
  }

  /** Uses a changed limit; connections beyond it stay until they are idle. */
  update({ maxConnections }: Pick<SubscriptionsOptions, "maxConnections">): void {
    this.#assignments.maxConnections = maxConnections;
  }

  /** The filters that are wanted, by the number of their connection. */
  get assignments(): ReadonlyMap<number, Pick<FilterAssignment<unknown>, "sync" | "trie">> {
    return this.#assignments.all;
  }

  /** Messages that arrived from the broker. */
  get received(): number {
    return this.#received;
  }

  /** Messages that were left out for a client, once for each, because they are larger than it takes. */
  get tooLarge(): number {
    return this.#tooLarge;
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
   * Subscribes a client; it is accepted when the broker has granted every filter, after {@linkcode SUBACK_WAIT_MS}, or at once while
   * that connection is down. What the broker refuses later closes it.
   *
   * @throws {BusError} REMOTE when the broker closes the connection for one of the filters; NOMEM when the filters do not fit on the connections there may be, or too many virtual ones are there
   */
  add(request: SubscriptionRequest, subscriber: MessageSubscriber): void {
    const { qos, virtual, maxFrameBytes, retainFlag = false } = request;
    const filters = [...new Set(request.filters)];
    const local: LocalSubscription = {
      ...{ subscriber, virtual, filters, maxFrameBytes, retainFlag, warned: false },
      timer: undefined,
      retained: virtual ? undefined : new RetainedWait(filters),
      pending: new Set(),
      state: "asked",
    };
    if (virtual) this.#checkRoom(local.filters.length);
    else this.#checkRefusals(local.filters);
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
    subscriber.onClose(() => this.#release(local));
    if (local.pending.size === 0) return this.#accept(local);
    local.timer = this.#clock.after(SUBACK_WAIT_MS, () => this.#accept(local));
  }

  /** Hands out a message that arrived on a connection: once to each subscription that gets it from there. */
  deliver({ index }: Numbered, topic: string, payload: Bytes, delivery: Delivery = PLAIN): void {
    this.#received++;
    const arrival = { ...delivery, index, topic, payload, at: this.#clock.now() };
    const locals = delivery.retain
      ? this.#waitingFor(arrival)
      : receivers(this.#assignments.all, this.#virtual, arrival);
    let frame: Bytes | undefined;
    for (const local of locals) {
      const own = delivery.retain && local.retainFlag
        ? this.#frame(arrival)
        : frame ??= this.#frame({ topic, payload, retain: false });
      if (own.length <= local.maxFrameBytes) local.subscriber.send(own);
      else this.#leaveOut(local, own.length);
    }
  }

  /** A retained message comes for a SUBSCRIBE: who had its filter before has had it. */
  #waitingFor(arrival: Arrival): readonly LocalSubscription[] {
    return [...subscribers(this.#assignments.all, arrival)].filter((local) => {
      if (local.retained?.isOver(arrival.at)) local.retained = undefined;
      return local.retained?.takes(arrival.topic, arrival.at);
    });
  }

  #frame({ topic, payload, retain }: Pick<Arrival, "topic" | "payload" | "retain">): Bytes {
    const value = new Map<string, Value>([["topic", this.#bytesOf(topic)], ["payload", payload]]);
    if (retain) value.set("retain", true);
    return encodeValueFrame(value);
  }

  /** A connection is up. */
  up({ index }: Numbered, connack: ConnackInfo): void {
    this.#assignments.all.get(index)?.up(connack);
  }

  /** A connection is down: who waits for its answers is accepted, and subscribed when it is back. */
  down({ index }: Numbered): void {
    const assignment = this.#assignments.all.get(index);
    if (assignment === undefined) return;
    assignment.down();
    this.#acceptOffline(assignment);
    if (index > 0) return;
    // Without the network, a connection that is being made says nothing about what the broker allows.
    for (const other of this.#assignments.all.values()) {
      if (other.openTimer) this.#acceptOffline(other);
    }
  }

  /** A filter cannot be had: its subscribers get REMOTE, or are closed when they were accepted. */
  refuse(filter: string, reason: string): void {
    this.#onAnswer(filter, { code: 0x80, reason });
  }

  /** The broker refused a connection other than the first for its id: its subscribers get NOMEM. */
  refused({ index }: Numbered, reason: string): void {
    this.#giveUp(index, "the broker refuses a further connection", REFUSED_BLOCK_MS, reason);
  }

  /** Makes no filter any more. */
  stop(): void {
    this.#assignments.stop();
  }

  #bytesOf(topic: string): Bytes {
    if (this.#lastTopic.topic !== topic) this.#lastTopic = { topic, bytes: utf8(topic) };
    return this.#lastTopic.bytes;
  }

  #checkRoom(filters: number): void {
    if (this.#virtual.size + filters <= MAX_VIRTUAL_FILTERS) return;
    const why = `all clients together may have ${MAX_VIRTUAL_FILTERS} virtual filters`;
    this.#log.warn("a virtual subscription is refused: there is no room for its filters", { why });
    throw new BusError(BusErrorCode.NOMEM, `Cannot subscribe: ${why}`);
  }

  #checkRefusals(filters: readonly string[]): void {
    for (const filter of filters) {
      const reason = this.#refusal(filter);
      if (reason !== undefined) throw refused(reason);
    }
  }

  #join(local: LocalSubscription, filter: string, qos: Qos): void {
    let shared = this.#shared.get(filter);
    if (shared === undefined) {
      shared = { filter, assignment: this.#assignments.withRoom(), users: new Set() };
      this.#shared.set(filter, shared);
      shared.assignment.trie.add(localFilter(filter), shared);
    }
    const { assignment, users } = shared;
    users.add(local);
    assignment.sync.want(filter, qos);
    if (assignment.answers && !assignment.sync.has(filter, qos)) local.pending.add(filter);
  }

  #onLate(index: number, reason: string): void {
    this.#giveUp(index, "a further connection could not be made", LATE_BLOCK_MS, reason);
  }

  #giveUp(index: number, what: string, blockMs: number, reason: string): void {
    const assignment = this.#assignments.all.get(index);
    if (assignment === undefined) return;
    this.#log.warn(
      `${what} for more subscriptions; likely cause: the policy allows only the thing name as client id, ` +
        `not the ones that end in _1, _2 and so on; not tried again for ${blockMs / 60_000} min`,
      { connection: index, reason },
    );
    this.#assignments.block(blockMs);
    const error = new BusError(
      BusErrorCode.NOMEM,
      `Cannot subscribe: ${what} for more subscriptions`,
    );
    for (const shared of [...this.#shared.values()]) {
      if (shared.assignment !== assignment) continue;
      for (const local of [...shared.users]) this.#fail(local, error);
    }
    this.#assignments.close(assignment);
  }

  #onAnswer(filter: string, result: SubscribeResult): void {
    const users = [...this.#shared.get(filter)?.users ?? []];
    if (result.code < 0x80) {
      for (const local of users) {
        this.#answered(local, filter);
        local.retained?.granted(filter, this.#clock.now());
      }
      return;
    }
    const reason = result.reason || `reason code 0x${result.code.toString(16)}`;
    this.#log.warn("the broker refused a subscription", {
      reason,
      filter_bytes: utf8(filter).length,
    });
    this.#log.debug("the refused filter", { filter });
    for (const local of users) this.#fail(local, refused(reason));
  }

  #onDelayed(filter: string, { code, reason }: SubscribeResult, ms: number): void {
    const said = describeCode(code, reason);
    this.#log.warn("the broker does not take a subscription now; it is tried again", { said, ms });
    this.#log.debug("the filter that is tried again", { filter });
  }

  #onStays(filter: string, { code, reason }: SubscribeResult): void {
    const said = describeCode(code, reason);
    this.#log.warn("the broker refuses to change a subscription, which stays as it is", { said });
    this.#log.debug("the filter that stays", { filter });
  }

  #acceptOffline(assignment: FilterAssignment<Shared>): void {
    assignment.opened();
    for (const [filter, shared] of this.#shared) {
      if (shared.assignment !== assignment) continue;
      for (const local of shared.users) this.#answered(local, filter);
    }
  }

  #answered(local: LocalSubscription, filter: string): void {
    if (local.pending.delete(filter) && local.pending.size === 0) this.#accept(local);
  }

  #accept(local: LocalSubscription): void {
    if (local.state !== "asked") return;
    local.timer?.cancel();
    local.state = "accepted";
    local.subscriber.accept();
  }

  /** The C library closes its subscription on a frame that does not fit its buffer. */
  #leaveOut(local: LocalSubscription, bytes: number): void {
    this.#tooLarge++;
    if (local.warned) return;
    local.warned = true;
    const { subscriber: { id, label }, maxFrameBytes } = local;
    this.#log.warn("a message is left out for a client, as it is larger than max_frame says", {
      client: id,
      filters: label,
      frame_bytes: bytes,
      max_frame: maxFrameBytes,
    });
  }

  /** Ends a subscription that cannot be had, with all its filters. */
  #fail(local: LocalSubscription, error: BusError): void {
    const accepted = local.state === "accepted";
    // Not left to `onClose`: a refusal may have to wait behind an answer that its client asked for earlier.
    this.#release(local);
    if (accepted) local.subscriber.close(error.message);
    else local.subscriber.refuse(error);
  }

  #release(local: LocalSubscription): void {
    if (local.state === "over") return;
    local.state = "over";
    local.timer?.cancel();
    this.#locals--;
    for (const filter of local.filters) {
      if (local.virtual) this.#virtual.remove(localFilter(filter), local);
      else this.#leave(local, filter);
    }
  }

  #leave(local: LocalSubscription, filter: string): void {
    const shared = this.#shared.get(filter);
    if (!shared?.users.delete(local)) return;
    const { assignment, users } = shared;
    if (users.size > 0) return;
    this.#shared.delete(filter);
    assignment.trie.remove(localFilter(filter), shared);
    assignment.sync.drop(filter);
    this.#assignments.freed(assignment);
  }
}

function refused(reason: string): BusError {
  return new BusError(
    BusErrorCode.REMOTE,
    `the broker refused the subscription: ${reason}`,
    reason,
  );
}
