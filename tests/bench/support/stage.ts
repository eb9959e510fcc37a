import { loadMqtt, type MqttClient } from "../../../deps.ts";
import { call } from "../../../src/bus/client.ts";
import type { Value, ValueMap } from "../../../src/wire/object.ts";
import { mosquittoAvailable, startMosquitto } from "../../support/mosquitto.ts";
import { createPki, type Pki, type PkiFiles, writePki } from "../../support/pki.ts";
import { type Program, programCommand, startCommand } from "../../support/program.ts";
import { tempDir } from "../../support/temp.ts";
import { waitFor } from "../../support/wait.ts";
import { Clients } from "./clients.ts";

/** How long a daemon may take to send everything it accepted, in ms. */
const SETTLE_MS = 120_000;

/** How long a daemon may take to connect, in ms: after an outage it waits for its next attempt. */
const CONNECT_MS = 130_000;

/** How long the broker may take to report what it counted, in ms. */
const COUNT_MS = 30_000;

/** The broker's own count of the PUBLISH packets that came, each second or two. */
const COUNT_TOPIC = "$SYS/broker/publish/messages/received";

/** Whether the benches that need a broker can run. */
export function brokerAvailable(): boolean {
  return mosquittoAvailable();
}

/** What a daemon of the stage may have beside the usual. */
export interface Extra {
  readonly flags?: readonly string[];
  readonly env?: Record<string, string>;
}

/** What the benches with a broker share: mosquitto in a process of its own, credentials, clients, a folder. */
export interface Stage extends AsyncDisposable {
  readonly dir: string;
  readonly files: PkiFiles;
  readonly pki: Pki;
  /** With mutual TLS. */
  readonly broker: { readonly host: string; readonly port: number };
  /** Without TLS, for what only feeds and counts. */
  readonly plainPort: number;
  readonly clients: Clients;
  /** Ends and starts the broker: the daemons go offline and come back. */
  stopBroker(): Promise<void>;
  startBroker(): Promise<void>;
  /** Starts a daemon against the broker, without rate limits, and waits until it is connected. */
  daemon(id: string, ...args: readonly string[]): Promise<Daemon>;
  /** The same, with further flags for Deno or more in its environment. */
  daemonWith(extra: Extra, id: string, ...args: readonly string[]): Promise<Daemon>;
  /** Arguments for `mqtt_alone.ts` and the like. */
  mqttArgs(): string[];
  /**
   * Waits until the broker has counted so many PUBLISH packets more than at the last call, or since its start: every message
   * of the bench has to be told of here.
   *
   * @throws {Error} When there are more, or when they do not come.
   */
  expectPublished(count: number): Promise<void>;
}

/** Sets the stage; everything on it goes with its scope. */
export async function openStage(): Promise<Stage> {
  await using stack = new AsyncDisposableStack();
  const dir = stack.use(await tempDir()).path;
  const clients = await Clients.prepare(dir);
  const pki = await createPki();
  const files = await writePki(dir, pki);
  const plainPort = freePort();
  const mosquitto = stack.use(
    await startMosquitto({
      pki,
      config: [
        "log_type none",
        "sys_interval 1",
        "set_tcp_nodelay true",
        `listener ${plainPort} 127.0.0.1`,
      ],
    }),
  );
  const counter = stack.use(new Counter(plainPort));
  const kept = stack.move();
  return {
    ...{ dir, files, pki, plainPort, clients },
    broker: { host: mosquitto.host, port: mosquitto.port },
    stopBroker: async () => {
      await counter.close();
      await mosquitto.stop();
    },
    startBroker: () => mosquitto.start(),
    daemon: (id, ...args) => startDaemon({ dir, files, broker: mosquitto }, {}, id, args),
    daemonWith: (extra, id, ...args) =>
      startDaemon({ dir, files, broker: mosquitto }, extra, id, args),
    mqttArgs: () => [
      `mqtts://${mosquitto.host}:${mosquitto.port}`,
      ...[files.rootca, files.cert, files.key],
    ],
    expectPublished: (count) => counter.expect(count),
    [Symbol.asyncDispose]: () => kept.disposeAsync(),
  };
}

/** Something that serves a socket as the daemon does. */
export interface Served {
  readonly socket: string;
  /** Waits until everything that was accepted has been sent, acknowledged and removed from the spool. */
  settle(): Promise<void>;
  /** Waits until it is connected. */
  connected(): Promise<void>;
}

/** A daemon under test. */
export interface Daemon extends Served, AsyncDisposable {
  readonly pid: number;
  readonly program: Program;
}

/** What a daemon needs of the stage. */
interface Place {
  readonly dir: string;
  readonly files: PkiFiles;
  readonly broker: { readonly host: string; readonly port: number };
}

function served(id: string, socket: string): Served {
  const status = async (): Promise<ValueMap> => mapOf(await call(socket, "status"));
  return {
    socket,
    connected: () =>
      waitFor(`${id} to connect`, async () => isUp(await status()), CONNECT_MS).then(() => {}),
    settle: () =>
      waitFor(`${id} to send what it accepted`, async () => isIdle(await status()), SETTLE_MS)
        .then(() => {}),
  };
}

async function startDaemon(
  { dir, files, broker }: Place,
  { flags = [], env = {} }: Extra,
  id: string,
  args: readonly string[],
): Promise<Daemon> {
  const busDir = `${dir}/${id}`;
  const program = startCommand([
    ...await programCommand(...flags),
    ...["--endpoint", `${broker.host}:${broker.port}`, "--id", id, "--no-rate-limit"],
    ...["--rootca", files.rootca, "--cert", files.cert, "--key", files.key],
    ...["--bus-dir", busDir, ...args],
  ], env);
  const socket = `${busDir}/aws_iot_mqtt`;
  const daemon: Daemon = {
    ...served(id, socket),
    pid: program.pid,
    program,
    [Symbol.asyncDispose]: () => program[Symbol.asyncDispose](),
  };
  try {
    await program.logged("serving the core bus");
    await daemon.connected();
    return daemon;
  } catch (error) {
    await program[Symbol.asyncDispose]();
    throw error;
  }
}

function mapOf(value: Value | undefined): ValueMap {
  if (value instanceof Map) return value;
  throw new Error("Cannot read the status: a map was expected");
}

function connectionOf(status: ValueMap): ValueMap {
  const connections = status.get("connections");
  return mapOf(Array.isArray(connections) ? connections[0] : undefined);
}

function isUp(status: ValueMap): boolean {
  return connectionOf(status).get("connected") === true;
}

function isIdle(status: ValueMap): boolean {
  const publishes = mapOf(status.get("publishes"));
  return isUp(status) && mapOf(status.get("spool")).get("messages") === 0n &&
    connectionOf(status).get("in_flight") === 0n &&
    connectionOf(status).get("buffered_bytes") === 0n &&
    publishes.get("waiting_qos0_messages") === 0n;
}

/** Watches the broker's own count. */
class Counter implements AsyncDisposable {
  #client: MqttClient | undefined;
  #counted = 0;
  #expected = 0;

  constructor(private readonly port: number) {}

  async expect(more: number): Promise<void> {
    this.#client ??= await this.#connect();
    this.#expected += more;
    await waitFor(`the broker to get ${more} messages`, () => {
      const missing = this.#expected - this.#counted;
      if (missing < 0) throw new Error(`The broker got ${-missing} messages too many of ${more}`);
      return missing === 0;
    }, COUNT_MS).catch((error: Error) => {
      throw new Error(`${error.message}; it got ${this.#counted} of ${this.#expected} in all`);
    });
  }

  /** The broker goes, and its count with it. */
  async close(): Promise<void> {
    await this.#client?.endAsync(true);
    this.#client = undefined;
    this.#counted = this.#expected = 0;
  }

  async #connect(): Promise<MqttClient> {
    const mqtt = await loadMqtt();
    const client = await mqtt.connectAsync(`mqtt://127.0.0.1:${this.port}`, {
      clientId: "bench-counter",
      reconnectPeriod: 0,
    });
    client.on("message", (_topic, payload) => {
      this.#counted = Number(payload.toString());
    });
    await client.subscribeAsync(COUNT_TOPIC);
    return client;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

function freePort(): number {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  return listener.addr.port;
}
