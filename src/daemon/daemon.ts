import type { Bytes } from "../base/bytes.ts";
import type { Clock } from "../base/clock.ts";
import { Exit, ExitError, messageOf } from "../base/errors.ts";
import type { FaultHook } from "../base/fault.ts";
import type { Log } from "../base/log.ts";
import { listenOnFd } from "../bus/listener.ts";
import { type BusServer, serve, type ServeOptions, startServer } from "../bus/server.ts";
import { AWS_RATE_LIMITS } from "../aws/rate_window.ts";
import { readCredentials } from "../mqtt/credentials.ts";
import { createDial, type Target } from "../mqtt/dial.ts";
import { ConnectionPool, type PooledConnection, type PoolHandler } from "../mqtt/pool.ts";
import { proxyFor } from "../mqtt/proxy.ts";
import type { ConnackInfo, LinkEnd } from "../mqtt/link.ts";
import { Spool } from "../spool/spool.ts";
import { type MemoryContents, MemoryStorage } from "../spool/memory_storage.ts";
import { openDiskStorage } from "../spool/sqlite_storage.ts";
import type { SpoolStorage } from "../spool/storage.ts";
import type { Config } from "../config/resolve.ts";
import { compareConfigs } from "../config/change.ts";
import { Readiness } from "./readiness.ts";
import { busMethods } from "./bus_methods.ts";
import { Intake } from "../publish/intake.ts";
import { PubackWaiters } from "../publish/puback.ts";
import { Publisher } from "../publish/publisher.ts";
import { Qos0Queue } from "../publish/qos0_queue.ts";
import { StatusReport } from "./status_report.ts";
import { Subscriptions } from "../subscribe/subscriptions.ts";

/** How long a stop waits for answers to clients and for PUBACKs, in ms. */
export const STOP_GRACE_MS = 3_000;

/** What the daemon takes from outside. */
export interface DaemonDependencies {
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

/**
 * Starts the daemon; it serves clients when this resolves, connected or not.
 *
 * @throws {ExitError} 73 and 78
 */
export async function startDaemon(
  config: Config,
  dependencies: DaemonDependencies,
): Promise<LocalDaemon> {
  await readCredentials(config);
  const storage = openStorage(config, dependencies);
  try {
    const daemon = new LocalDaemon(config, dependencies, storage);
    await daemon.serve();
    return daemon;
  } catch (error) {
    storage.close();
    throw error;
  }
}

function openStorage({ spool }: Config, dependencies: DaemonDependencies): SpoolStorage {
  const { clock, log, random, contents } = dependencies;
  if (spool.kind === "disk") return openDiskStorage({ dir: spool.dir, clock, log, random });
  log.info(
    "the spool is in memory: what waits in it is lost when the daemon ends; --spool DIR keeps it",
  );
  return new MemoryStorage(contents);
}

/** Whom connection `index` connects to, and as whom: connection 0 has the bare id (iotcored-param-id-1). */
function targetOf(config: Config, index: number): Target {
  const { host, port, id, mqttVersion, keepAliveS, proxy, rootca, cert, key } = config;
  return {
    host,
    port,
    clientId: index === 0 ? id : `${id}_${index}`,
    version: mqttVersion,
    keepAliveS,
    credentials: { rootca, cert, key },
    proxy: proxyFor(host, proxy?.url, proxy?.noProxy),
  };
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

/** A daemon in this thread: it owns the connections, the spool and the socket, and hands on what happens on them. */
export class LocalDaemon implements Daemon, PoolHandler {
  /** Resolves when it has stopped, rejects with an {@linkcode ExitError} when it cannot go on. */
  readonly finished: Promise<void>;
  #config: Config;
  readonly #dependencies: DaemonDependencies;
  readonly #spool: Spool;
  readonly #queue: Qos0Queue;
  readonly #waiters: PubackWaiters;
  readonly #intake: Intake;
  readonly #publisher: Publisher;
  readonly #pool: ConnectionPool;
  readonly #subscriptions: Subscriptions;
  readonly #readiness: Readiness;
  readonly #end = Promise.withResolvers<void>();
  #server: BusServer | undefined;
  #receiveMaximum = 0;
  #stopping: Promise<void> | undefined;
  readonly #storage: SpoolStorage;
  /** What is left in a memory spool at the end, when somebody goes on with it. */
  #left: MemoryContents | undefined;

  constructor(config: Config, dependencies: DaemonDependencies, storage: SpoolStorage) {
    const { clock, log, random, fault } = dependencies;
    this.#config = config;
    this.#dependencies = dependencies;
    this.#storage = storage;
    this.finished = this.#end.promise;
    this.#spool = new Spool({ storage, maxBytes: config.spoolMaxBytes, clock, log, fault });
    const queue = new Qos0Queue();
    this.#waiters = new PubackWaiters(clock);
    const shared = { spool: this.#spool, queue, waiters: this.#waiters, clock, fault };
    const limits = config.rateLimit ? AWS_RATE_LIMITS : undefined;
    const { maxInFlight, keepQos0WhenOffline, maxConnections } = config;
    this.#publisher = new Publisher({ ...shared, log, limits, maxInFlight });
    this.#intake = new Intake({ ...shared, publisher: this.#publisher, keepQos0WhenOffline });
    this.#queue = queue;
    this.#pool = new ConnectionPool({
      target: (index) => targetOf(this.#config, index),
      dial: createDial({ log, clock }),
      handler: this,
      clock,
      log,
      random,
    });
    this.#subscriptions = new Subscriptions({
      maxConnections,
      pool: this.#pool,
      clock,
      log,
      onSynced: () => this.#readiness.synced(),
    });
    this.#readiness = new Readiness({
      clock,
      assignments: () => this.#subscriptions.assignments,
      onChange: (ready) => this.#onReadiness(ready),
    });
  }

  /** Listens, then begins to connect. @throws {ExitError} 73 */
  async serve(): Promise<void> {
    const { clock, log, fd } = this.#dependencies;
    const { busDir, interfaceName } = this.#config;
    const path = `${busDir}/${interfaceName}`;
    const table = busMethods({
      intake: this.#intake,
      subscriptions: this.#subscriptions,
      connection: this.#readiness.feed,
      status: new StatusReport({
        clock,
        connections: this.#pool.all,
        subscriptions: this.#subscriptions,
        intake: this.#intake,
        publisher: this.#publisher,
        queue: this.#queue,
        spool: this.#spool,
        clients: () => this.#server?.counters(),
        config: () => this.#config,
      }),
      log,
    });
    this.#server = await startBus(path, { table, log, clock }, fd);
    log.info("serving the core bus", { socket: path });
    this.#subscriptions.start();
  }

  reconnect(reason: string): void {
    this.#pool.reconnect(reason);
  }

  async update(config: Config): Promise<void> {
    if (compareConfigs(this.#config, config).credentials) await readCredentials(config);
    if (this.#stopping !== undefined) return;
    const { fields, link, restart } = compareConfigs(this.#config, config);
    const { spool, spoolMaxBytes } = this.#config;
    // What is in use goes on being said: the spool that there is decides how a stop drains it.
    this.#config = Object.freeze({ ...config, spool, spoolMaxBytes });
    if (fields.length === 0) return;
    const { log } = this.#dependencies;
    log.info("the configuration has changed", { changed: fields.join(" ") });
    if (restart.length > 0) {
      log.warn("a part of the changed configuration needs a restart", {
        waiting: restart.join(" "),
      });
    }
    this.#publisher.update(config);
    this.#intake.update(config);
    this.#subscriptions.update(config);
    if (link.length > 0) this.reconnect("the configuration changed");
  }

  async stop(handOver = false): Promise<MemoryContents | undefined> {
    this.#stopping ??= this.#stop(handOver).then(
      () => this.#end.resolve(),
      (error) => this.#end.reject(error),
    );
    await this.#stopping;
    return this.#left;
  }

  /**
   * Stores what waits to be stored and closes the spool, at once, for a program that ends because of a fault: what was accepted
   * is safe then, if the spool is on disk. Nothing else is done in order; clients and broker see a crash.
   */
  abandon(): void {
    const { messages, storage } = this.#spool.stats();
    void this.#spool.close();
    if (messages > 0 && storage === "memory") {
      this.#dependencies.log.error("messages are lost with the spool in memory", { messages });
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
    const { clock, log } = this.#dependencies;
    const deadline = clock.now() + STOP_GRACE_MS;
    await this.#server?.close(STOP_GRACE_MS);
    await this.#publisher.drain(
      Math.max(0, deadline - clock.now()),
      this.#config.spool.kind === "memory" && !handOver,
    );
    this.#publisher.stop();
    this.#waiters.stop();
    this.#readiness.down();
    this.#subscriptions.stop();
    await this.#pool.stop();
    const { messages, storage } = this.#spool.stats();
    if (handOver && this.#storage instanceof MemoryStorage) this.#left = this.#storage.contents();
    await this.#spool.close();
    if (messages > 0 && storage === "memory" && !handOver) {
      log.warn("messages are given up with the spool in memory", { messages });
    }
    const { length } = this.#queue;
    if (length > 0) {
      log.warn("QoS 0 messages that waited for their turn are given up", { messages: length });
    }
    log.info("stopped");
  }

  /** @inheritdoc */
  onUp(connection: PooledConnection, connack: ConnackInfo): void {
    if (connection.index === 0) this.#receiveMaximum = connack.receiveMaximum;
    this.#subscriptions.up(connection, connack);
    this.#pool.wakeOthers(connection);
  }

  /** @inheritdoc */
  onDown(connection: PooledConnection, end: LinkEnd): void {
    this.#subscriptions.down(connection);
    if (connection.index > 0) return;
    this.#publisher.down(end);
    this.#readiness.down();
  }

  /** @inheritdoc */
  onMessage(connection: PooledConnection, topic: string, payload: Bytes): void {
    if (connection.index === 0) this.#publisher.arrived(topic, payload.length);
    this.#subscriptions.deliver(connection, topic, payload);
  }

  /** @inheritdoc */
  onFailed(connection: PooledConnection, error: ExitError): void {
    // Connection 0 finds out by itself when the credentials are no good any more.
    if (connection.index > 0) this.#subscriptions.refused(connection, error.message);
    else this.#fail(error);
  }

  #onReadiness(ready: boolean): void {
    this.#dependencies.onConnected?.(ready);
    const connection = this.#pool.all.get(0);
    if (ready && connection !== undefined) this.#publisher.up(connection, this.#receiveMaximum);
  }
}
