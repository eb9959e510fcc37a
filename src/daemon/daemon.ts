import type { Bytes } from "../base/bytes.ts";
import type { Clock, Timer } from "../base/clock.ts";
import { Exit, ExitError, messageOf } from "../base/errors.ts";
import type { FaultHook } from "../base/fault.ts";
import type { Log } from "../base/log.ts";
import { listenOnFd } from "../bus/fd_listener.ts";
import { type BusServer, serve, type ServeOptions, startServer } from "../bus/server.ts";
import { AWS_RATE_LIMITS } from "../limit/rate_window.ts";
import { Connection } from "../mqtt/connection.ts";
import { readCredentials } from "../mqtt/credentials.ts";
import { createDial, type Dial, type Target } from "../mqtt/dial.ts";
import type { ConnackInfo, LinkEnd } from "../mqtt/port.ts";
import { Spool } from "../spool/spool.ts";
import { MemoryStorage } from "../spool/memory_storage.ts";
import { openDiskStorage } from "../spool/sqlite_storage.ts";
import type { SpoolStorage } from "../spool/storage.ts";
import type { Config } from "./config.ts";
import { compareConfigs } from "./config_change.ts";
import { probe, RevertedError, Trial } from "./config_trial.ts";
import { ConnectionStatus } from "./connection_status.ts";
import { mqttInterface } from "./interface.ts";
import { Publisher } from "./publisher.ts";
import { StatusReport } from "./status.ts";
import { Subscriptions } from "./subscriptions.ts";
import { targetOf } from "./target.ts";

/** How long a stop waits for answers to clients and for PUBACKs, in ms. */
export const STOP_GRACE_MS = 3_000;

/** How long the other connections may take to subscribe again before clients hear that connection 0 is back, in ms. */
const OTHERS_GRACE_MS = 5_000;

/** Characters of a reason that the status shows: a value of the config may be long. */
const SHOWN_CHARS = 2_000;

/** What the daemon takes from the world. */
export interface World {
  readonly clock: Clock;
  readonly log: Log;
  /** A number in [0, 1). */
  readonly random: () => number;
  /** For tests that end the process there. */
  readonly fault?: FaultHook;
  /** The descriptor of a socket that systemd made, in place of one of our own. */
  readonly fd?: number | undefined;
  /** Told when clients hear that there is a connection, and when they hear that there is none. */
  readonly onConnected?: (connected: boolean) => void;
}

/** A running daemon. */
export interface Daemon {
  /** Resolves when it has stopped, rejects with an {@linkcode ExitError} when it cannot go on. */
  readonly finished: Promise<void>;
  /** Stops: answers in progress finish, messages in flight get {@linkcode STOP_GRACE_MS}, then DISCONNECT. */
  stop(): Promise<void>;
  /** Connects anew, with credentials that are read again. */
  reconnect(reason: string): void;
  /**
   * Uses a changed configuration, as far as a running daemon can; clients, spool and subscriptions stay. What decides how the
   * broker is reached is tried beside the present link first, and makes a new link then; resolves when that stands.
   *
   * @param signal Another change came: what is not in use yet is given up (throws its reason), and nothing is gone back to.
   * @throws {ExitError} 78 for what cannot be used: the link and its configuration stay.
   * @throws {RevertedError} When it brought no connection, and the configuration before is used again.
   */
  update(config: Config, signal?: AbortSignal): Promise<void>;
  /** Says in the status why a changed configuration is not used; `undefined` when it is. */
  showWaiting(why: string | undefined): void;
  /**
   * Stores what waits to be stored and closes the spool, at once, for a program that ends because of a fault: what was accepted
   * is safe then, if the spool is on disk. Nothing else is done in order; clients and broker see a crash.
   */
  abandon(): Promise<void>;
}

/**
 * Starts the daemon; it serves clients when this resolves, connected or not.
 *
 * @throws {ExitError} 73 and 78
 */
export async function startDaemon(config: Config, world: World): Promise<Daemon> {
  await readCredentials(config);
  const storage = openStorage(config, world);
  try {
    const daemon = new Running(config, world, storage);
    await daemon.serve();
    return daemon;
  } catch (error) {
    storage.close();
    throw error;
  }
}

function openStorage({ spool }: Config, world: World): SpoolStorage {
  const { clock, log, random } = world;
  if (spool.kind === "disk") return openDiskStorage({ dir: spool.dir, clock, log, random });
  log.info(
    "the spool is in memory: what waits in it is lost when the daemon ends; --spool DIR keeps it",
  );
  return new MemoryStorage();
}

async function startBus(
  path: string,
  options: ServeOptions,
  fd: number | undefined,
): Promise<BusServer> {
  if (fd === undefined) return await startServer({ path, ...options });
  try {
    return serve(await listenOnFd(fd), options);
  } catch (error) {
    throw new ExitError(
      Exit.CANTCREATE,
      `Cannot serve the socket that systemd passed for ${path}: ${messageOf(error)}`,
    );
  }
}

class Running implements Daemon {
  readonly finished: Promise<void>;
  #config: Config;
  readonly #world: World;
  readonly #dial: Dial;
  readonly #status = new ConnectionStatus();
  readonly #spool: Spool;
  readonly #publisher: Publisher;
  readonly #subscriptions: Subscriptions<Connection>;
  readonly #end = Promise.withResolvers<void>();
  #server: BusServer | undefined;
  #receiveMaximum = 0;
  #announcing: Timer | undefined;
  #stopping: Promise<void> | undefined;
  /** The last configuration that brought a connection; `undefined` before the first. */
  #proven: Config | undefined;
  #trial: Trial | undefined;
  /** Why a changed configuration is not used. */
  #refused: string | undefined;
  /** What of the configuration waits for another start. */
  #restart: readonly string[] = [];

  constructor(config: Config, world: World, storage: SpoolStorage) {
    const { clock, log, fault } = world;
    this.#config = config;
    this.#world = world;
    this.finished = this.#end.promise;
    const now = (): Config => this.#config;
    this.#dial = createDial({ log, clock });
    this.#spool = new Spool({
      storage,
      maxBytes: config.spoolMaxBytes,
      clock,
      log,
      fault,
    });
    this.#publisher = new Publisher({
      spool: this.#spool,
      clock,
      log,
      limits: config.rateLimit ? AWS_RATE_LIMITS : undefined,
      fault,
      get maxInFlight(): number {
        return now().maxInFlight;
      },
      get keepQos0WhenOffline(): boolean {
        return now().keepQos0WhenOffline;
      },
    });
    this.#subscriptions = new Subscriptions({
      get maxConnections(): number {
        return now().maxConnections;
      },
      clock,
      log,
      connect: (index) => this.#connect(index),
      onSynced: () => this.#onSynced(),
    });
  }

  async serve(): Promise<void> {
    const { clock, log } = this.#world;
    const { busDir, interfaceName } = this.#config;
    const path = `${busDir}/${interfaceName}`;
    const table = mqttInterface({
      publisher: this.#publisher,
      subscriptions: this.#subscriptions,
      connection: this.#status,
      status: new StatusReport({
        clock,
        subscriptions: this.#subscriptions,
        publisher: this.#publisher,
        spool: this.#spool,
        clients: () => this.#server?.counters(),
        config: () => this.#config,
        waiting: () => this.#waiting(),
      }),
      log,
    });
    this.#server = await startBus(path, { table, log, clock }, this.#world.fd);
    log.info("serving the core bus", { socket: path });
    this.#subscriptions.start();
  }

  reconnect(reason: string): void {
    for (const { connection } of this.#subscriptions.lines.values()) connection.reconnect(reason);
  }

  async update(config: Config, signal: AbortSignal = new AbortController().signal): Promise<void> {
    const { spool, spoolMaxBytes } = this.#config;
    // The spool in use goes on: another one would leave messages behind.
    const next = Object.freeze({ ...config, spool, spoolMaxBytes });
    const { fields, link, credentials, route } = compareConfigs(this.#config, next);
    if (route && this.#proven !== undefined) await this.#probe(next, signal);
    else if (credentials) await readCredentials(next);
    signal.throwIfAborted();
    if (this.#stopping !== undefined) return;
    const { log } = this.#world;
    if (fields.length > 0) {
      log.info("the configuration has changed", { changed: fields.join(" ") });
    }
    this.#tellRestart(compareConfigs(next, config).restart);
    if (link.length > 0) return await this.#connectWith(next, signal);
    this.#config = next;
    if (fields.length > 0 && this.#status.connected) this.#announce();
  }

  showWaiting(why: string | undefined): void {
    this.#refused = why?.slice(0, SHOWN_CHARS);
  }

  async stop(): Promise<void> {
    this.#stopping ??= this.#stop().then(
      () => this.#end.resolve(),
      (error) => this.#end.reject(error),
    );
    await this.#stopping;
  }

  async abandon(): Promise<void> {
    const { messages, storage } = this.#spool.stats();
    await this.#spool.close();
    if (messages > 0 && storage === "memory") {
      this.#world.log.error("messages are lost with the spool in memory", { messages });
    }
  }

  /** Stops as on request, but for a reason that the exit code tells. */
  #fail(error: ExitError): void {
    this.#stopping ??= this.#stop().then(
      () => this.#end.reject(error),
      (cause) => this.#end.reject(cause),
    );
  }

  async #stop(): Promise<void> {
    const { clock, log } = this.#world;
    this.#trial?.end();
    const deadline = clock.now() + STOP_GRACE_MS;
    await this.#server?.close(STOP_GRACE_MS);
    await this.#publisher.drain(
      Math.max(0, deadline - clock.now()),
      this.#config.spool.kind === "memory",
    );
    this.#publisher.stop();
    this.#announcing?.cancel();
    await this.#subscriptions.stop();
    const { messages, storage } = this.#spool.stats();
    await this.#spool.close();
    if (messages > 0 && storage === "memory") {
      log.warn("messages are given up with the spool in memory", { messages });
    }
    const { messages: qos0 } = this.#publisher.waitingQos0;
    if (qos0 > 0) {
      log.warn("QoS 0 messages that waited for their turn are given up", { messages: qos0 });
    }
    log.info("stopped");
  }

  async #probe(config: Config, signal: AbortSignal): Promise<void> {
    try {
      await probe(config, signal, this.#world.clock);
    } catch (error) {
      if (error instanceof ExitError || signal.aborted) throw error;
      throw new ExitError(Exit.CONFIG, `Cannot use the changed configuration: ${messageOf(error)}`);
    }
  }

  /** Makes the link anew with a configuration, and goes back to the last that brought one when this brings none. */
  async #connectWith(config: Config, signal: AbortSignal): Promise<void> {
    this.#config = config;
    const back = this.#proven;
    if (back === undefined) return this.reconnect("the configuration changed");
    const trial = new Trial(this.#world.clock, () => this.reconnect("tried once more"));
    const end = (): void => trial.end();
    signal.addEventListener("abort", end);
    this.#trial = trial;
    this.reconnect("the configuration changed");
    const why = await trial.outcome;
    this.#trial = undefined;
    signal.removeEventListener("abort", end);
    if (why === undefined || this.#stopping !== undefined) return;
    this.#config = back;
    this.reconnect("back to the configuration before");
    throw new RevertedError(`Cannot connect with the changed configuration: ${why}`);
  }

  #tellRestart(fields: readonly string[]): void {
    this.#restart = fields;
    if (fields.length === 0) return;
    const waiting = fields.join(" ");
    this.#world.log.warn("a part of the changed configuration needs a restart", { waiting });
  }

  #waiting(): string | undefined {
    const restart = this.#restart.map((field) => `${field} needs a restart`);
    const all = [...this.#refused === undefined ? [] : [this.#refused], ...restart];
    return all.length === 0 ? undefined : all.join("; ");
  }

  #connect(index: number): Connection {
    const { clock, log, random } = this.#world;
    // One that was closed may still have something to say when the next one of its number is there.
    const isCurrent = (): boolean =>
      this.#subscriptions.lines.get(index)?.connection === connection;
    const connection = new Connection({
      target: (): Target => targetOf(this.#config, index),
      dial: this.#dial,
      log,
      clock,
      random,
      handler: {
        onUp: (connack) => isCurrent() && this.#onUp(index, connack),
        onDown: (end) => isCurrent() && this.#onDown(index, end),
        onMessage: (topic, payload) => isCurrent() && this.#onMessage(index, topic, payload),
        onFailed: (error) => isCurrent() && this.#onFailed(index, error),
      },
    });
    return connection;
  }

  #onMessage(index: number, topic: string, payload: Bytes): void {
    if (index === 0) this.#publisher.arrived(topic, payload.length);
    this.#subscriptions.deliver(index, topic, payload);
  }

  #onUp(index: number, connack: ConnackInfo): void {
    if (index === 0) {
      this.#receiveMaximum = connack.receiveMaximum;
      this.#proven = this.#config;
      this.#trial?.end();
    }
    this.#subscriptions.up(index, connack);
  }

  #onDown(index: number, end: LinkEnd): void {
    this.#subscriptions.down(index);
    if (index > 0) return;
    this.#announcing?.cancel();
    this.#announcing = undefined;
    this.#publisher.down(end);
    this.#tell(false);
  }

  #onFailed(index: number, error: ExitError): void {
    // Connection 0 finds out by itself when the credentials are no good any more.
    if (index > 0) this.#subscriptions.refused(index, error.message);
    else if (this.#trial !== undefined) this.#trial.refused(error);
    else this.#fail(error);
  }

  /** A connection has made its subscriptions: clients hear of connection 0 when the others are back too, or late. */
  #onSynced(): void {
    const lines = [...this.#subscriptions.lines.values()];
    if (!lines[0]?.sync.synced || this.#status.connected) return;
    this.#announcing ??= this.#world.clock.after(OTHERS_GRACE_MS, () => this.#announce());
    if (lines.every((line) => line.sync.synced)) this.#announce();
  }

  #announce(): void {
    this.#announcing?.cancel();
    this.#announcing = undefined;
    const line = this.#subscriptions.lines.get(0);
    if (line === undefined) return;
    this.#tell(true);
    this.#publisher.up(line.connection, this.#receiveMaximum);
  }

  #tell(connected: boolean): void {
    if (connected === this.#status.connected) return;
    this.#status.set(connected);
    this.#world.onConnected?.(connected);
  }
}
