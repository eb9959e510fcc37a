import type { Clock, Timer } from "../base/clock.ts";
import type { Subscriber } from "../bus/methods.ts";
import { encodeValueFrame } from "../wire/frame.ts";

/** How long the other connections may take to subscribe again before clients hear that connection 0 is back, in ms. */
const OTHERS_GRACE_MS = 5_000;

/** How long subscriptions go before messages after a connect, in ms, at most. */
const HEAD_START_MS = 2_000;

/** What is needed of a client that wants to know whether the daemon is connected. */
export type StatusSubscriber = Pick<Subscriber, "accept" | "send" | "onClose">;

/** Tells clients whether connection 0 is up and subscribed: at once, then at every change. */
export class ConnectionStatusFeed {
  readonly #subscribers = new Set<StatusSubscriber>();
  readonly #frames = { true: encodeValueFrame(true), false: encodeValueFrame(false) };
  #connected = false;

  /** Whether the daemon is connected. */
  get connected(): boolean {
    return this.#connected;
  }

  /** Adds a client. */
  add(subscriber: StatusSubscriber): void {
    this.#subscribers.add(subscriber);
    subscriber.onClose(() => this.#subscribers.delete(subscriber));
    subscriber.accept();
    subscriber.send(this.#frames[`${this.#connected}`]);
  }

  /** Tells everyone, if it is a change. */
  set(connected: boolean): void {
    if (connected === this.#connected) return;
    this.#connected = connected;
    for (const subscriber of [...this.#subscribers]) subscriber.send(this.#frames[`${connected}`]);
  }
}

/** Whether what is wanted of each connection is subscribed, by its number. */
type Synced = ReadonlyMap<number, { readonly sync: { readonly synced: boolean } }>;

/** What {@linkcode Readiness} is made with. */
export interface ReadinessOptions {
  readonly clock: Clock;
  readonly assignments: () => Synced;
  /** Told when clients hear that the daemon is connected, and when they hear that it no longer is. */
  readonly onChange: (connected: boolean) => void;
  /** Messages may be sent, once for each link of connection 0. */
  readonly onSend: () => void;
}

/**
 * When the daemon counts as connected: connection 0 has made its subscriptions, and the others theirs, or they take too long for
 * that. Then clients hear it. Messages are sent from then on, or {@linkcode HEAD_START_MS} after the link came up.
 */
export class Readiness {
  readonly feed: ConnectionStatusFeed = new ConnectionStatusFeed();
  readonly #options: ReadinessOptions;
  /** Runs while subscriptions go first. */
  #headStart: Timer | undefined;
  /** Runs while the other connections are waited for. */
  #others: Timer | undefined;

  constructor(options: ReadinessOptions) {
    this.#options = options;
  }

  /** Connection 0 is up, and begins to subscribe. */
  up(): void {
    this.#headStart?.cancel();
    this.#headStart = this.#options.clock.after(HEAD_START_MS, () => this.#send());
  }

  /** A connection has made its subscriptions. */
  synced(): void {
    const all = [...this.#options.assignments()];
    const first = all.find(([index]) => index === 0)?.[1];
    if (!first?.sync.synced || this.feed.connected) return;
    this.#others ??= this.#options.clock.after(OTHERS_GRACE_MS, () => this.#connected());
    if (all.every(([, { sync }]) => sync.synced)) this.#connected();
  }

  /** Connection 0 is gone, or the daemon stops. */
  down(): void {
    this.#headStart?.cancel();
    this.#headStart = undefined;
    this.#set(false);
  }

  #connected(): void {
    this.#set(true);
    this.#send();
  }

  #send(): void {
    if (this.#headStart === undefined) return;
    this.#headStart.cancel();
    this.#headStart = undefined;
    this.#options.onSend();
  }

  #set(connected: boolean): void {
    this.#others?.cancel();
    this.#others = undefined;
    if (connected === this.feed.connected) return;
    this.feed.set(connected);
    this.#options.onChange(connected);
  }
}
