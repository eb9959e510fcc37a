/**
 * A stand-in for AWS IoT Core: a small broker for MQTT 3.1.1 and 5 over mutual TLS on 127.0.0.1, which enforces the limits that
 * AWS enforces and misbehaves on request. What tests, `deno task dev` and `deno task demo` run against.
 *
 * Not here: wills, topic aliases to the device, enhanced authentication, the 512 KiB/s throughput (measure it with
 * {@linkcode busiestSecond}), the clamping of keep-alives below 30 s.
 *
 * @module
 */

import { Buffer } from "node:buffer";
import type { Packet } from "../deps.ts";
import type { Behaviour } from "./aws_iot_core/behaviour.ts";
import { Broker, type Published } from "./aws_iot_core/broker.ts";
import { RequestValidator, type TlsVersion } from "./aws_iot_core/door.ts";
import { sendPuback } from "./aws_iot_core/handlers.ts";
import { Link } from "./aws_iot_core/link.ts";
import type { Logged, PacketOf } from "./aws_iot_core/packet_log.ts";
import type { PublishProperties } from "./aws_iot_core/session.ts";
import { createPki, type Identity, type Pki } from "./pki.ts";

export type { Behaviour } from "./aws_iot_core/behaviour.ts";
export type { Published } from "./aws_iot_core/broker.ts";
export type { TlsVersion } from "./aws_iot_core/door.ts";
export { type BusiestSecond, busiestSecond, LIMITS } from "./aws_iot_core/limits.ts";
export type { Logged, PacketOf } from "./aws_iot_core/packet_log.ts";
export type { PublishProperties } from "./aws_iot_core/session.ts";

/** How often connections are checked for silence, in ms. */
const SWEEP_MS = 100;

/** What {@linkcode startAwsIotCore} can be told; all of it has a default. */
export interface AwsIotCoreOptions {
  /** Default: one of its own, as {@linkcode AwsIotCore.pki}. */
  readonly pki?: Pki;
  /** Whose certificates are registered from the start. */
  readonly devices?: readonly Identity[];
  /** Changes to the default behaviour. */
  readonly behaviour?: Partial<Behaviour>;
  /** TLS versions; both by default. */
  readonly minVersion?: TlsVersion;
  readonly maxVersion?: TlsVersion;
  /** `false` keeps neither log nor published messages, for benchmarks. */
  readonly record?: boolean;
  /** 0, the default, takes a free one. */
  readonly port?: number;
}

/** A connection as it stands. */
export interface Connection {
  readonly clientId: string;
  /** When TLS was done, in ms of `performance.now()`. */
  readonly since: number;
  readonly version: "3.1.1" | "5";
  readonly subscriptions: readonly string[];
  /** QoS 1 messages sent to the device and not acknowledged. */
  readonly inFlight: number;
  readonly keepAliveSeconds: number;
  readonly fingerprint: string;
  /** The name asked for by SNI, empty without. */
  readonly serverName: string;
  /** The protocol agreed on by ALPN, empty without. */
  readonly alpn: string;
  readonly tlsVersion: string;
}

/** What is kept of a device, connected or not. */
export interface SessionView {
  readonly clientId: string;
  readonly connected: boolean;
  readonly subscriptions: readonly string[];
  /** QoS 1 messages sent and not acknowledged. */
  readonly inFlight: number;
  /** QoS 1 messages not sent yet. */
  readonly waiting: number;
}

/** Starts a stand-in; it is listening when this resolves. */
export async function startAwsIotCore(options: AwsIotCoreOptions = {}): Promise<AwsIotCore> {
  const core = new AwsIotCore(options.pki ?? await createPki(), options);
  await core.reopen();
  return core;
}

/** The stand-in. */
export class AwsIotCore implements AsyncDisposable {
  /** The address it listens on; in the server's certificate. */
  readonly host: string = "127.0.0.1";
  /** A name of that address, for SNI; in the server's certificate. */
  readonly name: string = "localhost";
  readonly #broker: Broker;
  readonly #door: RequestValidator;
  readonly #links = new Set<Link>();
  readonly #sweeper: ReturnType<typeof setInterval>;
  #accepted = 0;

  /** Use {@linkcode startAwsIotCore}. */
  constructor(readonly pki: Pki, options: AwsIotCoreOptions) {
    this.#broker = new Broker(options.record ?? true);
    Object.assign(this.#broker.behaviour, options.behaviour);
    this.#door = new RequestValidator({
      server: pki.server,
      ca: pki.ca.certPem,
      minVersion: options.minVersion ?? "TLSv1.2",
      maxVersion: options.maxVersion ?? "TLSv1.3",
      behaviour: this.#broker.behaviour,
      onSecure: (socket) => {
        const link = new Link(socket, ++this.#accepted, this.#broker);
        this.#links.add(link);
        this.#broker.links.add(link);
        socket.on("close", () => this.#links.delete(link));
      },
    });
    this.#door.port = options.port ?? 0;
    for (const device of options.devices ?? []) this.register(device);
    this.#sweeper = setInterval(() => this.#sweep(), SWEEP_MS);
  }

  get port(): number {
    return this.#door.port;
  }

  /** What it does from now on; change it at will. */
  get behaviour(): Behaviour {
    return this.#broker.behaviour;
  }

  /** Every packet in order, both ways. */
  get log(): readonly Logged[] {
    return this.#broker.log.entries;
  }

  /** Messages of devices that were taken: neither discarded nor refused. */
  get published(): readonly Published[] {
    return this.#broker.published;
  }

  /** What devices did that AWS IoT Core does not allow, one line each. */
  get violations(): readonly string[] {
    return this.#broker.violations;
  }

  /** When TCP connections were accepted, in ms of `performance.now()`. */
  get accepted(): readonly number[] {
    return this.#door.accepted;
  }

  /** The devices that are connected: CONNACK was sent. */
  get connections(): readonly Connection[] {
    return Array.from(this.#broker.links).filter(({ state }) => state === "open").map(describe);
  }

  /** The sessions, also of devices that are away; those that are over are not listed. */
  get sessions(): readonly SessionView[] {
    const now = performance.now();
    return Array.from(this.#broker.sessions.values())
      .filter(({ expiresAt }) => expiresAt > now)
      .map(({ clientId, attached, subscriptions, inFlight, waiting }) => ({
        clientId,
        connected: attached,
        subscriptions: [...subscriptions.keys()],
        inFlight,
        waiting,
      }));
  }

  /** Packets of one kind that came from devices. */
  received<C extends Packet["cmd"]>(cmd: C, clientId?: string): Logged<PacketOf<C>>[] {
    return this.#broker.log.of("in", cmd, clientId);
  }

  /** Packets of one kind that went to devices. */
  sent<C extends Packet["cmd"]>(cmd: C, clientId?: string): Logged<PacketOf<C>>[] {
    return this.#broker.log.of("out", cmd, clientId);
  }

  /** Forgets the log, the published messages and the violations. */
  clearRecords(): void {
    this.#broker.log.entries.length = 0;
    this.#broker.published.length = 0;
    this.#broker.violations.length = 0;
    this.#door.accepted.length = 0;
  }

  /** Lets a certificate in, by identity or fingerprint (SHA-256, hex). */
  register(device: Identity | string): void {
    this.#broker.registry.add(typeof device === "string" ? device : device.fingerprint);
  }

  /** Lets a certificate in no more and closes its connections. */
  revoke(device: Identity | string): void {
    const fingerprint = typeof device === "string" ? device : device.fingerprint;
    this.#broker.registry.delete(fingerprint);
    for (const link of this.#broker.links) {
      if (link.fingerprint === fingerprint) link.disconnect(0x87);
    }
  }

  /** Publishes as if another device did; whether anyone is subscribed. */
  publish(
    topic: string,
    payload: string | Uint8Array,
    qos: 0 | 1 = 0,
    properties?: PublishProperties,
  ): boolean {
    const bytes = typeof payload === "string" ? Buffer.from(payload) : Buffer.from(payload);
    return this.#broker.route(topic, bytes, qos, properties);
  }

  /** Keeps a message for those who subscribe later, as if another device had published it to be retained. */
  retain(topic: string, payload: string): void {
    this.#broker.retain(topic, Buffer.from(payload));
  }

  /** Sends the PUBACKs that `ackPublish: "never"` or a delay held back. */
  releaseAcks(): void {
    for (const link of this.#broker.links) {
      for (const id of [...link.unanswered.keys()]) sendPuback(link, id);
    }
  }

  /** Closes a device's connection, with MQTT 5 by a DISCONNECT with this code; whether it was connected. */
  disconnect(clientId: string, reasonCode?: number): boolean {
    const links = Array.from(this.#broker.links).filter((link) => link.clientId === clientId);
    for (const link of links) link.disconnect(reasonCode);
    return links.length > 0;
  }

  /** Destroys every connection; new ones are welcome. */
  async dropLinks(): Promise<void> {
    for (const link of this.#links) link.leave();
    await this.#door.clear();
  }

  /** Makes every connection half-open: TCP stands, nothing is read or written, not even a close. New ones are welcome. */
  freezeLinks(): void {
    for (const link of this.#links) link.freeze();
  }

  /** Lets frozen connections go on where they were. */
  thawLinks(): void {
    for (const link of this.#links) link.thaw();
  }

  /** Begins an outage: nothing listens, every connection is destroyed. Sessions are kept. */
  async close(): Promise<void> {
    this.#door.shut();
    await this.dropLinks();
  }

  /** Ends an outage: listens again on the same port. */
  async reopen(): Promise<void> {
    await this.#door.open();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearInterval(this.#sweeper);
    await this.close();
  }

  #sweep(): void {
    const now = performance.now();
    for (const link of this.#links) link.sweep(now);
  }
}

function describe(link: Link): Connection {
  return {
    clientId: link.clientId,
    since: link.since,
    version: link.version === 5 ? "5" : "3.1.1",
    subscriptions: [...link.session?.subscriptions.keys() ?? []],
    inFlight: link.session?.inFlight ?? 0,
    keepAliveSeconds: link.keepAliveMs / 1_000,
    fingerprint: link.fingerprint,
    serverName: link.serverName,
    alpn: link.alpn,
    tlsVersion: link.tlsVersion,
  };
}
