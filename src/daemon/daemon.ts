import type { Bytes } from "../base/bytes.ts";
import type { Clock, Timer } from "../base/clock.ts";
import { Exit, ExitError, messageOf } from "../base/errors.ts";
import type { FaultHook } from "../base/fault.ts";
import type { Log } from "../base/log.ts";
import { listenOnFd } from "../bus/fd_listener.ts";
import { type BusServer, serve, type ServeOptions, startServer } from "../bus/server.ts";
import { AWS_RATE_LIMITS } from "../aws/rate_window.ts";
import { Connection } from "../mqtt/connection.ts";
import { readCredentials } from "../mqtt/credentials.ts";
import { createDial, type Dial, type Target } from "../mqtt/dial.ts";
import type { ConnackInfo, LinkEnd } from "../mqtt/port.ts";
import { Spool } from "../spool/spool.ts";
import { type MemoryContents, MemoryStorage } from "../spool/memory_storage.ts";
import { openLog } from "../spool/log/log_storage.ts";
import type { SpoolStorage } from "../spool/storage.ts";
import type { Config } from "../config/resolve.ts";
import { compareConfigs } from "../config/change.ts";
import { ConnectionStatus } from "./readiness.ts";
import { mqttInterface } from "./bus_methods.ts";
import { Publisher } from "../publish/publisher.ts";
import { StatusReport } from "./status_report.ts";
import { Subscriptions } from "../subscribe/subscriptions.ts";
import { targetOf } from "./target.ts";

/** How long a stop waits for answers to clients and for PUBACKs, in ms. */
export const STOP_GRACE_MS = 3_000;

/** How long the other connections may take to subscribe again before clients hear that connection 0 is back, in ms. */
const OTHERS_GRACE_MS = 5_000;

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
  /** What a memory spool begins with. */
  readonly contents?: MemoryContents | undefined;
  /** Told when clients hear that there is a connection, and when they hear that there is none. */
  readonly onConnected?: (connected: boolean) => void;
}

/** A running daemon. */
export interface Daemon {
  /** Resolves when it has stopped, rejects with an {@linkcode ExitError} when it cannot go on. */
  readonly finished: Promise<void>;
  /**
   * Stops: answers in progress finish, messages in flight get {@linkcode STOP_GRACE_MS}, then DISCONNECT.
   *
   * @param handOver Resolves with what is left in a memory spool, for a daemon that goes on with it.
   */
  stop(handOver?: boolean): Promise<MemoryContents | undefined>;
  /** Connects anew, with credentials that are read again. */
  reconnect(reason: string): void;
  /**
   * Uses a changed configuration, as far as a running daemon can; spool and subscriptions stay. What decides how the broker is
   * reached makes a new link.
   *
   * @throws {ExitError} 78 for credential files that cannot be used: the old configuration stays.
   */
  update(config: Config): Promise<void>;
}

/** A daemon in this thread. */
export interface LocalDaemon extends Daemon {
  /**
   * Stores what waits to be stored and closes the spool, at once, for a program that ends because of a fault: what was accepted
   * is safe then, if the spool is on disk. Nothing else is done in order; clients and broker see a crash.
   */
  abandon(): void;
}

/**
 * Starts the daemon; it serves clients when this resolves, connected or not.
 *
 * @throws {ExitError} 73 and 78
 */
export async function startDaemon(config: Config, world: World): Promise<LocalDaemon> {
  await readCredentials(config);
  const storage = await openStorage(config, world);
  try {
    const daemon = new Running(config, world, storage);
    await daemon.serve();
    return daemon;
  } catch (error) {
    await storage[Symbol.asyncDispose]();
    throw error;
  }
}

async function openStorage(config: Config, world: World): Promise<SpoolStorage> {
  const { spool, spoolMaxBytes: maxBytes } = config;
  const { clock, log, contents } = world;
  if (spool.kind === "disk") return await openLog({ dir: spool.dir, maxBytes, clock, log });
  log.info(
    "the spool is in memory: what waits in it is lost when the daemon ends; --spool DIR keeps it",
  );
  return new MemoryStorage(contents);
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

class Running implements LocalDaemon {
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
  readonly #storage: SpoolStorage;
  /** What is left in a memory spool at the end, when somebody goes on with it. */
  #left: MemoryContents | undefined;

  constructor(config: Config, world: World, storage: SpoolStorage) {
    const { clock, log, fault } = world;
    this.#config = config;
    this.#world = world;
    this.#storage = storage;
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

  async update(config: Config): Promise<void> {
    if (compareConfigs(this.#config, config).credentials) await readCredentials(config);
    if (this.#stopping !== undefined) return;
    const { fields, link, restart } = compareConfigs(this.#config, config);
    const { spool, spoolMaxBytes } = this.#config;
    // What is in use goes on being said: the spool that there is decides how a stop drains it.
    this.#config = Object.freeze({ ...config, spool, spoolMaxBytes });
    if (fields.length === 0) return;
    const { log } = this.#world;
    log.info("the configuration has changed", { changed: fields.join(" ") });
    if (restart.length > 0) {
      log.warn("a part of the changed configuration needs a restart", {
        waiting: restart.join(" "),
      });
    }
    if (link.length > 0) this.reconnect("the configuration changed");
    else if (this.#status.connected) this.#announce();
  }

  async stop(handOver = false): Promise<MemoryContents | undefined> {
    this.#stopping ??= this.#stop(handOver).then(
      () => this.#end.resolve(),
      (error) => this.#end.reject(error),
    );
    await this.#stopping;
    return this.#left;
  }

  abandon(): void {
    const { messages, storage } = this.#spool.stats();
    void this.#spool.close();
    if (messages > 0 && storage === "memory") {
      this.#world.log.error("messages are lost with the spool in memory", { messages });
    }
  }

  /** Stops as on request, but for a reason that the exit code tells. */
  #fail(error: ExitError): void {
    this.#stopping ??= this.#stop(false).then(
      () => this.#end.reject(error),
      (cause) => this.#end.reject(cause),
    );
  }

  async #stop(handOver: boolean): Promise<void> {
    const { clock, log } = this.#world;
    const deadline = clock.now() + STOP_GRACE_MS;
    await this.#server?.close(STOP_GRACE_MS);
    await this.#publisher.drain(
      Math.max(0, deadline - clock.now()),
      this.#config.spool.kind === "memory" && !handOver,
    );
    this.#publisher.stop();
    this.#announcing?.cancel();
    await this.#subscriptions.stop();
    const { messages, storage } = this.#spool.stats();
    if (handOver && this.#storage instanceof MemoryStorage) this.#left = this.#storage.contents();
    await this.#spool.close();
    if (messages > 0 && storage === "memory" && !handOver) {
      log.warn("messages are given up with the spool in memory", { messages });
    }
    const { messages: qos0 } = this.#publisher.waitingQos0;
    if (qos0 > 0) {
      log.warn("QoS 0 messages that waited for their turn are given up", { messages: qos0 });
    }
    log.info("stopped");
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
    if (index === 0) this.#receiveMaximum = connack.receiveMaximum;
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
