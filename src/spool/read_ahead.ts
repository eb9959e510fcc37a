import type { SpoolRecord, SpoolStorage, StorageError } from "./storage.ts";
import { whenDone } from "./when_done.ts";

/** Bytes that are read before they are asked for, at most, and messages. */
export const READ_AHEAD_BYTES = 1_048_576;
const READ_AHEAD_MESSAGES = 4_096;

/** What {@linkcode ReadAhead} tells. */
export interface ReadAheadHandler {
  /** Whether a message is handed out already, or will not be. */
  isSpokenFor(seq: number): boolean;
  /** There is more than there was. */
  onMore(): void;
  onFailed(error: StorageError): void;
}

/** The next messages to hand out, read in time: what comes at the end is taken from the commit, the rest from the storage. */
export class ReadAhead {
  #records: SpoolRecord[] = [];
  #head = 0;
  #bytes = 0;
  /** Everything up to here was read. */
  #cursor = 0;
  /** Whether there is nothing behind the cursor. */
  #isAtEnd = false;
  /** `more`: something was stored meanwhile; `void`: what is read is not wanted any more. */
  #state: "idle" | "reading" | "reading, more" | "reading, void" = "idle";

  constructor(
    private readonly storage: SpoolStorage,
    private readonly handler: ReadAheadHandler,
  ) {}

  /** The next message, which stays; when there is none, more is read. */
  peek(): SpoolRecord | undefined {
    if (this.#head === this.#records.length) this.#read();
    return this.#records[this.#head];
  }

  /** Takes the next message out. */
  shift(): void {
    this.#bytes -= this.#records[this.#head]!.size;
    this.#head++;
    if (this.#head < this.#records.length) return;
    this.#records = [];
    this.#head = 0;
  }

  /** These were stored at the end. */
  stored(records: readonly SpoolRecord[]): void {
    if (this.#state === "reading") this.#state = "reading, more";
    else if (this.#isAtEnd) {
      this.#isAtEnd = this.#bytes < READ_AHEAD_BYTES;
      if (this.#isAtEnd) this.#push(records);
    }
  }

  /** These are gone from the storage. */
  drop(gone: ReadonlyMap<number, unknown>): void {
    if (gone.size === 0) return;
    this.#records = this.#records.slice(this.#head).filter(({ seq }) => !gone.has(seq));
    this.#head = 0;
    this.#bytes = this.#records.reduce((sum, { size }) => sum + size, 0);
  }

  /** Goes back to what comes after a message. */
  rewind(afterSeq: number): void {
    this.#records = [];
    this.#head = this.#bytes = 0;
    this.#cursor = Math.min(this.#cursor, afterSeq);
    this.#isAtEnd = false;
    if (this.#state !== "idle") this.#state = "reading, void";
  }

  #push(records: readonly SpoolRecord[]): void {
    for (const record of records) {
      this.#cursor = record.seq;
      if (this.handler.isSpokenFor(record.seq)) continue;
      this.#records.push(record);
      this.#bytes += record.size;
    }
  }

  #read(): void {
    while (this.#state === "idle" && !this.#isAtEnd && this.#records.length === 0) {
      this.#state = "reading";
      const cursor = this.#cursor;
      whenDone(
        () => this.storage.read(cursor, READ_AHEAD_MESSAGES, READ_AHEAD_BYTES),
        (records, isLate) => this.#onRead(records, isLate),
        (error) => {
          this.#state = "idle";
          this.handler.onFailed(error);
        },
      );
    }
  }

  #onRead(records: readonly SpoolRecord[], isLate: boolean): void {
    const state = this.#state;
    this.#state = "idle";
    if (state !== "reading, void") {
      this.#isAtEnd = records.length === 0 && state === "reading";
      this.#push(records);
    }
    if (!isLate) return;
    this.#read();
    if (this.#records.length > 0) this.handler.onMore();
  }
}
