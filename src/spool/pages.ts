import type { Bytes } from "../base/bytes.ts";
import type { PageSource } from "./carve.ts";
import { HEADER_BYTES } from "./header.ts";
import {
  FRAME_BYTES,
  FRAME_HEADER_BYTES,
  PAGE_BYTES,
  WAL_HEADER_BYTES,
  type WalSource,
} from "./wal.ts";

/** The files of a spool, read page by page without SQLite. Methods throw what `Deno` throws. */
export class PageFiles implements PageSource, Disposable {
  readonly fileBytes: number;
  readonly pages: number;
  readonly frames: number;
  /** The write-ahead log. */
  readonly log: WalSource;

  readonly #main: Deno.FsFile | undefined;
  readonly #wal: Deno.FsFile | undefined;
  readonly #buffer = new Uint8Array(FRAME_BYTES);
  #framesOf: Map<number, number[]> | undefined;

  /** Opens the database `path` and the log beside it; either may be missing. */
  constructor(path: string) {
    this.#main = openIfThere(path);
    this.#wal = openIfThere(`${path}-wal`);
    this.fileBytes = this.#main?.statSync().size ?? 0;
    this.pages = Math.ceil(this.fileBytes / PAGE_BYTES);
    const size = this.#wal?.statSync().size ?? 0;
    this.frames = Math.max(0, Math.ceil((size - WAL_HEADER_BYTES) / FRAME_BYTES));
    this.log = { size, bytes: (offset, length) => this.#bytes(this.#wal, offset, length) };
  }

  /** The start of the database. */
  header(): Bytes {
    return this.#bytes(this.#main, 0, HEADER_BYTES).slice();
  }

  page(number: number): Bytes | undefined {
    if (number < 1 || number > this.pages) return undefined;
    return this.#bytes(this.#main, (number - 1) * PAGE_BYTES, PAGE_BYTES);
  }

  frame(index: number): Bytes | undefined {
    if (index < 0 || index >= this.frames) return undefined;
    return this.#bytes(this.#wal, frameAt(index) + FRAME_HEADER_BYTES, PAGE_BYTES);
  }

  framesOf(pageNumber: number): readonly number[] {
    this.#framesOf ??= this.#indexFrames();
    return this.#framesOf.get(pageNumber) ?? [];
  }

  [Symbol.dispose](): void {
    this.#main?.close();
    this.#wal?.close();
  }

  #indexFrames(): Map<number, number[]> {
    const index = new Map<number, number[]>();
    for (let i = 0; i < this.frames; i++) {
      const header = this.#bytes(this.#wal, frameAt(i), 4);
      if (header.length < 4) continue;
      const number = new DataView(header.buffer, header.byteOffset).getUint32(0);
      const frames = index.get(number);
      if (frames === undefined) index.set(number, [i]);
      else frames.push(i);
    }
    return index;
  }

  #bytes(file: Deno.FsFile | undefined, offset: number, length: number): Bytes {
    if (file === undefined) return this.#buffer.subarray(0, 0);
    file.seekSync(offset, Deno.SeekMode.Start);
    let filled = 0;
    while (filled < length) {
      const n = file.readSync(this.#buffer.subarray(filled, length));
      if (n === null) break;
      filled += n;
    }
    return this.#buffer.subarray(0, filled);
  }
}

function frameAt(index: number): number {
  return WAL_HEADER_BYTES + index * FRAME_BYTES;
}

function openIfThere(path: string): Deno.FsFile | undefined {
  try {
    return Deno.openSync(path, { read: true });
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
}
