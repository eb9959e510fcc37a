/**
 * The Unix socket of the core bus: a server of sessions, and what they need.
 *
 * @module
 */

import type { Clock, Timer } from "../base/clock.ts";
import { isOutOfDescriptors, messageOf } from "../base/errors.ts";
import type { Log } from "../base/log.ts";
import type { BusListener } from "./listener.ts";
import type { BusConn } from "./socket_conn.ts";
import {
  ACCEPT_PAUSE_MS,
  CLOSE_GRACE_MS,
  DESCRIPTOR_PAUSE_MS,
  DESCRIPTOR_RESERVE,
  MAX_CLIENTS,
  SWEEP_MS,
} from "./limits.ts";
import type { MethodTable } from "./methods.ts";
import { ReaderPool } from "../wire/frame_reader.ts";
import { type CloseCounters, type CloseReason, noCloses } from "./close_reason.ts";
import { type BackPressure, FullQueues } from "./full_queues.ts";
import { PartialFrames } from "./partial_frames.ts";
import { Session, type SessionHost } from "./session.ts";
import { createSocket } from "./socket_file.ts";

/** What the server needs, wherever its listener comes from. */
export interface ServeOptions {
  readonly table: MethodTable;
  /** Gets a line for whatever a client may cause as often as it likes: one that holds floods back, as `RateLimitedLog` does. */
  readonly log: Log;
  readonly clock: Clock;
  /** Most clients at once. */
  readonly maxClients?: number;
  /** Holds back what is sent to subscribers while one of them is behind; by default nothing does. */
  readonly backPressure?: BackPressure;
}

/** Figures for `status`. */
export interface BusCounters {
  /** Clients connected now. */
  readonly clients: number;
  /** Clients since the start. */
  readonly total: number;
  /** Clients with an accepted subscription now. */
  readonly subscriptions: number;
  /** Clients that were closed, by the reason, since the start. */
  readonly closed: Readonly<CloseCounters>;
  /** Requests and frames that were refused since the start. */
  readonly refused: number;
  /** Bytes that wait for all clients together. */
  readonly queuedBytes: number;
  /** Bytes of memory for incomplete frames of all clients. */
  readonly partialBytes: number;
  /** Bytes that wait for the client for which most wait. */
  readonly longestQueueBytes: number;
}

/** A running server. */
export interface BusServer {
  /** The figures of this moment. */
  counters(): BusCounters;
  /**
   * Stops accepting, lets answers under way finish (at most `graceMs`), closes every client, and removes the socket if
   * it is still the one that was made. The second call waits for the first.
   */
  close(graceMs?: number): Promise<void>;
}

/** Serves a listener that exists already, such as one handed over by systemd; `close` closes it. */
export function serve(listener: BusListener, options: ServeOptions): BusServer {
  return new Server(listener, options);
}

/**
 * Creates the socket at `path` and serves it.
 *
 * @throws {ExitError} CANTCREATE when it cannot be created or another daemon is alive.
 */
export async function startServer(
  options: ServeOptions & { readonly path: string },
): Promise<BusServer> {
  const socket = await createSocket(options.path);
  return new Server(socket.listener, options, () => socket.remove());
}

const NO_PRESSURE: BackPressure = { hold: () => {}, release: () => {} };

class Server implements BusServer, SessionHost {
  readonly table: MethodTable;
  readonly log: Log;
  readonly readers = new ReaderPool();
  readonly partialFrames = new PartialFrames();
  readonly fullQueues: FullQueues;
  readonly #clock: Clock;
  readonly #maxClients: number;
  readonly #sessions = new Set<Session>();
  readonly #accepting: Promise<void>;
  #total = 0;
  readonly #closes = noCloses();
  #refused = 0;
  /** Sessions whose reading has not ended yet. */
  #running = 0;
  #dirty: Session[] = [];
  #sweepTimer: Timer | undefined;
  #closed: Promise<void> | undefined;
  /** Called when a client left. */
  #onLeave: (() => void) | undefined;

  constructor(
    private readonly listener: BusListener,
    options: ServeOptions,
    private readonly removeSocket?: () => Promise<void>,
  ) {
    this.table = options.table;
    this.log = options.log;
    this.#clock = options.clock;
    this.#maxClients = options.maxClients ?? MAX_CLIENTS;
    this.fullQueues = new FullQueues(options.clock, options.backPressure ?? NO_PRESSURE);
    this.#accepting = this.#accept();
  }

  counters(): BusCounters {
    let subscriptions = 0;
    let queuedBytes = 0;
    let longestQueueBytes = 0;
    for (const session of this.#sessions) {
      if (session.subscribed) subscriptions++;
      const { queued } = session;
      queuedBytes += queued;
      if (queued > longestQueueBytes) longestQueueBytes = queued;
    }
    return {
      clients: this.#sessions.size,
      total: this.#total,
      subscriptions,
      closed: { ...this.#closes },
      refused: this.#refused,
      queuedBytes,
      partialBytes: this.partialFrames.total,
      longestQueueBytes,
    };
  }

  close(graceMs = CLOSE_GRACE_MS): Promise<void> {
    return this.#closed ??= this.#close(graceMs);
  }

  onRefused(): void {
    this.#refused++;
  }

  onDirty(session: Session): void {
    if (this.#dirty.push(session) === 1) queueMicrotask(this.#flush);
  }

  onGone(session: Session, { type }: CloseReason): void {
    this.#closes[type]++;
    this.#sessions.delete(session);
    this.#onLeave?.();
  }

  /** Writes once for everything that a turn queued. */
  readonly #flush = (): void => {
    const dirty = this.#dirty;
    this.#dirty = [];
    for (const session of dirty) session.flush();
  };

  async #accept(): Promise<void> {
    while (this.#closed === undefined) {
      if (this.#sessions.size >= this.#maxClients) {
        this.log.warn("Cannot take more clients", { clients: this.#sessions.size });
        await this.#clientsLeft(this.#maxClients - 1);
      }
      try {
        this.#start(await this.listener.accept());
      } catch (error) {
        if (this.#closed === undefined) await this.#pause(error);
      }
    }
  }

  #start(conn: BusConn): void {
    const session = new Session(++this.#total, conn, this);
    this.#sessions.add(session);
    this.#running++;
    void session.run().then(this.#onRunEnd);
    this.#armSweep();
    if (this.#closed !== undefined) session.finish();
  }

  readonly #onRunEnd = (): void => {
    this.#running--;
    this.#onLeave?.();
  };

  /** Waits after a failed accept, so that nothing spins. */
  async #pause(error: unknown): Promise<void> {
    const clients = this.#sessions.size;
    this.log.warn("Cannot accept clients", { clients, error: messageOf(error) });
    await this.#until(() => this.#closed !== undefined, ACCEPT_PAUSE_MS);
    if (isOutOfDescriptors(error)) {
      const leaving = Math.min(DESCRIPTOR_RESERVE, Math.ceil(clients / 8));
      await this.#clientsLeft(clients - leaving, DESCRIPTOR_PAUSE_MS);
    }
  }

  /** Resolves when at most `most` clients are there, after `ms` at the latest, or when the server closes. */
  #clientsLeft(most: number, ms?: number): Promise<void> {
    return this.#until(() => this.#closed !== undefined || this.#sessions.size <= most, ms);
  }

  /** Resolves when `done` holds, which is looked at whenever a client leaves, or after `ms`. One at a time. */
  async #until(done: () => boolean, ms?: number): Promise<void> {
    if (done()) return;
    await new Promise<void>((resolve) => {
      const timer = ms === undefined ? undefined : this.#clock.after(ms, resolve);
      this.#onLeave = () => {
        if (!done()) return;
        timer?.cancel();
        resolve();
      };
    });
    this.#onLeave = undefined;
  }

  #armSweep(): void {
    if (this.#sweepTimer === undefined) this.#sweepTimer = this.#clock.after(SWEEP_MS, this.#sweep);
  }

  readonly #sweep = (): void => {
    this.#sweepTimer = undefined;
    const now = this.#clock.now();
    for (const session of this.#sessions) session.sweep(now);
    // An idle daemon lets the processor sleep.
    if (this.#sessions.size > 0) this.#armSweep();
  };

  async #close(graceMs: number): Promise<void> {
    this.listener.close();
    // Off this stack: `#closed` must be set before anything looks at it.
    await Promise.resolve();
    this.#onLeave?.();
    await this.#accepting;
    for (const session of this.#sessions) session.finish();
    if (graceMs > 0) await this.#until(() => this.#sessions.size === 0, graceMs);
    for (const session of this.#sessions) session.close({ type: "stopped" });
    // Their reads were taken back, which takes the runtime a turn.
    await this.#until(() => this.#running === 0, CLOSE_GRACE_MS);
    this.#sweepTimer?.cancel();
    this.#sweepTimer = undefined;
    await this.removeSocket?.();
  }
}
