import type { Clock } from "../base/clock.ts";
import { Exit, ExitError, messageOf } from "../base/errors.ts";
import type { Log } from "../base/log.ts";
import { nextConfig } from "../config/change.ts";
import type { Config, LocalConfig } from "../config/resolve.ts";
import { RevertedError } from "../config/watch.ts";
import { checkCredentials } from "../mqtt/credentials.ts";
import { probe, Trial } from "./config_trial.ts";

/** Characters of a reason that the status shows: a value of the config may be long. */
const SHOWN_CHARS = 2_000;

/** What {@linkcode ConfigUpdater} needs. */
export interface UpdaterOptions {
  readonly clock: Clock;
  readonly log: Log;
  /** Hands the live settings to whoever has them. */
  readonly apply: (config: Config) => void;
  /** Begins to connect. */
  readonly start: () => void;
  /** Makes every link anew. */
  readonly reconnect: (reason: string) => void;
}

/** The configuration in use, and how another one comes into use: what cannot be used costs no link. */
export class ConfigUpdater {
  readonly #options: UpdaterOptions;
  #local: LocalConfig;
  /** `undefined` until it is known where to connect to. */
  #config: Config | undefined;
  /** The last configuration that brought a connection; `undefined` before the first. */
  #proven: Config | undefined;
  #trial: Trial | undefined;
  /** Why a changed configuration is not used. */
  #refused: string | undefined;
  /** What of the configuration waits for another start. */
  #restart: readonly string[] = [];
  #stopped = false;

  constructor(local: LocalConfig, options: UpdaterOptions) {
    this.#local = local;
    this.#options = options;
  }

  /** What is in use, whole or not. */
  get local(): LocalConfig {
    return this.#local;
  }

  /** What is in use. @throws {TypeError} before {@linkcode ConfigUpdater.connect} */
  get config(): Config {
    if (this.#config === undefined) throw new TypeError("Cannot connect: nobody said where to");
    return this.#config;
  }

  /** Why something of the configuration is not used, in one line; `undefined` when all of it is. */
  get waiting(): string | undefined {
    const restart = this.#restart.map((field) => `${field} needs a restart`);
    const all = [...this.#refused === undefined ? [] : [this.#refused], ...restart];
    return all.length === 0 ? undefined : all.join("; ");
  }

  /** Says why a changed configuration is not used; `undefined` when it is. */
  showWaiting(why: string | undefined): void {
    this.#refused = why?.slice(0, SHOWN_CHARS);
  }

  /** Uses the first whole configuration. @throws {ExitError} 78 for credential files that cannot be used */
  async connect(config: Config): Promise<void> {
    await checkCredentials(config);
    if (this.#stopped) return;
    const { next, restart } = nextConfig({ ...config, ...this.#local }, config);
    this.#tellRestart(restart);
    this.#use(next);
    this.#options.start();
  }

  /** Uses a changed configuration, as `Daemon.update` says. */
  async update(config: Config, signal: AbortSignal): Promise<void> {
    const change = nextConfig(this.config, config);
    if (change.route && this.#proven !== undefined) await this.#probe(change.next, signal);
    else if (change.credentials) await checkCredentials(change.next);
    signal.throwIfAborted();
    if (this.#stopped) return;
    const changed = change.fields.join(" ");
    if (changed !== "") this.#options.log.info("the configuration has changed", { changed });
    this.#tellRestart(change.restart);
    this.#use(change.next);
    if (change.link) await this.#reconnect(signal);
  }

  /** Connection 0 is up: the configuration is good. */
  connected(): void {
    this.#proven = this.#config;
    this.#trial?.end();
  }

  /** The broker refused the credentials; whether that is a changed configuration's matter, and the daemon goes on. */
  refused(error: ExitError): boolean {
    this.#trial?.refused(error);
    return this.#trial !== undefined;
  }

  /** Changes nothing any more. */
  stop(): void {
    this.#stopped = true;
    this.#trial?.end();
  }

  #use(config: Config): void {
    this.#config = this.#local = config;
    this.#options.apply(config);
  }

  async #probe(config: Config, signal: AbortSignal): Promise<void> {
    try {
      await probe(config, signal, this.#options.clock);
    } catch (error) {
      if (error instanceof ExitError || signal.aborted) throw error;
      throw new ExitError(Exit.CONFIG, `Cannot use the changed configuration: ${messageOf(error)}`);
    }
  }

  /** Makes the links anew, and goes back to the last configuration that brought one when this brings none. */
  async #reconnect(signal: AbortSignal): Promise<void> {
    const { clock, reconnect } = this.#options;
    const back = this.#proven;
    if (back === undefined) return reconnect("the configuration changed");
    const trial = new Trial(clock, () => reconnect("tried once more"));
    const end = (): void => trial.end();
    signal.addEventListener("abort", end);
    this.#trial = trial;
    reconnect("the configuration changed");
    const why = await trial.outcome;
    this.#trial = undefined;
    signal.removeEventListener("abort", end);
    if (why === undefined || this.#stopped) return;
    this.#use(back);
    reconnect("back to the configuration before");
    throw new RevertedError(`Cannot connect with the changed configuration: ${why}`);
  }

  #tellRestart(fields: readonly string[]): void {
    this.#restart = fields;
    if (fields.length === 0) return;
    const waiting = fields.join(" ");
    this.#options.log.warn("a part of the changed configuration needs a restart", { waiting });
  }
}
