import { loadMqtt, type MqttClient } from "../../../deps.ts";
import { call } from "../../../src/bus/client.ts";
import type { Value, ValueMap } from "../../../src/wire/object.ts";
import { mosquittoAvailable, startMosquitto } from "../../support/mosquitto.ts";
import { createPki, type Pki, type PkiFiles, writePki } from "../../support/pki.ts";
import { type Program, startProgram } from "../../support/program.ts";
import { tempDir } from "../../support/temp.ts";
import { waitFor } from "../../support/wait.ts";
import { Clients } from "./clients.ts";

/** How long a daemon may take to send everything it accepted, in ms. */
const SETTLE_MS = 120_000;

/** The broker's own count of the PUBLISH packets that came, each second. */
const COUNT_TOPIC = "$SYS/broker/publish/messages/received";

/** Whether the benches that need a broker can run. */
export function brokerAvailable(): boolean {
  return mosquittoAvailable();
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
  /** Arguments for `mqtt_alone.ts` and the like. */
  mqttArgs(): string[];
  /** Waits until the broker has counted so many PUBLISH packets since `from`, no more and no less. */
  expectCount(from: number, count: number): Promise<void>;
  /** How many PUBLISH packets the broker has counted. */
  count(): Promise<number>;
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
    daemon: (id, ...args) => startDaemon({ dir, files, broker: mosquitto }, id, args),
    mqttArgs: () => [
      `mqtts://${mosquitto.host}:${mosquitto.port}`,
      ...[files.rootca, files.cert, files.key],
    ],
    expectCount: (from, count) => counter.expect(from, count),
    count: () => counter.settled(),
    [Symbol.asyncDispose]: () => kept.disposeAsync(),
  };
}

/** A daemon under test. */
export interface Daemon extends AsyncDisposable {
  readonly socket: string;
  readonly pid: number;
  readonly program: Program;
  /** Waits until everything that was accepted has been sent, acknowledged and removed from the spool. */
  settle(): Promise<void>;
  /** Waits until it is connected. */
  connected(): Promise<void>;
  /** What the daemon says of itself. */
  status(): Promise<ValueMap>;
}

async function startDaemon(
  { dir, files, broker }: {
    readonly dir: string;
    readonly files: PkiFiles;
    readonly broker: { readonly host: string; readonly port: number };
  },
  id: string,
  args: readonly string[],
): Promise<Daemon> {
  const busDir = `${dir}/${id}`;
  const program = await startProgram([
    ...["--endpoint", `${broker.host}:${broker.port}`, "--id", id, "--no-rate-limit"],
    ...["--rootca", files.rootca, "--cert", files.cert, "--key", files.key],
    ...["--bus-dir", busDir, ...args],
  ]);
  const socket = `${busDir}/aws_iot_mqtt`;
  const status = async (): Promise<ValueMap> => mapOf(await call(socket, "status"));
  const daemon: Daemon = {
    socket,
    pid: program.pid,
    program,
    status,
    connected: () => waitFor(`${id} to connect`, async () => isUp(await status())).then(() => {}),
    settle: () =>
      waitFor(`${id} to send what it accepted`, async () => isIdle(await status()), SETTLE_MS)
        .then(() => {}),
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
  #client: Promise<MqttClient> | undefined;
  #last = 0;
  #reports = 0;

  constructor(private readonly port: number) {}

  /** The count, once it has stood still for a report or the time of one. */
  async settled(): Promise<number> {
    await this.#open();
    const last = (): string => `${this.#last} ${this.#reports}`;
    for (let before = "";;) {
      before = last();
      // It is only reported when it has changed.
      await new Promise((resolve) => setTimeout(resolve, 1_200));
      if (before === last()) return this.#last;
    }
  }

  async expect(from: number, count: number): Promise<void> {
    const got = await this.settled() - from;
    if (got !== count) throw new Error(`The broker got ${got} messages instead of ${count}`);
  }

  async close(): Promise<void> {
    const client = await this.#client;
    this.#client = undefined;
    await client?.endAsync();
  }

  async #open(): Promise<void> {
    await (this.#client ??= this.#connect());
  }

  async #connect(): Promise<MqttClient> {
    const mqtt = await loadMqtt();
    const client = await mqtt.connectAsync(`mqtt://127.0.0.1:${this.port}`, {
      clientId: "bench-counter",
    });
    client.on("message", (_topic, payload) => {
      this.#last = Number(payload.toString());
      this.#reports++;
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
