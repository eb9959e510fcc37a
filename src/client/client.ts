import { BUS_DIR, INTERFACE_NAME } from "../bus/socket_file.ts";
import { type Bytes, fromUtf8, utf8 } from "../base/bytes.ts";
import { BusError, BusErrorCode } from "../base/errors.ts";
import { withResolvers } from "../base/with_resolvers.ts";
import { MAX_FRAME_BYTES } from "../wire/frame.ts";
import type { Value } from "../wire/object.ts";
import { Feed } from "./feed.ts";
import { Calls } from "./calls.ts";
import type { Status } from "../status/types.ts";
import { readStatus } from "../status/codec.ts";

/** Where the daemon listens unless it is told otherwise. */
export const DEFAULT_SOCKET: string = `${BUS_DIR}/${INTERFACE_NAME}`;

/** How long the daemon may be gone before publishes that wait for it fail, in ms, unless told otherwise. */
export const DEFAULT_TIMEOUT_MS = 30_000;

/** How long the answer to a publish may take, in ms: the daemon gives a broker 30 s. */
const PUBLISH_MS = 60_000;

/** How long the daemon may take to answer `status`, in ms. */
const STATUS_MS = 10_000;

/** Messages, and their bytes, that an iteration holds for its reader; then nothing more is read from the daemon. */
const MESSAGE_BOUND = { items: 1_024, bytes: 1_048_576 } as const;

/** What a message counts beside its topic and payload, in bytes. */
const MESSAGE_OVERHEAD_BYTES = 64;

/** What {@linkcode connect} can be told. */
export interface ConnectOptions {
  /** The path of the daemon's socket; {@linkcode DEFAULT_SOCKET} by default. */
  readonly socket?: string | undefined;
  /** How long the daemon may be gone before publishes that wait for it fail, in ms; 30 s by default. */
  readonly timeoutMs?: number;
}

/** How a message is published. */
export interface PublishOptions {
  /** 0, the default: sent once if there is a connection to the broker. 1: kept until the broker has it. */
  readonly qos?: 0 | 1;
  /** Whether to wait until the daemon has `accepted` the message, the default, or until the `broker` has it (QoS 1). */
  readonly ack?: "accepted" | "broker";
  /** Seconds after which the message is no longer worth sending, 1 or more. */
  readonly messageExpiry?: number;
  /** Ends the wait for the answer; what the daemon has been sent is not taken back. */
  readonly signal?: AbortSignal;
}

/** How messages are subscribed to. */
export interface SubscribeOptions {
  /** The highest QoS at which the broker sends messages; 0 by default. */
  readonly qos?: 0 | 1;
  /** Registers with the daemon alone: gets what the broker sends for the filters of others. */
  readonly virtual?: boolean;
  /** Called when the daemon hung up, with how often that was: messages are missed until it is back. */
  readonly onLost?: (times: number) => void;
  /** Called when the daemon is back, and the subscription with it. */
  readonly onBack?: () => void;
  /** Ends the subscription, as leaving a `for await` does; messages that were not taken are dropped. */
  readonly signal?: AbortSignal;
}

/** What tells of a subscription's end and return, and ends it. */
export type FeedEvents = Pick<SubscribeOptions, "onLost" | "onBack" | "signal">;

/** A message that arrived. */
export interface Message {
  /** The topic that it was published to. */
  readonly topic: string;
  /** What was published. */
  readonly payload: Bytes;
}

/** A message that the daemon keeps and does not send: the broker closes the connection for it, or for its topic. */
export interface QuarantinedMessage {
  /** Its number. */
  readonly seq: number;
  /** The topic that it is for. */
  readonly topic: string;
  /** What it counts for in the spool. */
  readonly bytes: number;
  /** Why it is kept aside. */
  readonly reason: string;
}

/** The messages of a subscription, for one reader; leaving a `for await` over it ends the subscription. */
export type Messages = Feed<Message>;

/** A client of the daemon. */
export interface Client extends AsyncDisposable {
  /** The path of the daemon's socket. */
  readonly socket: string;
  /**
   * Publishes a message; resolves when the daemon has it, or the broker with `ack: "broker"`. Publishes go out in the order
   * of the calls. The payload is not to be changed until then.
   *
   * @throws {BusError} the daemon's refusal: INVALID and RANGE for what AWS IoT Core does not take, NOCONN for QoS 0 without
   * a connection to the broker, NOMEM when the spool is full, REMOTE with `reason` when the broker refused, TIMEOUT
   * when no answer came in time
   * @throws {NoServerError} when the daemon is gone for longer than `timeoutMs`, or, with QoS 0, before it answered
   * @throws the reason of `signal`
   */
  publish(topic: string, payload: string | Bytes, options?: PublishOptions): Promise<void>;
  /** Subscribes to one filter or several; each message comes once, in order. Refusals are thrown by the iteration. */
  subscribe(filters: string | readonly string[], options?: SubscribeOptions): Messages;
  /** The messages that the daemon keeps and does not send, oldest first. */
  quarantined(): Promise<readonly QuarantinedMessage[]>;
  /** Has messages of the quarantine sent after all, each alone first; `undefined`: all. Resolves with how many there are. */
  retryQuarantined(seqs: readonly number[] | undefined): Promise<number>;
  /** Has messages of the quarantine removed for good; `undefined`: all. Resolves with how many there were. */
  dropQuarantined(seqs: readonly number[] | undefined): Promise<number>;
  /** Has the daemon make its connections anew, at once and with credentials that are read again. */
  reconnect(): Promise<void>;
  /** What the daemon says of itself. */
  status(): Promise<Status>;
  /** The status at once, then each second, for one reader. */
  watchStatus(options?: FeedEvents): Feed<Status>;
  /** Whether the daemon is connected to the broker: at once, then at each change, for one reader. */
  connectionStatus(options?: FeedEvents): Feed<boolean>;
  /** Waits for the answers of publishes under way, ends every subscription and closes. */
  close(): Promise<void>;
}

/**
 * Connects to the daemon.
 *
 * @throws {NoServerError} when there is none
 */
export async function connect(options: ConnectOptions = {}): Promise<Client> {
  const client = new DaemonClient(options);
  await client.open();
  return client;
}

class DaemonClient implements Client {
  readonly socket: string;
  readonly #calls: Calls;
  /** Answers come in order: one that waits for the broker must not hold up the others. */
  readonly #acknowledged: Calls;
  readonly #feeds = new Set<Pick<Feed<unknown>, "close">>();

  constructor({ socket = DEFAULT_SOCKET, timeoutMs = DEFAULT_TIMEOUT_MS }: ConnectOptions) {
    this.socket = socket;
    this.#calls = new Calls(socket, timeoutMs);
    this.#acknowledged = new Calls(socket, timeoutMs);
  }

  open(): Promise<void> {
    return this.#calls.open();
  }

  async publish(
    topic: string,
    payload: string | Bytes,
    options: PublishOptions = {},
  ): Promise<void> {
    const { qos = 0, ack, messageExpiry, signal } = options;
    signal?.throwIfAborted();
    const topicBytes = utf8(topic);
    const payloadBytes = typeof payload === "string" ? utf8(payload) : payload;
    const params = new Map<string, Value>([
      ["topic", topicBytes],
      ["payload", payloadBytes],
      ["qos", BigInt(qos)],
    ]);
    if (ack !== undefined) params.set("ack", utf8(ack));
    if (messageExpiry !== undefined) params.set("message_expiry", BigInt(messageExpiry));
    const lane = ack === "broker" ? this.#acknowledged : this.#calls;
    const bytes = topicBytes.length + payloadBytes.length;
    const answer = lane.call({
      method: "publish",
      params,
      repeatable: qos === 1,
      bytes,
      timeoutMs: PUBLISH_MS,
    });
    await unlessAborted(answer, signal);
  }

  subscribe(filters: string | readonly string[], options: SubscribeOptions = {}): Messages {
    const { qos = 0, virtual = false } = options;
    const params = new Map<string, Value>([
      ["topic_filter", [filters].flat().map(utf8)],
      ["qos", BigInt(qos)],
      ["max_frame", BigInt(MAX_FRAME_BYTES)],
    ]);
    if (virtual) params.set("virtual", true);
    return this.#feed(
      new Feed({
        socket: this.socket,
        method: "subscribe",
        params,
        read: readMessage,
        bound: MESSAGE_BOUND,
        ...eventsOf(options),
      }),
      options.signal,
    );
  }

  async quarantined(): Promise<readonly QuarantinedMessage[]> {
    const messages: QuarantinedMessage[] = [];
    while (true) {
      const after = BigInt(messages.at(-1)?.seq ?? 0);
      const page = readQuarantined(await this.#ask("quarantine_list", new Map([["after", after]])));
      if (page.length === 0) return messages;
      messages.push(...page);
    }
  }

  async retryQuarantined(seqs: readonly number[] | undefined): Promise<number> {
    return Number(await this.#ask("quarantine_retry", choice(seqs)));
  }

  async dropQuarantined(seqs: readonly number[] | undefined): Promise<number> {
    return Number(await this.#ask("quarantine_drop", choice(seqs)));
  }

  async reconnect(): Promise<void> {
    await this.#ask("reconnect", new Map());
  }

  async status(): Promise<Status> {
    return readStatus(await this.#ask("status", new Map()));
  }

  watchStatus(options: FeedEvents = {}): Feed<Status> {
    return this.#feed(
      new Feed({
        socket: this.socket,
        method: "status",
        params: new Map(),
        read: (value) => ({ item: readStatus(value), bytes: 0 }),
        bound: { items: 1, bytes: 1 },
        ...eventsOf(options),
      }),
      options.signal,
    );
  }

  connectionStatus(options: FeedEvents = {}): Feed<boolean> {
    return this.#feed(
      new Feed({
        socket: this.socket,
        method: "connection_status",
        params: new Map(),
        read: (value) => ({ item: value === true, bytes: 0 }),
        bound: MESSAGE_BOUND,
        ...eventsOf(options),
      }),
      options.signal,
    );
  }

  async close(): Promise<void> {
    await Promise.all([
      this.#calls.close(),
      this.#acknowledged.close(),
      ...[...this.#feeds].map((feed) => feed.close()),
    ]);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /** A call that does no harm when it is handled twice. */
  #ask(method: string, params: ReadonlyMap<string, Value>): Promise<Value> {
    return this.#calls.call({
      method,
      params: new Map(params),
      repeatable: true,
      bytes: 0,
      timeoutMs: STATUS_MS,
    });
  }

  #feed<T>(feed: Feed<T>, signal: AbortSignal | undefined): Feed<T> {
    const abort = (): void => void feed.close();
    this.#feeds.add(feed);
    signal?.addEventListener("abort", abort);
    if (signal?.aborted) abort();
    void feed.over.then(() => {
      this.#feeds.delete(feed);
      signal?.removeEventListener("abort", abort);
    });
    return feed;
  }
}

function eventsOf({ onLost, onBack }: FeedEvents): Pick<FeedEvents, "onLost" | "onBack"> {
  return { ...onLost && { onLost }, ...onBack && { onBack } };
}

/** What a promise gives, or the reason of the signal when it is aborted first. */
async function unlessAborted<T>(
  promise: Promise<T>,
  signal: AbortSignal | undefined,
): Promise<T> {
  if (signal === undefined) return await promise;
  const { promise: aborted, reject } = withResolvers<never>();
  const abort = (): void => reject(signal.reason);
  signal.addEventListener("abort", abort);
  try {
    return await Promise.race([promise, aborted]);
  } finally {
    signal.removeEventListener("abort", abort);
  }
}

function choice(seqs: readonly number[] | undefined): ReadonlyMap<string, Value> {
  return seqs === undefined ? new Map([["all", true]]) : new Map([["seqs", seqs.map(BigInt)]]);
}

function readQuarantined(value: Value): QuarantinedMessage[] {
  const items = Array.isArray(value) ? value.filter((item) => item instanceof Map) : [];
  const text = (of: Value | undefined): string =>
    of instanceof Uint8Array ? fromUtf8(of) ?? "" : "";
  return items.map((item) => ({
    seq: Number(item.get("seq")),
    topic: text(item.get("topic")),
    bytes: Number(item.get("bytes")),
    reason: text(item.get("reason")),
  }));
}

function readMessage(value: Value): { item: Message; bytes: number } {
  const topic = value instanceof Map ? value.get("topic") : undefined;
  const payload = value instanceof Map ? value.get("payload") : undefined;
  const text = topic instanceof Uint8Array ? fromUtf8(topic) : undefined;
  if (text === undefined || !(payload instanceof Uint8Array)) {
    throw new BusError(
      BusErrorCode.PARSE,
      "Cannot read message: topic and payload must be buffers",
    );
  }
  return {
    item: { topic: text, payload },
    bytes: text.length + payload.length + MESSAGE_OVERHEAD_BYTES,
  };
}
