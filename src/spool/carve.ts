import { type Bytes, concat } from "../base/bytes.ts";
import {
  decodeMeta,
  decodeRecord,
  MAGIC_BYTE,
  type Meta,
  META_BYTES,
  recordLengthAt,
  type StoredRecord,
} from "./record.ts";
import { PAGE_BYTES } from "./wal.ts";

/** Most bytes of a cell that a leaf page of a table holds itself, and least when it overflows (SQLite format, 1.6). */
const MAX_LOCAL = PAGE_BYTES - 35;
const MIN_LOCAL = Math.floor(((PAGE_BYTES - 12) * 32) / 255) - 23;

/** What an overflow page holds beside the number of the next one. */
const OVERFLOW_BYTES = PAGE_BYTES - 4;

/** The pages of a damaged spool, as they lie in its files. */
export interface PageSource {
  /** Whole and half pages of the database. */
  readonly pages: number;
  /** Frames of the write-ahead log. */
  readonly frames: number;
  /** A page by its number (from 1), or `undefined` when there is none; valid until the next call. */
  page(number: number): Bytes | undefined;
  /** The page of a frame by its index; valid until the next call. */
  frame(index: number): Bytes | undefined;
  /** Indices of the frames that hold a page, ascending. */
  framesOf(pageNumber: number): readonly number[];
}

/** Gets what was found; the same record may be found several times. */
export interface Finder {
  record(record: StoredRecord, blob: Bytes): void;
  meta(meta: Meta): void;
}

/** Looks for records and counters in every page of the database and in every frame from `firstFrame` on. */
export function carve(source: PageSource, finder: Finder, firstFrame = 0): void {
  if (firstFrame === 0) {
    for (let number = 1; number <= source.pages; number++) {
      carvePage(source, source.page(number)?.slice(), undefined, finder);
    }
  }
  for (let index = firstFrame; index < source.frames; index++) {
    carvePage(source, source.frame(index)?.slice(), index, finder);
  }
}

function carvePage(
  source: PageSource,
  page: Bytes | undefined,
  frame: number | undefined,
  finder: Finder,
): void {
  if (page === undefined) return;
  let at = page.indexOf(MAGIC_BYTE);
  while (at !== -1) {
    const end = carveAt(source, page, at, frame, finder);
    // What lies within a good record is its payload, even if it looks like a record.
    at = page.indexOf(MAGIC_BYTE, end ?? at + 1);
  }
}

/** Reports what starts at `at` and returns where it ends in this page; `undefined` when it is nothing. */
function carveAt(
  source: PageSource,
  page: Bytes,
  at: number,
  frame: number | undefined,
  finder: Finder,
): number | undefined {
  const meta = decodeMeta(page.subarray(at, at + META_BYTES));
  if (meta !== undefined) {
    finder.meta(meta);
    return at + META_BYTES;
  }
  const length = recordLengthAt(page, at);
  if (length === undefined) return undefined;
  if (at + length <= page.length) {
    const blob = page.subarray(at, at + length);
    const record = decodeRecord(blob);
    if (record === undefined) return undefined;
    finder.record(record, blob);
    return at + length;
  }
  const local = localBytes(length);
  if (at + local + 4 > page.length) return undefined;
  for (const pick of [latest, main, upTo(frame)]) {
    const blob = followOverflow(source, page, at, length, local, pick);
    const record = blob === undefined ? undefined : decodeRecord(blob);
    if (record === undefined) continue;
    finder.record(record, blob!);
    return at + local + 4;
  }
  return undefined;
}

/** How many bytes of a blob lie in the leaf page; the rest is in overflow pages. */
function localBytes(blobLength: number): number {
  // The row is (NULL for the rowid, 0 or 1, blob): one byte of header length and of each type, but the blob's.
  const before = 3 + varintBytes(blobLength * 2 + 12);
  const total = before + blobLength;
  const wanted = MIN_LOCAL + (total - MIN_LOCAL) % OVERFLOW_BYTES;
  return (wanted <= MAX_LOCAL ? wanted : MIN_LOCAL) - before;
}

function varintBytes(value: number): number {
  let bytes = 1;
  for (let rest = Math.floor(value / 128); rest > 0; rest = Math.floor(rest / 128)) bytes++;
  return bytes;
}

/** Which version of a page to believe. */
type Pick = (source: PageSource, pageNumber: number) => Bytes | undefined;

const main: Pick = (source, number) => source.page(number);

const latest: Pick = (source, number) => {
  const frame = source.framesOf(number).at(-1);
  return frame === undefined ? source.page(number) : source.frame(frame);
};

/** The version that was in force when a frame was written. */
function upTo(frame: number | undefined): Pick {
  return (source, number) => {
    const index = source.framesOf(number).findLast((candidate) => candidate <= (frame ?? -1));
    return index === undefined ? source.page(number) : source.frame(index);
  };
}

function followOverflow(
  source: PageSource,
  page: Bytes,
  at: number,
  length: number,
  local: number,
  pick: Pick,
): Bytes | undefined {
  const parts = [page.subarray(at, at + local)];
  let missing = length - local;
  let next = uint32At(page, at + local);
  while (missing > 0) {
    const overflow = pick(source, next);
    if (overflow === undefined || overflow.length < 4) return undefined;
    const part = overflow.slice(4, 4 + Math.min(missing, OVERFLOW_BYTES));
    if (part.length === 0) return undefined;
    parts.push(part);
    missing -= part.length;
    next = uint32At(overflow, 0);
  }
  return concat(parts);
}

function uint32At(bytes: Bytes, offset: number): number {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength).getUint32(offset);
}
