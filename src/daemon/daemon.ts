/**
 * What ties the modules together: a daemon with its connections, spool and socket.
 *
 * @module
 */

import type { Bytes } from "../base/bytes.ts";
import type { Clock } from "../base/clock.ts";
import { Exit, ExitError, messageOf } from "../base/errors.ts";
import type { FaultHook } from "../base/fault.ts";
import type { Log } from "../base/log.ts";
import { listenOnFd } from "../bus/listener.ts";
import { type BusServer, serve, type ServeOptions, startServer } from "../bus/server.ts";
import { AWS_RATE_LIMITS } from "../aws/rate_window.ts";
import { CredentialFiles } from "../mqtt/credential_files.ts";
import { checkCredentials } from "../mqtt/credentials.ts";
import { createDial } from "../mqtt/dial.ts";
import { ReadGate } from "../mqtt/read_gate.ts";
import { ConnectionPool, type PooledConnection, type PoolHandler } from "../mqtt/pool.ts";
import type { ConnackInfo, Delivery, LinkEnd } from "../mqtt/link.ts";
import { Spool } from "../spool/spool.ts";
import { MemoryStorage } from "../spool/memory_storage.ts";
import { openLog } from "../spool/log/log_storage.ts";
import type { SpoolStorage } from "../spool/storage.ts";
import type { Config, LocalConfig } from "../config/resolve.ts";
import { ConfigUpdater } from "./config_updater.ts";
import { targetOf } from "./target.ts";
import { Readiness } from "./readiness.ts";
import { busMethods } from "./bus_methods.ts";
import { Intake } from "../publish/intake.ts";
import { PubackWaiters } from "../publish/puback.ts";
import { Publisher } from "../publish/publisher.ts";
import { Quarantine } from "../publish/quarantine.ts";
import { SendGates } from "../publish/send_gates.ts";
import { Qos0Queue } from "../publish/qos0_queue.ts";
import { StatusReport } from "./status_report.ts";
import { RejectedMessages } from "../subscribe/rejected_messages.ts";
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
  /** Told when clients hear that there is a connection, and when they hear that there is none. */
  readonly onConnected?: (connected: boolean) => void;
}

/** A running daemon. */
export interface Daemon {
  /** Resolves when it has stopped, rejects with an {@linkcode ExitError} when it cannot go on. */
  readonly finished: Promise<void>;
  /** Stops: answers in progress finish, messages in flight get {@linkcode STOP_GRACE_MS}, then DISCONNECT. */
  stop(): Promise<void>;
  /**
   * Begins to connect (iotcored-2), with the first whole configuration; the spool in use stays.
   *
   * @throws {ExitError} 78 for credential files that cannot be used
   */
  connect(config: Config): Promise<void>;
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
export async function startDaemon(
  config: Config,
  dependencies: DaemonDependencies,
): Promise<Daemon> {
  // Before anything is served: a supervisor hears of a bad file by the exit code, and clients wait.
  await checkCredentials(config);
  const daemon = await serveClients(config, dependencies);
  await daemon.connect(config);
  return daemon;
}

/**
 * Serves clients without a connection: messages of QoS 1 are accepted into the spool. {@linkcode Daemon.connect} says where to
 * connect to.
 *
 * @throws {ExitError} 73 and 78
 */
export async function serveClients(
  config: LocalConfig,
  dependencies: DaemonDependencies,
): Promise<Daemon> {
  const storage = await openStorage(config, dependencies);
  try {
    const daemon = new LocalDaemon(config, dependencies, storage);
    await daemon.serve();
    return daemon;
  } catch (error) {
    await storage[Symbol.asyncDispose]();
    throw error;
  }
}

async function openStorage(
  { spool, spoolMaxBytes: maxBytes }: LocalConfig,
  { clock, log }: DaemonDependencies,
): Promise<SpoolStorage> {
  if (spool.kind === "disk") return await openLog({ dir: spool.dir, maxBytes, clock, log });
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

/** The daemon: it owns the connections, the spool and the socket, and hands on what happens on them. */
class LocalDaemon implements Daemon, PoolHandler {
  readonly finished: Promise<void>;
  readonly #config: ConfigUpdater;
  readonly #dependencies: DaemonDependencies;
  readonly #spool: Spool;
  readonly #queue: Qos0Queue;
  readonly #gates: SendGates;
  readonly #quarantine: Quarantine;
  readonly #intake: Intake;
  readonly #publisher: Publisher;
  readonly #files: CredentialFiles;
  readonly #readGate: ReadGate;
  readonly #rejected: RejectedMessages;
  readonly #pool: ConnectionPool;
  readonly #subscriptions: Subscriptions;
  readonly #readiness: Readiness;
  readonly #end = Promise.withResolvers<void>();
  #server: BusServer | undefined;
  /** What the broker allows on connection 0. */
  #allows: ConnackInfo = { sessionPresent: false, receiveMaximum: 0 };
  #stopping: Promise<void> | undefined;

  constructor(config: LocalConfig, dependencies: DaemonDependencies, storage: SpoolStorage) {
    const { clock, log, random, fault } = dependencies;
    this.#dependencies = dependencies;
    this.#config = new ConfigUpdater(config, {
      clock,
      log,
      apply: (next) => this.#apply(next),
      start: () => {
        this.#files.warnDaily();
        this.#pool.start();
      },
      reconnect: (reason) => this.reconnect(reason),
    });
    this.finished = this.#end.promise;
    this.#spool = new Spool({ storage, maxBytes: config.spoolMaxBytes, clock, log, fault });
    const queue = new Qos0Queue();
    const waiters = new PubackWaiters(clock);
    this.#gates = new SendGates(clock, log);
    const gate = this.#gates.of(0);
    const shared = { spool: this.#spool, queue, waiters, gate, clock, fault };
    const limits = config.rateLimit ? AWS_RATE_LIMITS : undefined;
    const { maxInFlight, keepQos0WhenOffline, maxConnections } = config;
    const readGate = this.#readGate = new ReadGate(clock);
    const linkClock = readGate.clock;
    this.#publisher = new Publisher({ ...shared, linkClock, log, random, limits, maxInFlight });
    this.#quarantine = new Quarantine({ spool: this.#spool, gate, clock });
    this.#intake = new Intake({ ...shared, publisher: this.#publisher, keepQos0WhenOffline });
    this.#queue = queue;
    this.#files = new CredentialFiles(log, clock);
    this.#files.onMended = () => this.reconnect("the credential files can be used again");
    const { add: onRejected } = this.#rejected = new RejectedMessages(clock, log);
    this.#pool = new ConnectionPool({
      target: (index) => targetOf(this.#config.config, index),
      dial: createDial({ log, clock, files: this.#files, gate: readGate, onRejected }),
      handler: this,
      clock,
      log,
      random,
    });
    this.#subscriptions = new Subscriptions({
      maxConnections,
      pool: this.#pool,
      gate: (index) => this.#gates.of(index),
      refusal: (name) => this.#gates.refusal({ kind: "filter", name })?.reason,
      clock: readGate.clock,
      log,
      random,
      onSynced: () => this.#readiness.synced(),
    });
    this.#readiness = new Readiness({
      clock,
      assignments: () => this.#subscriptions.assignments,
      onChange: (connected) => dependencies.onConnected?.(connected),
      onSend: () => this.#onSend(),
    });
  }

  /** Listens. @throws {ExitError} 73 */
  async serve(): Promise<void> {
    const { clock, log, fd } = this.#dependencies;
    const { busDir, interfaceName } = this.#config.local;
    const path = `${busDir}/${interfaceName}`;
    const table = busMethods({
      intake: this.#intake,
      subscriptions: this.#subscriptions,
      connection: this.#readiness.feed,
      status: new StatusReport({
        clock,
        connections: this.#pool.all,
        subscriptions: this.#subscriptions,
        rejected: this.#rejected,
        readGate: this.#readGate,
        intake: this.#intake,
        publisher: this.#publisher,
        gates: this.#gates,
        queue: this.#queue,
        spool: this.#spool,
        certificateExpires: () => this.#files.validTo,
        clients: () => this.#server?.counters(),
        config: () => this.#config.local,
        waiting: () => this.#config.waiting,
      }),
      quarantine: this.#quarantine,
      reconnect: (reason) => this.reconnect(reason),
      log,
    });
    this.#server = await startBus(path, { table, log, clock, backPressure: this.#readGate }, fd);
    log.info("serving the core bus", { socket: path });
    this.#subscriptions.start();
  }

  connect(config: Config): Promise<void> {
    return this.#config.connect(config);
  }

  reconnect(reason: string): void {
    this.#gates.retryRefused();
    this.#pool.reconnect(reason);
  }

  update(config: Config, signal: AbortSignal = new AbortController().signal): Promise<void> {
    return this.#config.update(config, signal);
  }

  showWaiting(why: string | undefined): void {
    this.#config.showWaiting(why);
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
      this.#dependencies.log.error("messages are lost with the spool in memory", { messages });
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
    const { clock, log } = this.#dependencies;
    this.#config.stop();
    const deadline = clock.now() + STOP_GRACE_MS;
    await this.#server?.close(STOP_GRACE_MS);
    await this.#publisher.drain(
      Math.max(0, deadline - clock.now()),
      this.#config.local.spool.kind === "memory",
    );
    this.#publisher.stop();
    this.#gates.stop();
    this.#quarantine.stop();
    this.#readiness.down();
    this.#subscriptions.stop();
    this.#files.close();
    await this.#pool.stop();
    const { messages, storage } = this.#spool.stats();
    await this.#spool.close();
    if (messages > 0 && storage === "memory") {
      log.warn("messages are given up with the spool in memory", { messages });
    }
    const { length } = this.#queue;
    if (length > 0) {
      log.warn("QoS 0 messages that waited for their turn are given up", { messages: length });
    }
    log.info("stopped");
  }

  #apply(config: Config): void {
    this.#publisher.update(config);
    this.#intake.update(config);
    this.#subscriptions.update(config);
  }

  /** @inheritdoc */
  onUp(connection: PooledConnection, connack: ConnackInfo): void {
    if (connection.index === 0) {
      this.#allows = connack;
      this.#config.connected();
      this.#readiness.up();
    }
    this.#gates.of(connection.index).up(connection);
    this.#subscriptions.up(connection, connack);
    this.#pool.wakeOthers(connection);
  }

  /** @inheritdoc */
  onDown(connection: PooledConnection, end: LinkEnd): void {
    const { culprit, trial } = this.#gates.of(connection.index).down(end);
    this.#subscriptions.down(connection);
    if (culprit?.subject.kind === "filter") {
      this.#subscriptions.refuse(culprit.subject.name, culprit.refusal.reason);
    }
    // Nothing is wrong with the network or the broker: there is nothing to wait for but the spacing of CONNECTs.
    if (trial) connection.reconnect("to find what the broker closes the connection for");
    if (connection.index > 0) return;
    this.#publisher.down(culprit);
    this.#readiness.down();
  }

  /** @inheritdoc */
  onMessage(
    connection: PooledConnection,
    topic: string,
    payload: Bytes,
    delivery?: Delivery,
  ): void {
    if (connection.index === 0) this.#publisher.arrived(topic, payload.length);
    this.#subscriptions.deliver(connection, topic, payload, delivery);
  }

  /** @inheritdoc */
  onFailed(connection: PooledConnection, error: ExitError): void {
    // Connection 0 finds out by itself when the credentials are no good any more.
    if (connection.index > 0) this.#subscriptions.refused(connection, error.message);
    else if (!this.#config.refused(error)) this.#fail(error);
  }

  #onSend(): void {
    const connection = this.#pool.all.get(0);
    if (connection === undefined) return;
    this.#publisher.up(connection, this.#allows.receiveMaximum, this.#allows);
  }
}
