import type { Qos } from "../aws/limits.ts";
import type { TLSSocket } from "node:tls";
import { type IClientPublishOptions, loadMqtt, type MqttClient } from "../../deps.ts";
import { Deque } from "../base/deque.ts";
import { type Clock, systemClock, type Timer } from "../base/clock.ts";
import { messageOf } from "../base/errors.ts";
import { AwaitedAnswers, type SentPacket } from "./awaited_answers.ts";
import type { ConnStream } from "./conn_stream.ts";
import { ConnectError, exceptionIn, faultIn, fromSocketError } from "./connect_error.ts";
import { limitsOf } from "./broker_limits.ts";
import { CoalescingStream } from "./coalescing_stream.ts";
import { Inbound } from "./inbound.ts";
import { KeepAlive } from "./keep_alive.ts";
import { disconnectBytes, mqttJsInput, pubackBytes } from "./mqttjs_input.ts";
import { clientOptions, type LinkOptions } from "./mqttjs_options.ts";
import type { Properties } from "./properties.ts";
import { Breach, ProtocolError } from "./protocol_error.ts";
import {
  type ConnackInfo,
  type Delivery,
  type LinkEnd,
  type LinkHandler,
  type MqttLink,
  type OutgoingPublish,
  PLAIN,
  type PublishResult,
  type SubscribeOptions,
  type SubscribeResult,
} from "./link.ts";
import { PacketIds } from "./packet_ids.ts";
import { describeCode, reasonName } from "./reason_codes.ts";
import {
  type Connack,
  type FilterAnswer,
  type PacketRules,
  type RawPacket,
  readServerPacket,
  type ServerDisconnect,
  type ServerPacket,
  type ServerPublish,
} from "./server_packet.ts";
import { type SecureStream, streamError } from "./tls.ts";
import { TopicAliases } from "./topic_aliases.ts";

/** How long a broker may take to hang up after DISCONNECT, in ms. */
export const CLOSE_MS = 1_000;

/** DISCONNECT with reason 0, the same two bytes in both versions [MQTT-3.14.1-1], [MQTT5-3.14.2.1]. */
const DISCONNECT = new Uint8Array([0xe0, 0x00]);

/**
 * Sends CONNECT on a TLS stream that stands, and waits for CONNACK. Messages of a resumed session may reach
 * {@linkcode LinkHandler.onMessage} just before this resolves. {@linkcode LinkHandler.onEnd} is called only for links that
 * this resolved with. When this rejects, the stream has been destroyed.
 *
 * @throws {ConnectError} Stage `connack`.
 */
export async function openLink(
  secure: SecureStream,
  options: LinkOptions,
  handler: LinkHandler,
): Promise<MqttLink> {
  const { stream } = secure;
  try {
    const mqtt = await loadMqtt();
    const error = streamError(stream);
    if (error !== undefined || stream.destroyed) throw endOfStream(options.where, error);
    return await new Promise((resolve, reject) => {
      options.hook?.("mqtt start");
      new MqttJsLink(mqtt.MqttClient, secure, options, handler, resolve, reject);
    });
  } catch (error) {
    stream.destroy();
    if (error instanceof ConnectError) throw error;
    throw faultIn("connack", options.where, "start", error);
  }
}

/** One {@linkcode MqttClient} for one connection: everything it does on its own is switched off. */
class MqttJsLink implements MqttLink {
  connack: ConnackInfo = { sessionPresent: false, receiveMaximum: 65_535 };
  readonly #stream: TLSSocket;
  readonly #tcp: ConnStream;
  readonly #coalesced: CoalescingStream;
  readonly #options: LinkOptions;
  readonly #handler: LinkHandler;
  readonly #client: MqttClient;
  readonly #packetIds: PacketIds;
  /** What to call when the link ends first: MQTT.js forgets its callbacks then. */
  readonly #pending = new Set<() => void>();
  /** Who waits for SUBACK or UNSUBACK, by packet identifier. */
  readonly #filterAnswers = new Map<number, (answer: FilterAnswer) => void>();
  /** Who sent QoS 0 messages that the stream has not taken yet. */
  #unwritten: ((result: PublishResult | undefined) => void)[] = [];
  readonly #onAbort = (): void => this.#fail("aborted", "the attempt was given up");
  #phase: "connecting" | "open" | "closing" | "over" = "connecting";
  #resolve: (link: MqttLink) => void;
  #reject: (error: ConnectError) => void;
  /** Set once MQTT.js is listened to. */
  #sendPing: (done?: () => void) => void = () => {};
  #connackTimer: Timer | undefined;
  #closeTimer: Timer | undefined;
  readonly #clock: Clock = {
    ...systemClock,
    after: (ms, fn) => systemClock.after(ms, this.#guarded("timer", fn)),
  };
  readonly #inbound: Inbound;
  #rules: PacketRules;
  readonly #awaited = new AwaitedAnswers();
  /** The packet being handled, of which MQTT.js gets only what it needs to call the one who waits for it. */
  #packet: ServerPacket | undefined;
  #sawConnack = false;
  #accepted = false;
  #aliases = new TopicAliases(0);
  readonly #keepAlive: KeepAlive;
  /** Who waits for a PINGRESP, in the order of the PINGREQs; `undefined` for one of the keep-alive [MQTT-3.12.4-1]. */
  readonly #pings = new Deque<
    { readonly sentAt: number; readonly done: (() => void) | undefined }
  >();

  constructor(
    Client: typeof MqttClient,
    { stream, tcp }: SecureStream,
    options: LinkOptions,
    handler: LinkHandler,
    resolve: (link: MqttLink) => void,
    reject: (error: ConnectError) => void,
  ) {
    this.#stream = stream;
    this.#tcp = tcp;
    this.#options = options;
    this.#packetIds = options.packetIds ?? new PacketIds();
    this.#handler = handler;
    this.#resolve = resolve;
    this.#reject = reject;
    stream.on("error", this.#guarded("stream error", (error) => this.#onStreamEnd(error)));
    // A peer that has closed its side is gone, whatever could still be written to it.
    stream.once("end", this.#guarded("stream end", () => this.#onStreamEnd(undefined)));
    stream.once("close", this.#guarded("stream close", () => this.#onStreamEnd(undefined)));
    const coalesced = this.#coalesced = new CoalescingStream(stream, this.#clock);
    this.#client = new Client(
      () => coalesced as unknown as ReturnType<MqttClient["streamBuilder"]>,
      clientOptions(options, this.#packetIds),
    );
    this.#rules = {
      version: options.version,
      topicAliasMaximum: 0,
      subscriptionIdentifiers: false,
    };
    this.#inbound = new Inbound({
      ...{ stream, gate: options.gate, clock: systemClock },
      onPacket: (raw) => this.#onRaw(raw),
      guarded: (name, fn) => this.#guarded(name, fn),
    });
    this.#keepAlive = new KeepAlive({
      clock: this.#clock,
      ping: () => this.#sendPing(),
      bytesRead: () => tcp.bytesRead,
      stuckMs: () => tcp.stuckMs,
      held: () => options.gate.held,
      inbound: this.#inbound,
      onDead: this.#guarded("keep-alive", (reason) => this.#finish({ by: "keep-alive", reason })),
    });
    this.#listen();
    const { connackTimeoutMs: ms, signal } = options;
    this.#connackTimer = this.#clock.after(
      ms,
      () => this.#fail("timeout", `${options.where}: CONNACK took longer than ${ms} ms`),
    );
    signal?.addEventListener("abort", this.#onAbort);
    if (signal?.aborted) this.#onAbort();
  }

  get address(): string {
    return this.#tcp.address;
  }

  get buffered(): number {
    return this.#coalesced.unwritten;
  }

  publish(message: OutgoingPublish, done: (result: PublishResult | undefined) => void): void {
    if (this.#phase !== "open") return done(undefined);
    const { qos, dup = false, key, messageExpiry } = message;
    const payload = message.payload as Uint8Array as Buffer;
    const { topic, alias } = this.#aliases.use(message.topic);
    const properties = this.#options.version === "5" ? propertiesOf(messageExpiry, alias) : {};
    const options = { qos, dup, ...properties };
    if (qos === 0) {
      // With a callback, MQTT.js would add a listener for `drain` per message while the stream is full.
      this.#guarded("publish", () => this.#client.publish(topic, payload, options))();
      if (this.#isOver()) done(undefined);
      else if (this.#stream.writableNeedDrain) this.#unwritten.push(done);
      else done(SUCCESS);
      return;
    }
    const onEnd = (): void => done(undefined);
    const sentAt = this.#clock.now();
    this.#pending.add(onEnd);
    const onAnswer = this.#guarded("publish answer", () => {
      // An answer without PUBACK is the end of the link, which answers for itself.
      if (this.#packet?.type !== "puback" || !this.#pending.delete(onEnd)) return;
      this.#keepAlive.answered(sentAt);
      done(resultOf(this.#packet.code, this.#packet.properties));
    });
    this.#guarded("publish", () => {
      if (key !== undefined) this.#packetIds.next({ key, again: dup });
      this.#client.publish(topic, payload, options, onAnswer);
    })();
  }

  subscribe(
    filters: readonly string[],
    qos: Qos,
    options: SubscribeOptions = {},
  ): Promise<readonly SubscribeResult[] | undefined> {
    return this.#request((answer) => {
      this.#client.subscribe([...filters], this.#subscribeOptions(qos, options));
      this.#onFilterAnswer(
        "subscribe answer",
        ({ codes, properties }) => answer(codes.map((code) => resultOf(code, properties))),
      );
    });
  }

  unsubscribe(filters: readonly string[]): Promise<readonly SubscribeResult[] | undefined> {
    return this.#request((answer) => {
      this.#client.unsubscribe([...filters]);
      // MQTT 3.1.1 has no codes here.
      this.#onFilterAnswer(
        "unsubscribe answer",
        ({ codes, properties }) =>
          answer(filters.map((_, index) => resultOf(codes[index] ?? 0, properties))),
      );
    });
  }

  ping(done: () => void): void {
    if (this.#phase === "open") this.#sendPing(done);
  }

  close(force = false): Promise<void> {
    return new Promise((resolve) => {
      if (this.#stream.closed) return resolve();
      this.#stream.once("close", () => resolve());
      if (force) {
        this.#finish({ by: "local", reason: "closed here" });
        this.#stream.destroy();
        return;
      }
      if (this.#phase !== "open") return;
      this.#phase = "closing";
      // What still arrives is for the next link; unread, it would keep the end of the stream from being seen.
      this.#inbound.discard();
      this.#coalesced.end(DISCONNECT);
      this.#closeTimer = this.#clock.after(
        CLOSE_MS,
        () => this.#finish({ by: "local", reason: "closed here" }),
      );
    });
  }

  /** Waits for the answer to what was just sent: MQTT.js tells it some turns later, when another packet may have come. */
  #onFilterAnswer(name: string, done: (answer: FilterAnswer) => void): void {
    const id = this.#packetIds.getLastAllocated();
    if (id !== null) this.#filterAnswers.set(id, this.#guarded(name, done));
  }

  #subscribeOptions(qos: Qos, { identifier, onlyNew = false }: SubscribeOptions) {
    if (this.#options.version !== "5") return { qos };
    const properties = identifier === undefined
      ? {}
      : { properties: { subscriptionIdentifier: identifier } };
    return { qos, rh: onlyNew ? 1 : 0, ...properties };
  }

  /** Runs a request whose answer may never come. */
  #request<T>(send: (answer: (value: T) => void) => void): Promise<T | undefined> {
    if (this.#phase !== "open") return Promise.resolve(undefined);
    return new Promise((resolve) => {
      const onEnd = (): void => resolve(undefined);
      this.#pending.add(onEnd);
      const sentAt = this.#clock.now();
      const answer = (value: T): void => {
        this.#keepAlive.answered(sentAt);
        if (this.#pending.delete(onEnd)) resolve(value);
      };
      this.#guarded("request", () => send(answer))();
    });
  }

  #answerUnwritten(result: PublishResult | undefined): void {
    const unwritten = this.#unwritten;
    this.#unwritten = [];
    for (const done of unwritten) done(result);
  }

  #listen(): void {
    const client = this.#client;
    const onDrain = this.#guarded("stream drain", () => {
      // TLS also says so when TCP has failed under it; the end of the link comes next, and answers.
      if (this.#tcp.errored === null) this.#answerUnwritten(SUCCESS);
    });
    this.#stream.on("drain", onDrain);
    withoutCopies(client);
    client.on(
      "packetsend",
      this.#guarded("packet to send", (packet) => this.#awaited.sent(packet as SentPacket)),
    );
    client.on("connect", this.#guarded("connect", () => this.#onConnect()));
    client.on("error", this.#guarded("client error", (error) => this.#onClientError(error)));
    const sendPing = client.sendPing.bind(client);
    this.#sendPing = this.#guarded("ping", (done?: () => void) => {
      this.#pings.push({ sentAt: this.#clock.now(), done });
      sendPing();
    });
  }

  /** A callback for MQTT.js or a stream: what it throws ends the link, as the broker's fault or as ours. */
  #guarded<A extends unknown[]>(name: string, fn: (...args: A) => void): (...args: A) => void {
    const { where, hook } = this.#options;
    return (...args) => {
      try {
        hook?.(`mqtt ${name}`);
        fn(...args);
      } catch (cause) {
        if (cause instanceof ProtocolError) return this.#breach(cause);
        const end = { by: "fault", reason: exceptionIn(name, cause), cause } as const;
        this.#end(end, () => faultIn("connack", where, name, cause));
      }
    };
  }

  #isOver(): boolean {
    return this.#phase === "over" || this.#stream.destroyed;
  }

  #onRaw(raw: RawPacket): void {
    if (this.#phase === "closing" || this.#phase === "over") return;
    try {
      const packet = readServerPacket(raw, this.#rules);
      this.#packet = packet;
      this.#onPacket(packet);
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      return this.#breach(error, excerptOf(raw));
    }
    const packet = this.#packet;
    if (this.#isOver()) return;
    const input = mqttJsInput(packet, raw, this.#options.version);
    if (input !== undefined) this.#coalesced.arrived(input);
  }

  #onPacket(packet: ServerPacket): void {
    if (packet.type === "connack") return this.#onConnack(packet);
    if (!this.#sawConnack) {
      throw new ProtocolError(
        Breach.PROTOCOL,
        `${packet.type.toUpperCase()} came before CONNACK`,
      );
    }
    switch (packet.type) {
      case "publish":
        return this.#onPublish(packet);
      case "puback":
        return this.#awaited.came(packet, false);
      case "suback":
      case "unsuback":
        this.#awaited.came(packet, packet.type === "suback" || this.#rules.version === "5");
        this.#filterAnswers.get(packet.id)?.(packet);
        this.#filterAnswers.delete(packet.id);
        return;
      case "pingresp":
        return this.#onPingresp();
      case "disconnect":
        return this.#onDisconnect(packet);
    }
  }

  #onPingresp(): void {
    const ping = this.#pings.shift();
    if (ping === undefined) return;
    this.#keepAlive.answered(ping.sentAt);
    ping.done?.();
  }

  /** PUBACK goes out behind this, so it never comes before the message was handed over. */
  #onPublish(packet: ServerPublish): void {
    const { topic, payload, qos, id, fault } = packet;
    if (fault === undefined) this.#handler.onMessage(topic, payload, deliveryOf(packet));
    else this.#options.onRejected(fault);
    if (qos === 1 && !this.#isOver()) this.#coalesced.write(pubackBytes(id));
  }

  #onConnack({ code, sessionPresent, properties }: Connack): void {
    if (this.#sawConnack) throw new ProtocolError(Breach.PROTOCOL, "a second CONNACK came");
    this.#sawConnack = true;
    if (code !== 0) {
      const said = describeCode(code, properties.reasonString);
      this.#fail("connack", `${this.#options.where} answered CONNACK ${said}`, code);
      return;
    }
    if (sessionPresent && this.#options.cleanStart) {
      throw new ProtocolError(Breach.PROTOCOL, "CONNACK says session present for a clean start");
    }
    this.#accepted = true;
    this.#packetIds.connected(sessionPresent);
    this.#aliases = new TopicAliases(properties.topicAliasMaximum ?? 0);
    const limits = limitsOf(this.#options.version, properties);
    const subscriptionIdentifiers = limits.identifiersAvailable === true;
    this.#rules = { ...this.#rules, subscriptionIdentifiers };
    this.connack = {
      ...limits,
      sessionPresent,
      receiveMaximum: properties.receiveMaximum ?? 65_535,
    };
  }

  /** MQTT.js tells of CONNACK some ticks after it came; what ends the link meanwhile ends one that stood. */
  #openIfAccepted(): void {
    if (this.#accepted) this.#onConnect();
  }

  #onConnect(): void {
    if (this.#phase !== "connecting") return;
    this.#phase = "open";
    this.#disarm();
    const { keepAliveS = this.#options.keepAliveS } = this.connack;
    this.#keepAlive.start(keepAliveS * 1_000);
    this.#resolve(this);
  }

  #onDisconnect({ code, properties }: ServerDisconnect): void {
    const said = describeCode(code, properties.reasonString);
    this.#finish({ by: "peer", reason: `the broker sent DISCONNECT ${said}`, code });
  }

  /** MQTT.js reports what it cannot use, but goes on. */
  #onClientError(error: Error): void {
    if (this.#phase === "over" || streamError(this.#stream) === error) return;
    this.#breach(new ProtocolError(Breach.PROTOCOL, messageOf(error)));
  }

  #onStreamEnd(error: unknown): void {
    if (this.#phase === "over") return;
    this.#openIfAccepted();
    const { where } = this.#options;
    if (this.#phase === "connecting") {
      return this.#end({ by: "peer", reason: "" }, () => endOfStream(where, error));
    }
    if (this.#phase === "closing") return this.#finish({ by: "local", reason: "closed here" });
    if (error === undefined) {
      return this.#finish({ by: "peer", reason: "the broker closed the connection" });
    }
    // A reset may be the broker's way of closing; these are not.
    const { kind } = fromSocketError("connack", where, error);
    const isStated = kind === "unreachable" || kind === "timeout" || kind === "alert";
    this.#finish({ by: isStated ? "network" : "peer", reason: messageOf(error) });
  }

  #breach({ code, message: reason }: ProtocolError, bytes?: string): void {
    const message = `${this.#options.where} broke the MQTT protocol: ${reason}`;
    this.#end(
      {
        by: "protocol",
        reason: `the broker broke the MQTT protocol: ${reason}`,
        ...bytes === undefined ? {} : { bytes },
      },
      () => new ConnectError("connack", "protocol", message, bytes === undefined ? {} : { bytes }),
      this.#options.version === "5" ? disconnectBytes(code) : undefined,
    );
  }

  #fail(kind: "timeout" | "connack" | "aborted", message: string, code?: number): void {
    const details = code === undefined ? {} : { code };
    const failure = (): ConnectError => new ConnectError("connack", kind, message, details);
    this.#end({ by: "peer", reason: message }, failure);
  }

  #finish(end: LinkEnd): void {
    this.#end(end, () => new ConnectError("connack", "closed", end.reason));
  }

  /** The one way out: `failure` for a link that never opened, `end` for one that did; `last` is still sent, if that can be done. */
  #end(end: LinkEnd, failure: () => ConnectError, last?: Uint8Array): void {
    if (this.#phase === "over") return;
    this.#openIfAccepted();
    const opened = this.#phase !== "connecting";
    this.#phase = "over";
    this.#disarm();
    this.#keepAlive.stop();
    this.#closeTimer?.cancel();
    this.#inbound.discard();
    if (last === undefined) this.#stream.destroy();
    else this.#sayAndClose(last);
    this.#answerUnwritten(undefined);
    const pending = [...this.#pending];
    this.#pending.clear();
    for (const onEnd of pending) onEnd();
    if (opened) this.#handler.onEnd(end);
    else this.#reject(failure());
  }

  #sayAndClose(last: Uint8Array): void {
    const timer = systemClock.after(CLOSE_MS, () => this.#stream.destroy());
    this.#stream.once("close", () => timer.cancel());
    this.#coalesced.end(last, () => this.#stream.destroy());
  }

  #disarm(): void {
    this.#connackTimer?.cancel();
    this.#options.signal?.removeEventListener("abort", this.#onAbort);
  }
}

function endOfStream(where: string, error: unknown): ConnectError {
  return error === undefined
    ? new ConnectError("connack", "closed", `${where} closed the connection before CONNACK`)
    : fromSocketError("connack", where, error);
}

/** The properties of a PUBLISH, if it has any. */
function propertiesOf(
  messageExpiryInterval: number | undefined,
  topicAlias: number | undefined,
): Pick<IClientPublishOptions, "properties"> {
  if (messageExpiryInterval === undefined && topicAlias === undefined) return {};
  return {
    properties: {
      ...messageExpiryInterval === undefined ? {} : { messageExpiryInterval },
      ...topicAlias === undefined ? {} : { topicAlias },
    },
  };
}

const SUCCESS: PublishResult = { code: 0, reason: "" };

/** Bytes of a packet that the log shows at most. */
const SHOWN_BYTES = 64;

/** The beginning of a packet in hex; of a PUBLISH, which holds a payload, its first byte alone. */
function excerptOf({ first, bytes, start, end }: RawPacket): string {
  const isPublish = first >> 4 === 3;
  const shown = isPublish ? 1 : SHOWN_BYTES;
  const hex = bytes.subarray(start, Math.min(end, start + shown)).toHex();
  return `${hex}${end - start > shown ? "..." : ""} (${end - start} bytes)`;
}

/** Of most messages: one for all of them. */
function deliveryOf({ retain, properties }: ServerPublish): Delivery {
  const { subscriptionIdentifiers: identifiers } = properties;
  if (identifiers === undefined && !retain) return PLAIN;
  return { retain, identifiers: identifiers ?? [] };
}

function resultOf(code: number, { reasonString }: Properties): PublishResult {
  if (code === 0) return SUCCESS;
  if (code < 0x80) return { code, reason: "" };
  return { code, reason: reasonString ?? reasonName(code) };
}

/**
 * Spares MQTT.js the deep copy of each message of QoS 1, payload included, that it makes for its store. A test says when
 * a version of MQTT.js has no such methods any more: then this does nothing, and the copies are back.
 */
function withoutCopies(client: MqttClient): void {
  const methods = client as unknown as SendingMethods;
  methods._storeAndSend = (packet, done) => methods._writePacket(packet, done);
}

/** Methods of MQTT.js that are not documented. */
interface SendingMethods {
  _storeAndSend(packet: unknown, done: () => void): void;
  _writePacket(packet: unknown, done: () => void): void;
}
