import { backoffDelay } from "../base/backoff.ts";
import type { Clock, Timer } from "../base/clock.ts";
import { BusError, Code, ExitError, messageOf } from "../base/errors.ts";
import type { Log } from "../base/log.ts";
import type { Config } from "./resolve.ts";
import { compareConfigs } from "./change.ts";
import { type ConfigInputs, pause, readConfig } from "./load.ts";
import type { ConfigSource } from "./service.ts";
import { wantedKeys } from "./values.ts";
import { CONFIG_PREFIX } from "./settings.ts";

/** How long further writes are waited for after the first, in ms: a deployment writes several keys. */
export const COALESCE_MS = 100;

/** A watch that stood this long was good: the next wait is a short one again, in ms. */
const STANDING_MS = 30_000;

/** What {@linkcode ConfigWatch} needs. */
export interface WatchOptions extends ConfigInputs {
  readonly source: ConfigSource;
  readonly clock: Clock;
  readonly log: Log;
  /** A number in [0, 1). */
  readonly random: () => number;
  /** What the daemon was started with. */
  readonly current: Config;
  /** Makes the daemon use a changed configuration. An {@linkcode ExitError} says that it cannot: the old one is kept. */
  readonly apply: (config: Config) => Promise<void>;
}

/**
 * Watches the config (iotcored-7): reads it again after each write and whenever a watch is made, and applies what changed as
 * a whole, so that an endpoint and the credentials for it, written one after the other, are never mixed.
 */
export class ConfigWatch {
  readonly #options: WatchOptions;
  readonly #end = new AbortController();
  readonly #running: Promise<unknown>;
  #current: Config;
  #timer: Timer | undefined;
  /** When the timer fires, in ms of the clock. */
  #due = 0;
  #reading: Promise<void> | undefined;
  /** Something was written while the config was read. */
  #stale = false;
  /** Readings in a row that were not the last word. */
  #failures = 0;
  /** What was said last about a config that cannot be used. */
  #complaint: string | undefined;

  /** Begins to watch. */
  constructor(options: WatchOptions) {
    this.#options = options;
    this.#current = options.current;
    this.#running = Promise.all(watchedPaths(options).map((path) => this.#follow(path)));
  }

  /** Reads the config again soon, as after a write. */
  refresh(): void {
    this.#readAfter(COALESCE_MS);
  }

  /** Stops watching; resolves when nothing of it is under way any more. */
  async stop(): Promise<void> {
    this.#end.abort();
    this.#timer?.cancel();
    await this.#running;
    await this.#reading;
  }

  /** Keeps one path watched until the end. */
  async #follow(path: string): Promise<void> {
    const { source, clock, random } = this.#options;
    let attempt = 0;
    let told = false;
    while (!this.#end.signal.aborted) {
      let since: number | undefined;
      const subscription = source.watch(path, () => this.refresh());
      const end = (): void => subscription.close();
      this.#end.signal.addEventListener("abort", end);
      subscription.accepted.then(() => {
        since = clock.now();
        if (told) this.#options.log.info("changes of the config are seen again", { path });
        told = false;
        // What was written before is not told.
        this.refresh();
      }, () => {});
      const error = await subscription.closed;
      this.#end.signal.removeEventListener("abort", end);
      if (this.#end.signal.aborted) return;
      if (since !== undefined && clock.now() - since >= STANDING_MS) attempt = 0;
      if (!told) this.#tellLoss(path, error);
      told = true;
      await pause(clock, backoffDelay(attempt++, random()), this.#end.signal);
    }
  }

  #tellLoss(path: string, error: BusError | undefined): void {
    const { log } = this.#options;
    if (error?.code === Code.NOENTRY) {
      return log.info("the config has nothing to watch yet; tried again and again", { path });
    }
    const why = error?.message ?? "the config service closed the connection";
    log.warn("changes of the config are not seen until the watch is made again", { path, why });
  }

  /** Reads the config after `ms`, or earlier when that is settled already. */
  #readAfter(ms: number): void {
    if (this.#end.signal.aborted) return;
    if (this.#reading !== undefined) {
      this.#stale = true;
      return;
    }
    const { clock } = this.#options;
    const due = clock.now() + ms;
    if (this.#timer !== undefined && this.#due <= due) return;
    this.#timer?.cancel();
    this.#due = due;
    this.#timer = clock.after(ms, () => {
      this.#timer = undefined;
      this.#reading = this.#read();
    });
  }

  async #read(): Promise<void> {
    this.#stale = false;
    const done = await this.#readOnce();
    this.#reading = undefined;
    this.#failures = done ? 0 : this.#failures + 1;
    if (this.#stale) this.refresh();
    if (!done) this.#readAfter(backoffDelay(this.#failures, this.#options.random()));
  }

  /** `false`: what was found may be better a while later, without anything being written to the config. */
  async #readOnce(): Promise<boolean> {
    let next: Config;
    try {
      next = await readConfig(this.#options.source, this.#options, this.#end.signal);
    } catch (error) {
      if (this.#end.signal.aborted) return true;
      this.#complain(error);
      return error instanceof ExitError;
    }
    if (compareConfigs(this.#current, next).fields.length === 0) {
      if (this.#complaint !== undefined) {
        this.#options.log.info("the config can be used again; it is as before");
      }
      this.#complaint = undefined;
      return true;
    }
    return await this.#apply(next);
  }

  async #apply(next: Config): Promise<boolean> {
    try {
      await this.#options.apply(next);
    } catch (error) {
      this.#complain(error);
      return false;
    }
    this.#current = next;
    this.#complaint = undefined;
    return true;
  }

  /** Says once what is wrong. */
  #complain(error: unknown): void {
    const why = messageOf(error);
    if (why === this.#complaint) return;
    this.#complaint = why;
    const { log } = this.#options;
    if (error instanceof BusError) log.warn("the config cannot be read again yet", { why });
    else log.error("a changed config is not used; the one before stays", { why });
  }
}

/** What stands above all keys that are read; most likely it exists when a key that may appear below does not yet. */
export function watchedPaths(inputs: ConfigInputs): string[] {
  const keys = wantedKeys(inputs.given, inputs.environment).map(({ key }) => key);
  const above = (key: string): string =>
    key.startsWith(CONFIG_PREFIX) ? CONFIG_PREFIX.slice(0, -1) : key.split("/")[0]!;
  return [...new Set(keys.map(above))];
}
