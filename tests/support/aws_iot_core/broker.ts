import { Buffer } from "node:buffer";
import { type Behaviour, defaultBehaviour } from "./behaviour.ts";
import type { Link } from "./link.ts";
import { SlidingWindow } from "./limits.ts";
import { PacketLog, type PacketOf } from "./packet_log.ts";
import { type Message, type PublishProperties, Session } from "./session.ts";

/** A message that a device published and the stand-in took. */
export interface Published {
  /** When, in ms of `performance.now()`. */
  readonly at: number;
  readonly clientId: string;
  readonly topic: string;
  readonly payload: Uint8Array<ArrayBuffer>;
  readonly qos: number;
  readonly dup: boolean;
  readonly properties: PublishProperties;
}

/** What all connections share: sessions, the registry, the records. */
export class Broker {
  readonly behaviour: Behaviour = defaultBehaviour();
  readonly log: PacketLog;
  readonly published: Published[] = [];
  readonly violations: string[] = [];
  readonly registry = new Set<string>();
  readonly sessions = new Map<string, Session>();
  readonly links = new Set<Link>();
  readonly #retained = new Map<string, Buffer>();
  readonly #account = new SlidingWindow();
  readonly #lastConnect = new Map<string, number>();
  #turn = 0;

  constructor(readonly record: boolean) {
    this.log = new PacketLog(record);
  }

  /** Whether a certificate is registered and active. */
  registered(fingerprint: string): boolean {
    return this.registry.has(fingerprint);
  }

  /** Whether a CONNECT of this client id comes late enough after the one before. */
  mayConnect(clientId: string): boolean {
    const now = performance.now();
    const last = this.#lastConnect.get(clientId) ?? -Infinity;
    this.#lastConnect.set(clientId, now);
    return now - last >= this.behaviour.connectSpacingMs;
  }

  /** Whether the account takes another message. */
  mayPublish(): boolean {
    const { account } = this.behaviour;
    return account === undefined ||
      this.#account.take(performance.now(), account.publishes, account.windowMs);
  }

  /** Closes an older connection of the same client id [MQTT-3.1.4-2] and gives its session, or a new one. */
  openSession(link: Link, clean: boolean): { session: Session; present: boolean } {
    for (const other of this.links) {
      if (other !== link && other.clientId === link.clientId) other.disconnect(0x8e);
    }
    const kept = this.sessions.get(link.clientId);
    const present = kept !== undefined && !clean && kept.expiresAt > performance.now();
    const session = present ? kept : new Session(link.clientId);
    this.sessions.set(link.clientId, session);
    return { session, present };
  }

  /** A connection is over. */
  left(link: Link): void {
    this.links.delete(link);
    const { session } = link;
    // One that was taken over or replaced is not this link's to remove.
    if (session && !session.attached && session.expiresAt <= performance.now()) {
      if (this.sessions.get(session.clientId) === session) this.sessions.delete(session.clientId);
    }
  }

  /** Takes a message from a device; whether anyone gets it. */
  arrived(from: Link, packet: PacketOf<"publish">, payload: Buffer): boolean {
    const { topic, qos, dup, properties } = packet;
    if (this.record) {
      this.published.push({
        at: performance.now(),
        clientId: from.clientId,
        topic,
        payload: plainBytes(payload),
        qos,
        dup,
        properties: properties ?? {},
      });
    }
    if (packet.retain) this.retain(topic, payload);
    return this.route(topic, payload, qos === 0 ? 0 : 1, properties, from.session);
  }

  /** Hands a message to every session that wants it, once; whether there was one. */
  route(
    topic: string,
    payload: Buffer,
    qos: 0 | 1,
    properties: PublishProperties | undefined,
    from?: Session,
  ): boolean {
    const levels = topic.split("/");
    const now = performance.now();
    const expiresAt = now + (properties?.messageExpiryInterval ?? Infinity) * 1_000;
    const message = { topic, payload, properties, expiresAt };
    const served = new Set<string>();
    let reached = false;
    this.#turn++;
    for (const session of this.sessions.values()) {
      if (session.expiresAt <= now) continue;
      const granted = session.wants(
        levels,
        session === from,
        this.behaviour.hashMatchesParent,
        (filter) => this.#isShareOf(session, filter) && !served.has(filter) && !!served.add(filter),
      );
      if (granted === undefined) continue;
      reached = true;
      this.#deliver(session, message, levels, granted === 1 && qos === 1 ? 1 : 0);
    }
    return reached;
  }

  /** Keeps a message for those who subscribe later; an empty one ends that [MQTT-3.3.1-6, MQTT-3.3.1-10]. */
  retain(topic: string, payload: Buffer): void {
    if (payload.length === 0) this.#retained.delete(topic);
    else this.#retained.set(topic, payload);
  }

  /** Sends what is kept for a filter [MQTT-3.3.1-6]. */
  sendRetained(session: Session, filter: string): void {
    const subscription = session.subscriptions.get(filter);
    if (subscription === undefined || subscription.filter.group !== undefined) return;
    const { identifier, qos } = subscription;
    for (const [topic, payload] of this.#retained) {
      const levels = topic.split("/");
      const matches = session.matching(levels, this.behaviour.hashMatchesParent);
      if (!matches.includes(subscription)) continue;
      const identifiers = identifier === undefined ? [] : [identifier];
      const message = { topic, payload, properties: undefined, expiresAt: Infinity };
      session.deliver({ ...message, retain: true, identifiers }, qos);
    }
  }

  #deliver(session: Session, message: Message, levels: readonly string[], qos: 0 | 1): void {
    const matching = session.matching(levels, this.behaviour.hashMatchesParent);
    const identifiers = matching.flatMap(({ identifier }) => identifier ?? []);
    if (this.behaviour.copies === "one") return session.deliver({ ...message, identifiers }, qos);
    for (const { identifier, qos: granted } of matching) {
      const own = identifier === undefined ? [] : [identifier];
      session.deliver({ ...message, identifiers: own }, granted === 1 && qos === 1 ? 1 : 0);
    }
  }

  /** Members of a shared subscription take turns. */
  #isShareOf(session: Session, filter: string): boolean {
    const members = [...this.sessions.values()].filter((member) =>
      member.subscriptions.has(filter) && member.attached
    );
    return members.length === 0 || members[this.#turn % members.length] === session;
  }
}

/** A plain view: assertions compare prototypes, and a Buffer has its own. */
function plainBytes(buffer: Buffer): Uint8Array<ArrayBuffer> {
  return new Uint8Array(buffer.buffer as ArrayBuffer, buffer.byteOffset, buffer.length);
}
