import { utf8 } from "../../src/base/bytes.ts";
import { type Clock, systemClock } from "../../src/base/clock.ts";
import type { BusError } from "../../src/base/errors.ts";
import { type BusConnection, connectBus, subscribe } from "../../src/bus/client.ts";
import { type CliSettings, resolveConfig } from "../../src/config/resolve.ts";
import { type Daemon, startDaemon } from "../../src/daemon/daemon.ts";
import { MAX_FRAME_BYTES } from "../../src/wire/frame.ts";
import type { Value } from "../../src/wire/object.ts";
import { type FakeLog, fakeLog } from "./fake_log.ts";
import { type Pki, type PkiFiles, writePki } from "./pki.ts";
import { tempDir } from "./temp.ts";
import { waitFor } from "./wait.ts";

/** The largest payload of AWS IoT Core, in bytes. */
export const LARGEST = 131_072;

/** A broker that a daemon can be started against. */
export interface Broker {
  readonly host: string;
  readonly port: number;
  readonly pki: Pki;
  /** Only of the stand-in: lets a certificate in. */
  register?(device: PkiFiles["device"]): void;
}

/** The daemon inside the process of the test. */
export interface TestDaemon extends AsyncDisposable {
  readonly daemon: Daemon;
  /** The path of its socket. */
  readonly socket: string;
  readonly log: FakeLog;
}

/** What {@linkcode startTestDaemon} can be told beside options of the command line. */
export interface TestDaemonOptions extends CliSettings {
  /** iotcored-6; 1 by default. */
  readonly ceiling?: number;
  /** That of the machine by default. */
  readonly clock?: Clock;
}

/** Starts the daemon with the client id `thing`, on a bus folder of its own; its waits before a reconnect are short. */
export async function startTestDaemon(
  broker: Broker,
  options: TestDaemonOptions = {},
): Promise<TestDaemon> {
  await using stack = new AsyncDisposableStack();
  const dir = stack.use(await tempDir());
  const files = await writePki(dir.path, broker.pki);
  broker.register?.(files.device);
  const { ceiling = 1, clock = systemClock, ...given } = options;
  const config = resolveConfig(
    {
      endpoint: `${broker.host}:${broker.port}`,
      id: "thing",
      rootca: files.rootca,
      cert: files.cert,
      key: files.key,
      busDir: `${dir.path}/bus`,
      ...given,
    },
    {},
    new Map(),
    ceiling,
  );
  const log = fakeLog();
  const daemon = await startDaemon(config, { clock, log, random: () => 0.1 });
  stack.defer(async () => void await daemon.stop());
  const kept = stack.move();
  return {
    daemon,
    socket: `${dir.path}/bus/${config.interfaceName}`,
    log,
    [Symbol.asyncDispose]: () => kept.disposeAsync(),
  };
}

/** A local client that subscribed and keeps what it gets. */
export interface Listener extends AsyncDisposable {
  readonly messages: {
    readonly topic: string;
    readonly payload: Uint8Array;
    /** Only when `retainFlag` was asked for. */
    readonly retain: boolean;
  }[];
  /** The payloads as texts. */
  texts(): string[];
  /** Resolves when subscribed, rejects when refused. */
  readonly accepted: Promise<void>;
  /** Resolves when the daemon closed it, with the refusal if there was one. */
  readonly closed: Promise<BusError | undefined>;
  close(): Promise<void>;
}

/** Subscribes a local client without waiting for the answer. */
export function listenSoon(
  socket: string,
  filter: string | readonly string[],
  options: {
    readonly qos?: 0 | 1;
    readonly virtual?: boolean;
    readonly retainFlag?: boolean;
  } = {},
): Listener {
  const messages: { topic: string; payload: Uint8Array; retain: boolean }[] = [];
  const params = new Map<string, Value>([
    ["topic_filter", typeof filter === "string" ? utf8(filter) : filter.map((one) => utf8(one))],
    ["qos", BigInt(options.qos ?? 1)],
    ["virtual", options.virtual ?? false],
    ["retain_flag", options.retainFlag ?? false],
    ["max_frame", BigInt(MAX_FRAME_BYTES)],
  ]);
  const subscription = subscribe(socket, "subscribe", params, (value) => {
    if (!(value instanceof Map)) throw new Error("a message must be a map");
    messages.push({
      topic: textOf(value.get("topic")),
      payload: value.get("payload") as Uint8Array,
      retain: value.get("retain") === true,
    });
  });
  const close = async (): Promise<void> => {
    subscription.close();
    await subscription.closed;
  };
  return {
    messages,
    texts: () => messages.map(({ payload }) => textOf(payload)),
    accepted: subscription.accepted,
    closed: subscription.closed,
    close,
    [Symbol.asyncDispose]: close,
  };
}

/** Subscribes a local client; it is accepted when this resolves. */
export async function listen(
  socket: string,
  filter: string | readonly string[],
  options: {
    readonly qos?: 0 | 1;
    readonly virtual?: boolean;
    readonly retainFlag?: boolean;
  } = {},
): Promise<Listener> {
  const listener = listenSoon(socket, filter, options);
  await listener.accepted;
  return listener;
}

/** A message to publish by a local client. */
export interface Message {
  readonly topic: string | Uint8Array<ArrayBuffer>;
  readonly payload?: string | Uint8Array<ArrayBuffer>;
  readonly qos?: number;
  readonly ack?: string;
  readonly messageExpiry?: number;
}

/** The parameters of `publish`. */
export function publishParams({ topic, payload, qos, ack, messageExpiry }: Message) {
  const bytes = (given: string | Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> =>
    typeof given === "string" ? utf8(given) : given;
  const params = new Map<string, Value>([["topic", bytes(topic)]]);
  if (payload !== undefined) params.set("payload", bytes(payload));
  if (qos !== undefined) params.set("qos", BigInt(qos));
  if (ack !== undefined) params.set("ack", utf8(ack));
  if (messageExpiry !== undefined) params.set("message_expiry", BigInt(messageExpiry));
  return params;
}

/** Publishes by a client of its own; rejects with the refusal. */
export async function publish(socket: string, message: Message): Promise<Value> {
  await using client = await connected(socket);
  return await client.call("publish", publishParams(message));
}

/** A kept connection that is closed at the end of the scope. */
export async function connected(socket: string): Promise<BusConnection & AsyncDisposable> {
  const client = await connectBus(socket);
  return Object.assign(client, {
    [Symbol.asyncDispose]: async (): Promise<void> => {
      client.close();
      await client.closed;
    },
  });
}

/** A client of `connection_status` that keeps what it hears. */
export interface StatusListener extends AsyncDisposable {
  readonly heard: Value[];
  /** Waits until the last that was heard is this. */
  until(connected: boolean, timeoutMs?: number): Promise<void>;
}

/** Subscribes to `connection_status`. */
export async function listenToStatus(socket: string): Promise<StatusListener> {
  const heard: Value[] = [];
  const subscription = subscribe(
    socket,
    "connection_status",
    new Map(),
    (value) => void heard.push(value),
  );
  await subscription.accepted;
  return {
    heard,
    until: async (connected, timeoutMs = 15_000) => {
      await waitFor(
        `connection_status to be ${connected}`,
        () => heard.at(-1) === connected,
        timeoutMs,
      );
    },
    [Symbol.asyncDispose]: async () => {
      subscription.close();
      await subscription.closed;
    },
  };
}

/** Waits until the daemon says that it is connected, or that it is not. */
export async function untilConnected(socket: string, connected = true): Promise<void> {
  await using status = await listenToStatus(socket);
  await status.until(connected);
}

function textOf(value: unknown): string {
  return new TextDecoder().decode(value as Uint8Array);
}
