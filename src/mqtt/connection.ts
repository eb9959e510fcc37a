/**
 * Connections to the broker, from addresses to MQTT; this one is kept up, and the pool has several.
 *
 * @module
 */

import type { Qos } from "../aws/limits.ts";
import type { Bytes } from "../base/bytes.ts";
import { type Clock, systemClock, type Timer } from "../base/clock.ts";
import { ExitError, messageOf } from "../base/errors.ts";
import type { Log } from "../base/log.ts";
import { EARLIEST_MS } from "../base/version.ts";
import { stackOf } from "../base/errors.ts";
import { ConnectError } from "./connect_error.ts";
import { type Effect, type Event, INITIAL, type State, step } from "./connection_state.ts";
import type { Dial, Target } from "./dial.ts";
import type {
  ConnackInfo,
  Delivery,
  LinkEnd,
  MqttLink,
  OutgoingPublish,
  PublishResult,
  SubscribeOptions,
  SubscribeResult,
} from "./link.ts";
import { detached, FaultScope, outside } from "./fault_scope.ts";
import { PacketIds } from "./packet_ids.ts";
import { nameOf } from "./tls.ts";

/** Gets what happens on a connection, in order. */
export interface ConnectionHandler {
  /** A link stands. */
  onUp(connack: ConnackInfo): void;
  /** The link is gone; every publish of it was answered with `undefined` before. Another follows unless stopped. */
  onDown(end: LinkEnd): void;
  /** A message arrived; its PUBACK goes out when this returns. May come just before `onUp`, from a resumed session. */
  onMessage(topic: string, payload: Bytes, delivery?: Delivery): void;
  /**
   * No further attempt will be made: `error.exit` is 77 (iotcored-4) or 78. Ending the program is for the caller to decide;
   * {@linkcode Connection.reconnect} tries again.
   */
  onFailed(error: ExitError): void;
}

/** What a {@linkcode Connection} needs. */
export interface ConnectionOptions {
  /** Whom to connect to; asked before each attempt, so that a changed configuration applies. */
  readonly target: () => Target | Promise<Target>;
  readonly dial: Dial;
  readonly handler: ConnectionHandler;
  readonly log: Log;
  readonly clock?: Clock;
  /** A number in [0, 1). */
  readonly random?: () => number;
}

/** How a connection is at one moment. */
export interface ConnectionSnapshot {
  /** Of the last attempt; empty before the first. */
  readonly clientId: string;
  readonly connected: boolean;
  /** When the link came up, in ms since the epoch; `undefined` while there is none. */
  readonly since: number | undefined;
  /** Where the TCP connection leads, the broker or the proxy; `undefined` without a link. */
  readonly address: string | undefined;
  /** QoS 1 publishes without PUBACK. */
  readonly inFlight: number;
  /** Why the last attempt failed or the last link was lost, in one line. */
  readonly lastError: string | undefined;
  /** What the broker allows on the link that stands. */
  readonly allows?: ConnackInfo | undefined;
}

/** One attempt and the link that comes of it; only the current one is listened to. */
interface Call {
  readonly abort: AbortController;
  readonly faults: FaultScope;
  state: CallState;
}

type CallState =
  | { readonly type: "dialling" }
  /** Something was thrown during the attempt that nobody caught. */
  | { readonly type: "faulted"; readonly cause: unknown }
  /** The link ended before its promise was looked at. */
  | { readonly type: "ended"; readonly end: LinkEnd }
  | { readonly type: "linked"; readonly link: MqttLink }
  /** The link is closed from here; `end` stands for the reason that it gives itself. */
  | { readonly type: "condemned"; readonly link: MqttLink; readonly end: LinkEnd };

/** A connection to the broker that is kept up (iotcored-2, iotcored-3): it performs what {@linkcode step} decides. */
export class Connection {
  readonly #options: ConnectionOptions;
  readonly #clock: Clock;
  #state: State = INITIAL;
  #call: Call | undefined;
  #timer: Timer | undefined;
  #target: Target | undefined;
  /**
   * Whose session the broker has from this process; another one's is not resumed. A process that knows what the one before left
   * unacknowledged, from a spool on disk, could begin with the client id here.
   */
  #sessionOf: string | undefined;
  readonly #packetIds = new PacketIds();
  #since: number | undefined;
  #inFlight = 0;
  #lastError: string | undefined;
  #events: Event[] = [];
  #stepping = false;
  /** Attempts and links that are on their way out. */
  readonly #closing = new Set<Promise<void>>();
  #stopped = Promise.withResolvers<void>();

  constructor(options: ConnectionOptions) {
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
  }

  /** Begins to connect; does nothing when it has begun. */
  start(): void {
    this.#happened({ type: "start" });
  }

  /**
   * Sends a message, unless there is no link: then it returns `false` and does not call `done`. With QoS 1 `done` gets the
   * broker's answer, with QoS 0 success once written; `undefined` when the link ended before.
   */
  publish(message: OutgoingPublish, done: (result: PublishResult | undefined) => void): boolean {
    const link = this.#up();
    if (link === undefined) return false;
    const counted = message.qos === 1 ? 1 : 0;
    this.#inFlight += counted;
    const onAnswer = (result: PublishResult | undefined): void =>
      detached(() => {
        this.#inFlight -= counted;
        done(result);
      });
    this.#call?.faults.run(() => link.publish(message, onAnswer));
    return true;
  }

  /** Sends one SUBSCRIBE of at most 8 filters; a result per filter, `undefined` without a link or when it ended first. */
  subscribe(
    filters: readonly string[],
    qos: Qos,
    options?: SubscribeOptions,
  ): Promise<readonly SubscribeResult[] | undefined> {
    const link = this.#up();
    if (link === undefined) return Promise.resolve(undefined);
    return this.#call!.faults.run(() => link.subscribe(filters, qos, options));
  }

  /** Sends one UNSUBSCRIBE; a result per filter, `undefined` without a link or when it ended first. */
  unsubscribe(filters: readonly string[]): Promise<readonly SubscribeResult[] | undefined> {
    const link = this.#up();
    if (link === undefined) return Promise.resolve(undefined);
    return this.#call!.faults.run(() => link.unsubscribe(filters));
  }

  /** Sends a PINGREQ; `done` is called with its PINGRESP, and not without a link or when it ends first. */
  ping(done: () => void): void {
    const link = this.#up();
    if (link !== undefined) this.#call!.faults.run(() => link.ping(done));
  }

  /** Makes a new link with a fresh target and credentials, without backoff; also after `onFailed`. */
  reconnect(reason: string): void {
    this.#happened({ type: "reconnect", reason });
  }

  /** Makes a new link because this one carries too little; what went wrong so far still counts. Does nothing without a link. */
  renew(reason: string): void {
    this.#happened({ type: "renew", reason });
  }

  /**
   * Stops: DISCONNECT is sent, and whatever is in flight has no answer any more. Resolves when every socket is gone; a second
   * call does not wait for the broker to hang up.
   */
  async stop(): Promise<void> {
    this.#happened({ type: "stop" });
    await this.#stopped.promise;
    await Promise.all(this.#closing);
  }

  /** Bytes that were written and not yet taken by the socket. */
  get buffered(): number {
    return linkOf(this.#call)?.buffered ?? 0;
  }

  get status(): ConnectionSnapshot {
    return {
      clientId: this.#target?.clientId ?? "",
      connected: this.#state.type === "up",
      since: this.#since,
      address: this.#up()?.address,
      allows: this.#up()?.connack,
      inFlight: this.#inFlight,
      lastError: this.#lastError,
    };
  }

  #up(): MqttLink | undefined {
    return this.#state.type === "up" ? linkOf(this.#call) : undefined;
  }

  /** Steps one event at a time: callbacks of the effects may cause further ones. */
  #happened(event: Unstamped<Event>): void {
    const random = (this.#options.random ?? Math.random)();
    this.#events.push({ ...event, now: this.#clock.now(), random } as Event);
    if (this.#stepping) return;
    this.#stepping = true;
    try {
      for (let next = this.#events.shift(); next !== undefined; next = this.#events.shift()) {
        const { state, effects } = step(this.#state, next);
        this.#state = state;
        for (const effect of effects) this.#perform(effect);
      }
    } finally {
      this.#stepping = false;
    }
  }

  #perform(effect: Effect): void {
    switch (effect.type) {
      case "open":
        return this.#open();
      case "abort":
        this.#call?.abort.abort();
        this.#call = undefined;
        return;
      case "close":
        return this.#close(linkOf(this.#call), effect.force);
      case "timer":
        this.#timer?.cancel();
        this.#timer = this.#clock.after(effect.ms, () => this.#happened({ type: "timer" }));
        return;
      case "cancel-timer":
        return this.#timer?.cancel();
      case "up":
        return this.#onUp();
      case "down":
        return this.#options.handler.onDown(effect.end);
      case "fail":
        return this.#onFailed(effect.exit, effect.failure);
      case "stopped":
        return this.#stopped.resolve();
      case "log":
        return this.#options.log[effect.level](effect.text, {
          client: this.#target?.clientId,
          ...effect.fields,
        });
    }
  }

  #open(): void {
    const call: Call = {
      abort: new AbortController(),
      faults: new FaultScope((cause) => this.#onFault(call, cause)),
      state: { type: "dialling" },
    };
    this.#call = call;
    this.#stopped = Promise.withResolvers();
    this.#track(this.#connect(call));
  }

  async #connect(call: Call): Promise<void> {
    let link: MqttLink | undefined;
    let failure: ConnectError | undefined;
    try {
      link = await call.faults.run(() => this.#dial(call));
    } catch (error) {
      failure = toFailure(error);
    }
    call.faults.settled();
    if (call.state.type === "faulted") {
      const { cause } = call.state;
      failure = new ConnectError(failure?.stage ?? "connack", "fault", faultText(cause), { cause });
    }
    if (this.#call === call && failure !== undefined) this.#onRefused(failure);
    else if (this.#call === call && link !== undefined) return this.#onLinked(call, link);
    await link?.close(true);
  }

  async #dial(call: Call): Promise<MqttLink> {
    const target = await this.#options.target();
    this.#target = target;
    const cleanStart = this.#sessionOf !== target.clientId;
    const attempt = { cleanStart, packetIds: this.#packetIds, signal: call.abort.signal };
    return await this.#options.dial(target, attempt, {
      onMessage: (topic, payload, delivery) =>
        outside(() => this.#options.handler.onMessage(topic, payload, delivery)),
      onEnd: (end) => detached(() => this.#onEnd(call, end)),
    });
  }

  #onLinked(call: Call, link: MqttLink): void {
    const { state } = call;
    call.state = { type: "linked", link };
    const { address, connack: { sessionPresent } } = link;
    this.#happened({ type: "linked", sessionPresent, address });
    if (state.type === "ended") this.#onEnd(call, state.end);
  }

  #onRefused(refusal: ConnectError): void {
    const failure = byWrongClock(refusal, this.#clock.wallNow());
    if (failure.kind === "fault") this.#logFault(failure.cause);
    this.#logPacket(failure.bytes);
    this.#lastError = failure.message;
    this.#call = undefined;
    this.#happened({ type: "refused", failure });
  }

  #onEnd(call: Call, end: LinkEnd): void {
    if (this.#call !== call) return;
    const { state } = call;
    if (state.type === "dialling") {
      call.state = { type: "ended", end };
      return;
    }
    // The attempt is refused for its fault when the dial returns, with a link or without one.
    if (state.type === "faulted") return;
    const reason = state.type === "condemned" ? state.end : end;
    if (reason.by === "fault") this.#logFault(reason.cause);
    this.#logPacket(reason.bytes);
    if (reason.by !== "local") this.#lastError = reason.reason;
    this.#call = undefined;
    this.#since = undefined;
    this.#happened({ type: "ended", end: reason });
  }

  /** Something was thrown that nobody caught: the attempt fails, or the link, and is made anew. */
  #onFault(call: Call, cause: unknown): void {
    if (this.#call !== call) return this.#logFault(cause);
    if (call.state.type === "dialling") {
      call.state = { type: "faulted", cause };
      call.abort.abort();
    } else {
      this.#condemn(call, { by: "fault", reason: faultText(cause), cause });
    }
  }

  #logPacket(bytes: string | undefined): void {
    if (bytes === undefined) return;
    this.#options.log.debug("the packet that broke the protocol", { bytes });
  }

  #logFault(cause: unknown): void {
    this.#options.log.error("an exception on the way to the broker; the connection is made anew", {
      client: this.#target?.clientId,
      error: messageOf(cause),
      stack: stackOf(cause),
    });
  }

  #condemn(call: Call, end: LinkEnd): void {
    if (call.state.type !== "linked") return;
    const { link } = call.state;
    call.state = { type: "condemned", link, end };
    this.#close(link, true);
  }

  #close(link: MqttLink | undefined, force: boolean): void {
    if (link !== undefined) this.#track(link.close(force));
  }

  #onUp(): void {
    const link = linkOf(this.#call);
    if (link === undefined) return;
    this.#sessionOf = this.#target?.clientId;
    this.#since = this.#clock.wallNow();
    this.#options.handler.onUp(link.connack);
  }

  #onFailed(exit: 77 | 78, failure: ConnectError): void {
    const { clientId = "", credentials } = this.#target ?? {};
    const where = this.#target === undefined ? "the broker" : nameOf(this.#target);
    const message = exit === 78
      ? failure.message
      : `Cannot authenticate at ${where} as ${clientId} with the certificate ${credentials?.cert}: ${failure.message}`;
    this.#options.handler.onFailed(new ExitError(exit, message));
  }

  #track(work: Promise<void>): void {
    const tracked = work.finally(() => this.#closing.delete(tracked));
    this.#closing.add(tracked);
  }
}

type Unstamped<E> = E extends Event ? Omit<E, "now" | "random"> : never;

function linkOf(call: Call | undefined): MqttLink | undefined {
  const state = call?.state;
  return state?.type === "linked" || state?.type === "condemned" ? state.link : undefined;
}

function faultText(cause: unknown): string {
  return `an exception that nothing caught: ${messageOf(cause)}`;
}

/** A certificate cannot be checked by a clock that is not set yet, as before the first answer of NTP: the failure says so. */
function byWrongClock(failure: ConnectError, wallNow: number): ConnectError {
  if (failure.kind !== "certificate" || wallNow >= EARLIEST_MS) return failure;
  const time = new Date(wallNow).toISOString();
  const why = `the clock of this device says ${time}, which is before this program was made`;
  return new ConnectError(failure.stage, failure.kind, `${why}; ${failure.message}`);
}

function toFailure(error: unknown): ConnectError {
  if (error instanceof ConnectError) return error;
  const text = messageOf(error);
  return error instanceof ExitError
    ? new ConnectError("credentials", "config", text)
    : new ConnectError("tcp", "other", text);
}
