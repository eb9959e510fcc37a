import type { Buffer } from "node:buffer";
import { levelsMatch, type ParsedFilter, parseFilter } from "./match.ts";
import type { PacketOf } from "./packet_log.ts";

/** The properties of an MQTT 5 PUBLISH. */
export type PublishProperties = NonNullable<PacketOf<"publish">["properties"]>;

/** A message on its way to subscribers. */
export interface Message {
  readonly topic: string;
  readonly payload: Buffer;
  readonly properties: PublishProperties | undefined;
  /** When it must no longer be delivered, in ms of `performance.now()`. */
  readonly expiresAt: number;
  /** Kept, and sent for a SUBSCRIBE. */
  readonly retain?: boolean;
  /** Of the filters that it goes for. */
  readonly identifiers?: readonly number[];
}

/** The narrow slice of a link that a session sends through. */
export interface Outlet {
  sendMessage(message: Message, qos: 0 | 1, messageId: number, dup: boolean): void;
}

interface Subscription {
  readonly qos: 0 | 1;
  readonly noLocal: boolean;
  readonly identifier: number | undefined;
  readonly filter: ParsedFilter;
}

/** What a broker keeps of a client, also between its connections. */
export class Session {
  readonly subscriptions = new Map<string, Subscription>();
  /** When the session ends unless its client is back, in ms of `performance.now()`. */
  expiresAt = Infinity;
  #outlet: Outlet | undefined;
  #window = 0;
  #lastId = 0;
  #waiting: Message[] = [];
  readonly #inFlight = new Map<number, Message>();

  constructor(readonly clientId: string) {}

  /** Whether the client is connected. */
  get attached(): boolean {
    return this.#outlet !== undefined;
  }

  /** QoS 1 messages that were sent and not acknowledged. */
  get inFlight(): number {
    return this.#inFlight.size;
  }

  /** QoS 1 messages that were not sent yet. */
  get waiting(): number {
    return this.#waiting.length;
  }

  /** The client is here: unacknowledged messages go again, in order and marked as duplicates, then those that waited. */
  attach(outlet: Outlet, window: number): void {
    this.#outlet = outlet;
    this.#window = window;
    this.expiresAt = Infinity;
    for (const [id, message] of this.#inFlight) outlet.sendMessage(message, 1, id, true);
    this.#pump();
  }

  /** The client is gone; does nothing when another connection has taken over. */
  detach(outlet: Outlet, expiresAt: number): void {
    if (this.#outlet !== outlet) return;
    this.#outlet = undefined;
    this.expiresAt = expiresAt;
  }

  /** Adds or replaces a subscription. */
  subscribe(filter: string, qos: 0 | 1, noLocal: boolean, identifier?: number): void {
    this.subscriptions.set(filter, { qos, noLocal, identifier, filter: parseFilter(filter) });
  }

  /** Every subscription that matches, for brokers that send a copy for each. */
  matching(topic: readonly string[], hashMatchesParent: boolean): Subscription[] {
    return [...this.subscriptions.values()]
      .filter(({ filter }) => levelsMatch(filter.levels, topic, hashMatchesParent));
  }

  /** The QoS a message gets here, `undefined` if nothing matches; shared subscriptions are asked for by their filter. */
  wants(
    topic: readonly string[],
    own: boolean,
    hashMatchesParent: boolean,
    shared: (filter: string) => boolean,
  ): 0 | 1 | undefined {
    let qos: 0 | 1 | undefined;
    for (const [name, { filter, noLocal, qos: granted }] of this.subscriptions) {
      if (noLocal && own) continue;
      if (qos === 1 || qos === granted) continue;
      if (!levelsMatch(filter.levels, topic, hashMatchesParent)) continue;
      if (filter.group === undefined || shared(name)) qos = granted;
    }
    return qos;
  }

  /** Sends a message, or keeps it if it is QoS 1 and the client away or busy. */
  deliver(message: Message, qos: 0 | 1): void {
    if (qos === 0) {
      this.#outlet?.sendMessage(message, 0, 0, false);
      return;
    }
    this.#waiting.push(message);
    this.#pump();
  }

  /** A PUBACK came; `false` if it was for nothing. */
  acknowledged(messageId: number): boolean {
    const known = this.#inFlight.delete(messageId);
    this.#pump();
    return known;
  }

  #pump(): void {
    const outlet = this.#outlet;
    if (outlet === undefined || this.#waiting.length === 0) return;
    let sent = 0;
    while (sent < this.#waiting.length && this.#inFlight.size < this.#window) {
      const message = this.#waiting[sent++]!;
      if (message.expiresAt <= performance.now()) continue;
      const id = this.#nextId();
      this.#inFlight.set(id, message);
      outlet.sendMessage(message, 1, id, false);
    }
    this.#waiting.splice(0, sent);
  }

  #nextId(): number {
    do this.#lastId = this.#lastId % 65_535 + 1; while (this.#inFlight.has(this.#lastId));
    return this.#lastId;
  }
}
