import { backoffDelay } from "../base/backoff.ts";
import type { Clock, Timer } from "../base/clock.ts";
import { BusError, BusErrorCode, Exit, ExitError, messageOf } from "../base/errors.ts";
import type { Log } from "../base/log.ts";
import type { Config } from "./resolve.ts";
import { changedFields } from "./change.ts";
import { type ConfigInputs, pause, readConfig } from "./load.ts";
import type { ConfigSource } from "./service.ts";
import { wantedKeys } from "./service.ts";
import { CONFIG_PREFIX } from "./settings.ts";

/** A changed configuration brought no connection, and the one before is used again: trying once more costs the link once more. */
export class RevertedError extends ExitError {
  constructor(message: string) {
    super(Exit.CONFIG, message);
  }
}

/** How long further writes are waited for after the first, in ms: a deployment writes several keys. */
export const COALESCE_MS = 100;

/** Least time between two changes that are applied, in ms, however often the config is written: each may cost the link. */
export const SPACING_MS = 1_000;

/** How often the config is read without a write, in ms: the service tells nobody of keys that are removed. */
export const POLL_MS = 60_000;

/** The longest wait before a watch is made again, in ms: the service is on this device, and asking it is cheap. */
const LONGEST_WAIT_MS = 15_000;

/** A watch that stood this long was good: the next wait is a short one again, in ms. */
const STANDING_MS = 30_000;

/** Refusals that are remembered, so that each is named once. */
const NAMED_REFUSALS = 100;

/** What {@linkcode ConfigWatch} needs. */
export interface WatchOptions extends ConfigInputs {
  readonly source: ConfigSource;
  readonly clock: Clock;
  readonly log: Log;
  /** A number in [0, 1). */
  readonly random: () => number;
  /** What the daemon was started with. */
  readonly current: Config;
  /**
   * Makes the daemon use a changed configuration. An {@linkcode ExitError} says that it cannot, and that the one before is used.
   *
   * @param signal Another change came: the outcome of this one does not matter any more.
   */
  readonly apply: (config: Config, signal: AbortSignal) => Promise<void>;
  /** Told why what the config says is not used; `undefined` when it is. */
  readonly onWaiting: (why: string | undefined) => void;
}

/** A configuration on its way into use. */
interface Applying {
  readonly config: Config;
  readonly abort: AbortController;
  readonly done: Promise<void>;
}

/**
 * Watches the config (iotcored-7): reads it again after each write, whenever a watch is made, and now and then, and applies what
 * changed as a whole, so that an endpoint and the credentials for it, written one after the other, are never mixed.
 */
export class ConfigWatch {
  readonly #options: WatchOptions;
  readonly #end = new AbortController();
  readonly #running: Promise<unknown>;
  #current: Config;
  #applying: Applying | undefined;
  /** What brought no connection: it would cost the link again, so it is not tried again by itself. */
  #reverted: Config | undefined;
  #timer: Timer | undefined;
  #poll: Timer | undefined;
  /** When the timer fires, in ms of the clock. */
  #due = 0;
  /** When the next change may be applied, in ms of the clock. */
  #applyFrom = -Infinity;
  #reading: Promise<void> | undefined;
  /** When to read again after the reading that is under way, in ms; `undefined` when nothing calls for it. */
  #again: number | undefined;
  /** Readings and changes in a row that may end better a while later. */
  #failures = 0;
  /** What was said since the config was last all right. */
  readonly #complaints = new Set<string>();

  /** Begins to watch. */
  constructor(options: WatchOptions) {
    this.#options = options;
    this.#current = options.current;
    this.#running = Promise.all(watchedPaths(options).map((path) => this.#follow(path)));
    this.#pollLater();
  }

  /** Reads the config again soon, as after a write. */
  refresh(): void {
    this.#readAfter(COALESCE_MS);
  }

  /** Reads the config again soon, and tries once more what brought no connection. */
  retry(): void {
    this.#reverted = undefined;
    this.refresh();
  }

  /** Stops watching; resolves when nothing of it is under way any more. */
  async stop(): Promise<void> {
    this.#end.abort();
    this.#timer?.cancel();
    this.#poll?.cancel();
    this.#applying?.abort.abort();
    await this.#running;
    await this.#reading;
    await this.#applying?.done;
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
      const waitMs = Math.min(LONGEST_WAIT_MS, backoffDelay(attempt++, random()));
      await pause(clock, waitMs, this.#end.signal);
    }
  }

  #tellLoss(path: string, error: BusError | undefined): void {
    const { log } = this.#options;
    if (error?.code === BusErrorCode.NOENTRY) {
      return log.info("the config has nothing to watch yet; tried again and again", { path });
    }
    const why = error?.message ?? "the config service closed the connection";
    log.warn("changes of the config are not seen until the watch is made again", { path, why });
  }

  #pollLater(): void {
    this.#poll = this.#options.clock.after(POLL_MS, () => {
      this.refresh();
      this.#pollLater();
    });
  }

  /** Reads the config after `ms`, or earlier when that is settled already; never before the next change may be applied. */
  #readAfter(ms: number): void {
    if (this.#end.signal.aborted) return;
    if (this.#reading !== undefined) {
      this.#again = Math.min(ms, this.#again ?? ms);
      return;
    }
    const { clock } = this.#options;
    const now = clock.now();
    const due = Math.max(now + ms, this.#applyFrom);
    if (this.#timer !== undefined && this.#due <= due) return;
    this.#timer?.cancel();
    this.#due = due;
    this.#timer = clock.after(due - now, () => {
      this.#timer = undefined;
      this.#reading = this.#read();
    });
  }

  async #read(): Promise<void> {
    this.#again = undefined;
    await this.#readOnce();
    this.#reading = undefined;
    if (this.#again !== undefined) this.#readAfter(this.#again);
  }

  async #readOnce(): Promise<void> {
    let next: Config;
    try {
      next = await readConfig(this.#options.source, this.#options, this.#end.signal);
    } catch (error) {
      if (this.#end.signal.aborted) return;
      this.#complain(error);
      // What is malformed stays so until it is written again.
      if (error instanceof ExitError) this.#failures = 0;
      else this.#readLater();
      return;
    }
    if (isSame(next, this.#applying?.config) || isSame(next, this.#reverted)) return;
    if (this.#applying === undefined && isSame(next, this.#current)) return this.#settled(true);
    await this.#supersede();
    if (!this.#end.signal.aborted) this.#apply(next);
  }

  /** Gives up what is on its way into use: the last value wins. */
  async #supersede(): Promise<void> {
    this.#applying?.abort.abort();
    await this.#applying?.done;
  }

  #apply(config: Config): void {
    const abort = new AbortController();
    this.#applyFrom = this.#options.clock.now() + SPACING_MS;
    this.#reverted = undefined;
    const done = this.#options.apply(config, abort.signal).then(
      () => {
        // Given up or not, it is what the daemon was told last.
        this.#current = config;
        if (!abort.signal.aborted) this.#settled(false);
      },
      (error) => abort.signal.aborted ? undefined : this.#onRefused(config, error),
    ).finally(() => this.#applying = undefined);
    this.#applying = { config, abort, done };
  }

  #onRefused(config: Config, error: unknown): void {
    this.#complain(error);
    if (error instanceof RevertedError) this.#reverted = config;
    else this.#readLater();
  }

  /** Files may come later, and so may the network. */
  #readLater(): void {
    this.#readAfter(backoffDelay(++this.#failures, this.#options.random()));
  }

  /** What the config says is in use. */
  #settled(asBefore: boolean): void {
    this.#failures = 0;
    this.#reverted = undefined;
    if (this.#complaints.size > 0 && asBefore) {
      this.#options.log.info("the config can be used again; it is as before");
    }
    this.#complaints.clear();
    this.#options.onWaiting(undefined);
  }

  /** Says once what is wrong. */
  #complain(error: unknown): void {
    const why = messageOf(error);
    const { log, onWaiting } = this.#options;
    if (!(error instanceof BusError)) onWaiting(why);
    if (this.#complaints.has(why) || this.#complaints.size >= NAMED_REFUSALS) return;
    this.#complaints.add(why);
    if (error instanceof BusError) log.warn("the config cannot be read again yet", { why });
    else log.error("a changed config is not used; the one before stays", { why });
  }
}

function isSame(one: Config, other: Config | undefined): boolean {
  return other !== undefined && changedFields(one, other).length === 0;
}

/** What stands above all keys that are read; most likely it exists when a key that may appear below does not yet. */
export function watchedPaths(inputs: ConfigInputs): string[] {
  const keys = wantedKeys(inputs.given, inputs.environment).map(({ key }) => key);
  const above = (key: string): string =>
    key.startsWith(CONFIG_PREFIX) ? CONFIG_PREFIX.slice(0, -1) : key.split("/")[0]!;
  return [...new Set(keys.map(above))];
}
