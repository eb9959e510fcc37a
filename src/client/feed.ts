import { reconnectDelay } from "../base/backoff.ts";
import { sleep, systemClock } from "../base/clock.ts";
import { BusError, BusErrorCode, messageOf } from "../base/errors.ts";
import { withResolvers } from "../base/with_resolvers.ts";
import { NoServerError, subscribe, type Subscription } from "../bus/client.ts";
import type { Value, ValueMap } from "../wire/object.ts";
import { Inbox, type InboxBound } from "./inbox.ts";

/** A subscription that stood this long was good: the next wait is a short one again, in ms. */
const STANDING_MS = 5_000;

/** What a {@linkcode Feed} needs. */
export interface FeedOptions<T> {
  readonly socket: string;
  readonly method: string;
  readonly params: ValueMap;
  /** Reads a value and says what it counts for, in bytes. */
  readonly read: (value: Value) => { readonly item: T; readonly bytes: number };
  readonly bound: InboxBound;
  /** The daemon hung up: what comes until it is there again is missed. */
  readonly onLost?: ((times: number) => void) | undefined;
  /** The daemon is there again, and the subscription with it. */
  readonly onBack?: (() => void) | undefined;
}

interface Ending {
  readonly accepted: boolean;
  readonly error: BusError | undefined;
}

/**
 * The values of a subscription, which is made again whenever the daemon comes back. Iterated once, by one reader; when the
 * reader is slow nothing more is read from the socket.
 */
export class Feed<T> implements AsyncIterableIterator<T, undefined>, AsyncDisposable {
  /** Resolves when the daemon has accepted for the first time; rejects with its refusal, which the iteration throws too. */
  readonly accepted: Promise<void>;
  readonly #options: FeedOptions<T>;
  readonly #inbox: Inbox<T>;
  readonly #closing = new AbortController();
  readonly #first = withResolvers<void>();
  /** Resolves when nothing more comes. Never rejects. */
  readonly over: Promise<void>;
  #current: Subscription | undefined;
  #accepted = false;

  /** Subscribes at once. */
  constructor(options: FeedOptions<T>) {
    this.#options = options;
    this.#inbox = new Inbox(options.bound);
    this.accepted = this.#first.promise;
    // Who only iterates sees the error there.
    this.accepted.catch(() => {});
    this.over = this.#run();
  }

  /** The feed is its own iterator. */
  [Symbol.asyncIterator](): this {
    return this;
  }

  /** The next value. */
  next(): Promise<IteratorResult<T, undefined>> {
    return this.#inbox.next();
  }

  /** Ends the subscription, as leaving a `for await` does. */
  async return(): Promise<IteratorResult<T, undefined>> {
    await this.close();
    return { done: true, value: undefined };
  }

  /** Ends the subscription; what was not taken is dropped. */
  async close(): Promise<void> {
    this.#inbox.clear();
    this.#closing.abort();
    this.#current?.close();
    await this.over;
  }

  /** Ends the subscription at the end of an `await using`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #run(): Promise<void> {
    let lost = 0;
    for (let attempt = 0; !this.#closing.signal.aborted; attempt++) {
      const since = performance.now();
      const { accepted, error } = await this.#subscribeOnce();
      if (this.#closing.signal.aborted) break;
      if (!this.#accepted || !(error === undefined || error instanceof NoServerError)) {
        return this.#fail(error);
      }
      if (accepted) this.#options.onLost?.(++lost);
      if (accepted && performance.now() - since >= STANDING_MS) attempt = 0;
      await sleep(systemClock, reconnectDelay(attempt, Math.random()), this.#closing.signal);
    }
    this.#fail(
      new BusError(BusErrorCode.NOCONN, "Cannot wait for the daemon: the subscription was closed"),
    );
  }

  /** One subscription from its beginning to its end; why it ended, without an error for a plain close. */
  async #subscribeOnce(): Promise<Ending> {
    const { socket, method, params } = this.#options;
    const current = subscribe(socket, method, params, (value) => this.#onValue(value));
    this.#current = current;
    try {
      await current.accepted;
      if (this.#accepted) this.#options.onBack?.();
      this.#accepted = true;
      this.#first.resolve();
    } catch (error) {
      const known = error instanceof BusError ? error : undefined;
      return {
        accepted: false,
        error: known ?? new BusError(BusErrorCode.FAILURE, messageOf(error)),
      };
    }
    return { accepted: true, error: await current.closed };
  }

  #onValue(value: Value): Promise<void> | undefined {
    const { item, bytes } = this.#options.read(value);
    return this.#inbox.put(item, bytes);
  }

  #fail(error: unknown): void {
    this.#first.reject(error);
    this.#inbox.end(error);
  }
}
