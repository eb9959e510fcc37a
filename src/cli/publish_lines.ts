import { type Bytes, concat } from "../base/bytes.ts";

const NEWLINE = 0x0a;

/** Splits what comes in pieces into lines, without their newlines; of a line that is too long only that is kept. */
export class LineSplitter {
  readonly #maxBytes: number;
  #parts: Bytes[] = [];
  #bytes = 0;
  #begun = false;

  /** @param maxBytes The longest line. */
  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  /** The lines that end in this piece, which is copied; `undefined` for one that is too long. */
  *push(piece: Bytes): Generator<Bytes | undefined> {
    for (let at = 0; at < piece.length;) {
      const end = piece.indexOf(NEWLINE, at);
      this.#add(piece.slice(at, end < 0 ? piece.length : end));
      if (end < 0) return;
      yield this.#take();
      at = end + 1;
    }
  }

  /** The last line, if it has no newline. */
  *finish(): Generator<Bytes | undefined> {
    if (this.#begun) yield this.#take();
  }

  #add(part: Bytes): void {
    this.#begun = true;
    this.#bytes += part.length;
    if (this.#bytes > this.#maxBytes) this.#parts = [];
    else if (part.length > 0) this.#parts.push(part);
  }

  #take(): Bytes | undefined {
    const line = this.#bytes > this.#maxBytes ? undefined : concat(this.#parts);
    this.#parts = [];
    this.#bytes = 0;
    this.#begun = false;
    return line;
  }
}

/** How much may be under way at once. */
export class LookAhead {
  readonly #most: { readonly count: number; readonly bytes: number };
  #count = 0;
  #bytes = 0;
  #changed: (() => void) | undefined;

  /** @param most One of more than `bytes` may still go alone. */
  constructor(most: { readonly count: number; readonly bytes: number }) {
    this.#most = most;
  }

  /** Counts one that starts. */
  start(bytes: number): void {
    this.#count++;
    this.#bytes += bytes;
  }

  /** Counts one that is done. */
  done(bytes: number): void {
    this.#count--;
    this.#bytes -= bytes;
    this.#changed?.();
  }

  /** Resolves when there is room for one more of `bytes`. One waits at a time. */
  room(bytes: number): Promise<void> | undefined {
    return this.#until(() =>
      this.#count === 0 ||
      (this.#count < this.#most.count && this.#bytes + bytes <= this.#most.bytes)
    );
  }

  /** Resolves when nothing is under way. */
  empty(): Promise<void> | undefined {
    return this.#until(() => this.#count === 0);
  }

  #until(holds: () => boolean): Promise<void> | undefined {
    if (holds()) return undefined;
    return new Promise((resolve) => {
      this.#changed = () => {
        if (!holds()) return;
        this.#changed = undefined;
        resolve();
      };
    });
  }
}
