import type { Bytes } from "../base/bytes.ts";

/** Page size of a spool's database, in bytes. */
export const PAGE_BYTES = 4096;

/** Length of the header of a write-ahead log (SQLite file format, 4.1). */
export const WAL_HEADER_BYTES = 32;

/** Length of the header of each frame. */
export const FRAME_HEADER_BYTES = 24;

/** Length of a frame: its header and a page. */
export const FRAME_BYTES = FRAME_HEADER_BYTES + PAGE_BYTES;

const MAGIC_LE = 0x377f0682;
const MAGIC_BE = 0x377f0683;

/**
 * What a crash left in a write-ahead log:
 * - `sound`: SQLite reads everything that was committed.
 * - `doubtful`: the frame after the last commit that SQLite reads ends a transaction, but is wrong. Either it was being
 *   written (nobody was answered), or it was damaged afterwards.
 * - `damaged`: SQLite would drop transactions that were committed.
 */
export type WalState = "sound" | "doubtful" | "damaged";

/** What {@linkcode inspectWal} found. */
export interface WalReport {
  readonly state: WalState;
  /** How many frames, from the start, SQLite reads. */
  readonly committedFrames: number;
}

/** Reads a log: `bytes(offset, length)` gives what there is, valid until the next call; `size` is its length. */
export interface WalSource {
  readonly size: number;
  bytes(offset: number, length: number): Bytes;
}

/** SQLite's checksum of frames and header (file format, 4.2), from the one before. */
class Checksum {
  s0 = 0;
  s1 = 0;

  constructor(readonly littleEndian: boolean) {}

  add(bytes: Bytes): void {
    const view = viewOf(bytes);
    const little = this.littleEndian;
    let { s0, s1 } = this;
    for (let i = 0; i + 8 <= bytes.length; i += 8) {
      s0 = (s0 + view.getUint32(i, little) + s1) | 0;
      s1 = (s1 + view.getUint32(i + 4, little) + s0) | 0;
    }
    this.s0 = s0;
    this.s1 = s1;
  }

  equals(view: DataView, at: number): boolean {
    return (this.s0 >>> 0) === view.getUint32(at) && (this.s1 >>> 0) === view.getUint32(at + 4);
  }
}

/**
 * Tells whether SQLite, which reads a log up to the first wrong frame without a word, would drop something. A frame counts
 * as one of the present log when its salts say so; older ones behind it are what a restart of the log leaves.
 */
export function inspectWal(source: WalSource): WalReport {
  const frames = Math.floor((source.size - WAL_HEADER_BYTES) / FRAME_BYTES);
  if (frames < 1) return { state: "sound", committedFrames: 0 };
  const header = source.bytes(0, WAL_HEADER_BYTES).slice();
  const checksum = headerChecksum(header);
  if (checksum === undefined) return { state: "damaged", committedFrames: 0 };
  const salts = [viewOf(header).getUint32(16), viewOf(header).getUint32(20)] as const;

  let committedFrames = 0;
  let index = 0;
  for (; index < frames; index++) {
    const frame = source.bytes(WAL_HEADER_BYTES + index * FRAME_BYTES, FRAME_BYTES);
    const view = viewOf(frame);
    if (saltDistance(view, salts) !== 0) break;
    checksum.add(frame.subarray(0, 8));
    checksum.add(frame.subarray(FRAME_HEADER_BYTES));
    if (!checksum.equals(view, 16)) break;
    if (view.getUint32(4) !== 0) committedFrames = index + 1;
  }
  return { state: stateOfRest(source, index, frames, salts), committedFrames };
}

/** Judges what lies behind the last good frame. */
function stateOfRest(
  source: WalSource,
  from: number,
  frames: number,
  salts: readonly [number, number],
): WalState {
  for (let index = from + 1; index < frames; index++) {
    const view = viewOf(
      source.bytes(WAL_HEADER_BYTES + index * FRAME_BYTES, FRAME_HEADER_BYTES),
    );
    if (saltDistance(view, salts) === 0 && view.getUint32(4) !== 0) return "damaged";
  }
  if (from >= frames) return "sound";
  const view = viewOf(source.bytes(WAL_HEADER_BYTES + from * FRAME_BYTES, FRAME_HEADER_BYTES));
  return saltDistance(view, salts) <= 1 ? "doubtful" : "sound";
}

/** The checksum to go on with after a header, or `undefined` when the header is wrong. */
function headerChecksum(header: Bytes): Checksum | undefined {
  const view = viewOf(header);
  const magic = view.getUint32(0);
  if (magic !== MAGIC_LE && magic !== MAGIC_BE) return undefined;
  if (view.getUint32(8) !== PAGE_BYTES) return undefined;
  const checksum = new Checksum(magic === MAGIC_LE);
  checksum.add(header.subarray(0, 24));
  return checksum.equals(view, 24) ? checksum : undefined;
}

/** In how many bits the salts of a frame differ from those of the log. */
function saltDistance(frame: DataView, salts: readonly [number, number]): number {
  return bitCount(frame.getUint32(8) ^ salts[0]) + bitCount(frame.getUint32(12) ^ salts[1]);
}

/** How many bits of a 32-bit number are set. */
export function bitCount(value: number): number {
  let count = 0;
  for (let rest = value >>> 0; rest !== 0; rest = (rest & (rest - 1)) >>> 0) count++;
  return count;
}

function viewOf(bytes: Bytes): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
