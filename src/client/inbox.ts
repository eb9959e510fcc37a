import { Deque } from "../base/deque.ts";
import { withResolvers } from "../base/with_resolvers.ts";

/** How much an inbox holds before it asks for a pause. */
export interface InboxBound {
  readonly items: number;
  readonly bytes: number;
}

/** What came and was not yet taken: bounded, as long as who puts into it heeds the pause that it asks for. One reader. */
export class Inbox<T> {
  readonly #bound: InboxBound;
  readonly #items = new Deque<{ readonly item: T; readonly bytes: number }>();
  #bytes = 0;
  #end: { readonly error: unknown } | undefined;
  #reader: PromiseWithResolvers<IteratorResult<T, undefined>> | undefined;
  #room: PromiseWithResolvers<void> | undefined;

  constructor(bound: InboxBound) {
    this.#bound = bound;
  }

  /** Items that wait. */
  get length(): number {
    return this.#items.length;
  }

  /** Puts an item in; the promise is that of room for the next one, when there is none. After the end it is dropped. */
  put(item: T, bytes: number): Promise<void> | undefined {
    if (this.#end !== undefined) return undefined;
    if (this.#reader !== undefined) {
      this.#reader.resolve({ done: false, value: item });
      this.#reader = undefined;
      return undefined;
    }
    this.#items.push({ item, bytes });
    this.#bytes += bytes;
    if (!this.#isFull()) return undefined;
    this.#room ??= withResolvers();
    return this.#room.promise;
  }

  /** The next item; after the last one it is done, or rejects once with the error that it was ended with. */
  next(): Promise<IteratorResult<T, undefined>> {
    const first = this.#items.shift();
    if (first !== undefined) {
      this.#bytes -= first.bytes;
      if (!this.#isFull()) this.#makeRoom();
      return Promise.resolve({ done: false, value: first.item });
    }
    if (this.#end === undefined) {
      this.#reader ??= withResolvers();
      return this.#reader.promise;
    }
    const { error } = this.#end;
    this.#end = { error: undefined };
    return error === undefined
      ? Promise.resolve({ done: true, value: undefined })
      : Promise.reject(error);
  }

  /** Nothing more comes: what waits can still be taken, then `error` is thrown if there is one. Only the first call counts. */
  end(error?: unknown): void {
    if (this.#end !== undefined) return;
    this.#end = { error };
    this.#makeRoom();
    if (this.#reader === undefined) return;
    const reader = this.#reader;
    this.#reader = undefined;
    void this.next().then(reader.resolve, reader.reject);
  }

  /** Drops what waits, and ends. */
  clear(): void {
    this.#items.clear();
    this.#bytes = 0;
    this.end();
  }

  #isFull(): boolean {
    return this.length >= this.#bound.items || this.#bytes >= this.#bound.bytes;
  }

  #makeRoom(): void {
    this.#room?.resolve();
    this.#room = undefined;
  }
}
