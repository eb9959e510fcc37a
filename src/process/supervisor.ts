import { Exit, ExitError, messageOf } from "../base/errors.ts";
import type { Log } from "../base/log.ts";
import type { Config } from "../config/resolve.ts";
import { compareConfigs } from "../config/change.ts";
import type { Daemon } from "../daemon/daemon.ts";
import { type Box, covers, innerBox, missingFrom, missingText } from "../daemon/permissions.ts";
import type { LogSetup } from "../daemon/worker_messages.ts";
import type { MemoryContents } from "../spool/memory_storage.ts";
import { type InnerHandler, InnerThread } from "./inner_thread.ts";

/** What the supervisor takes from the world. */
export interface SupervisorOptions {
  readonly log: Log;
  /** How the inner thread logs. */
  readonly logSetup: LogSetup;
  /** Gets its lines. */
  readonly onLine: (line: string) => void;
  /** Told when the daemon is connected, and when not any more. */
  readonly onConnected: (connected: boolean) => void;
  /** The descriptor of a socket that systemd made. */
  readonly fd: number | undefined;
}

/** A daemon in a thread with narrower permissions than this one's. */
export interface Supervised extends Daemon {
  /** Resolves when the inner thread answers; never when it does not turn any more. */
  ping(): Promise<void>;
}

/**
 * Starts the daemon in its inner box; it serves clients when this resolves.
 *
 * @throws {ExitError} 73 and 78; also 78 when this program may not do what the configuration asks for
 */
export async function startSupervised(
  config: Config,
  options: SupervisorOptions,
): Promise<Supervised> {
  const supervisor = new Supervisor(config, options);
  await supervisor.start();
  return supervisor;
}

class Supervisor implements Supervised, InnerHandler {
  readonly finished: Promise<void>;
  readonly #options: SupervisorOptions;
  readonly #end = Promise.withResolvers<void>();
  #config: Config;
  #inner: InnerThread;
  #stopping: Promise<void> | undefined;
  #replacing: Promise<void> | undefined;

  constructor(config: Config, options: SupervisorOptions) {
    this.#options = options;
    this.#config = config;
    this.finished = this.#end.promise;
    // Whoever waits for it may come later than the failure.
    this.finished.catch(() => {});
    this.#inner = new InnerThread(this.#allowed(config), this);
  }

  async start(): Promise<void> {
    try {
      // Before anything is made: a start that fails leaves nothing behind.
      await this.#inner.ask({ do: "check", config: this.#config });
      if (this.#options.fd === undefined) makeBusFolder(this.#config);
      await this.#begin(this.#inner, undefined);
    } catch (error) {
      this.#inner.terminate();
      throw error;
    }
  }

  async ping(): Promise<void> {
    await this.#inner.ask({ do: "ping" });
  }

  reconnect(reason: string): void {
    // A thread that ends before it answers is heard of by `onFailed`.
    this.#inner.ask({ do: "reconnect", reason }).catch(() => {});
  }

  async update(config: Config): Promise<void> {
    // The spool in use goes on: another one would leave messages behind.
    const { spool, spoolMaxBytes } = this.#config;
    const kept = Object.freeze({ ...config, spool, spoolMaxBytes });
    const box = this.#allowed(kept);
    if (this.#stopping !== undefined) return;
    if (covers(this.#inner.box, box)) {
      await this.#inner.ask({ do: "update", config });
      this.#config = kept;
      return;
    }
    this.#replacing = this.#replace(kept, box);
    await this.#replacing;
    const { restart } = compareConfigs(kept, config);
    if (restart.length > 0) {
      const waiting = restart.join(" ");
      this.#options.log.warn("a part of the changed configuration needs a restart", { waiting });
    }
  }

  stop(): Promise<undefined> {
    this.#stopping ??= this.#stop();
    return this.#stopping.then(() => undefined);
  }

  onLine(line: string): void {
    this.#options.onLine(line);
  }

  onConnected(connected: boolean): void {
    this.#options.onConnected(connected);
  }

  onFailed(error: Error): void {
    this.#inner.terminate();
    this.#end.reject(error);
  }

  async #stop(): Promise<void> {
    try {
      await this.#replacing?.catch(() => {});
      await this.#inner.ask({ do: "stop", handOver: false });
      this.#inner.terminate();
      this.#end.resolve();
    } catch (error) {
      this.#end.reject(error);
    }
  }

  /** The box of a configuration. @throws {ExitError} 78 for what this program itself may not do */
  #allowed(config: Config): Box {
    const box = innerBox(config, this.#options.fd !== undefined);
    const isGranted = (what: Deno.PermissionDescriptor): boolean =>
      Deno.permissions.querySync(what).state === "granted";
    const text = missingText(missingFrom(box, isGranted), config, Deno.build.standalone);
    if (text !== undefined) throw new ExitError(Exit.CONFIG, text);
    return box;
  }

  async #begin(inner: InnerThread, contents: MemoryContents | undefined): Promise<void> {
    const { fd, logSetup: log } = this.#options;
    await inner.ask({ do: "start", config: this.#config, log, fd, contents });
  }

  /** Puts a thread with another box in the place of the present one, which goes on until it is known that the other can. */
  async #replace(config: Config, box: Box): Promise<void> {
    const { log, fd } = this.#options;
    const next = new InnerThread(box, this);
    try {
      await next.ask({ do: "check", config });
    } catch (error) {
      next.terminate();
      throw error;
    }
    log.info("the configuration needs other permissions: the daemon starts anew in its process", {
      endpoint: `${config.host}:${config.port}`,
    });
    const { contents } = await this.#inner.ask({ do: "stop", handOver: fd === undefined });
    this.#inner.terminate();
    if (fd !== undefined) return this.#giveWay(next);
    this.#config = config;
    this.#inner = next;
    try {
      await this.#begin(next, contents);
    } catch (error) {
      this.onFailed(error as Error);
    }
  }

  /** A socket of systemd cannot be taken over a second time; systemd keeps it open for another process. */
  #giveWay(next: InnerThread): void {
    next.terminate();
    this.#end.reject(
      new ExitError(
        Exit.TEMPFAIL,
        "ended, so that systemd starts it again with the permissions that the changed configuration needs",
      ),
    );
  }
}

/** The inner thread may not write there beside its own paths. */
function makeBusFolder({ busDir, interfaceName }: Config): void {
  try {
    Deno.mkdirSync(busDir, { recursive: true, mode: 0o755 });
  } catch (error) {
    throw new ExitError(
      Exit.CANTCREATE,
      `Cannot create socket ${busDir}/${interfaceName}: ${messageOf(error)}`,
    );
  }
}
