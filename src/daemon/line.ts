import type { Clock, Timer } from "../base/clock.ts";
import type { ConnackInfo, SubscribeResult } from "../mqtt/link.ts";
import { Trie } from "../topic/trie.ts";
import { type FilterLink, FilterSync } from "./filter_sync.ts";

/** Subscriptions on one connection (AWS IoT Core quotas). */
export const FILTERS_PER_LINE = 50;

/** What a line needs of the connection it stands for. */
export interface LineConnection extends FilterLink {
  /** `lastError` is `undefined` while no attempt has failed and no link was lost. */
  readonly status: { readonly lastError: string | undefined };
  start(): void;
  stop(): Promise<void>;
  /** Tries again now instead of after the backoff. */
  reconnect(reason: string): void;
}

/** Who hears of a line. */
export interface LineHandler {
  onAnswer(filter: string, result: SubscribeResult): void;
  onSynced(): void;
}

/** One MQTT connection together with the filters that are subscribed on it, and who gets what arrives on it. */
export class Line<T, C extends LineConnection> {
  /** Local subscribers by the filters made on this connection. */
  readonly trie = new Trie<T>();
  readonly sync: FilterSync;
  /** Runs while nobody needs the line. */
  idleTimer: Timer | undefined;
  /** Runs while the line is made for the first time and clients wait to hear whether the broker allows it. */
  openTimer: Timer | undefined;

  constructor(
    /** 0 for the connection with the bare client id. */
    readonly index: number,
    readonly connection: C,
    clock: Clock,
    handler: LineHandler,
  ) {
    this.sync = new FilterSync(clock, handler);
  }

  /** Whether another filter fits. */
  get hasRoom(): boolean {
    return this.sync.size < FILTERS_PER_LINE;
  }

  /** Whether the broker's answer about a filter can be waited for. */
  get answers(): boolean {
    return this.sync.isUp || this.openTimer !== undefined;
  }

  /** The connection was accepted by the broker. */
  up(connack: ConnackInfo): void {
    this.opened();
    this.sync.up(this.connection, connack.sessionPresent);
  }

  /** The connection is gone. */
  down(): void {
    this.opened();
    this.sync.down();
  }

  /** Nobody waits any longer to hear whether the broker allows the line. */
  opened(): void {
    this.openTimer?.cancel();
    this.openTimer = undefined;
  }

  /** Takes the timers back. */
  cancelTimers(): void {
    this.opened();
    this.idleTimer?.cancel();
    this.idleTimer = undefined;
  }
}
