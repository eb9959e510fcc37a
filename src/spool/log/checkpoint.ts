import type { Bytes } from "../../base/bytes.ts";
import { type FoundRecord, Kind, RECORD_HEAD_BYTES, type Run, seal } from "./record.ts";

/** What lives in an earlier segment. */
export interface SegmentState {
  /** The segment's first number. */
  readonly first: number;
  readonly messages: number;
  readonly bytes: number;
  readonly qos0Bytes: number;
  /** The numbers of its live messages, ascending. */
  readonly runs: readonly Run[];
}

/** What is known when a checkpoint is written. */
export interface Checkpoint {
  /** The latest time in the log, in ms of the spool's time. */
  readonly newestAt: number;
  readonly segments: readonly SegmentState[];
}

const STATE_BYTES = 32;

/** The record of a checkpoint; `next` is the number that the next message gets. */
export function encodeCheckpoint(spoolId: number, next: number, checkpoint: Checkpoint): Bytes {
  const packed = checkpoint.segments.map(({ runs }) => packRuns(runs));
  const body = packed.reduce((sum, { length }) => sum + STATE_BYTES + length, 8);
  const bytes = new Uint8Array(RECORD_HEAD_BYTES + body);
  const view = new DataView(bytes.buffer);
  let at = RECORD_HEAD_BYTES;
  view.setFloat64(at, checkpoint.newestAt);
  at += 8;
  checkpoint.segments.forEach((state, n) => {
    view.setFloat64(at, state.first);
    view.setUint32(at + 8, state.messages);
    view.setFloat64(at + 12, state.bytes);
    view.setFloat64(at + 20, state.qos0Bytes);
    view.setUint32(at + 28, packed[n]!.length);
    bytes.set(packed[n]!, at + STATE_BYTES);
    at += STATE_BYTES + packed[n]!.length;
  });
  seal(bytes, 0, bytes.length, spoolId, Kind.CHECKPOINT, next);
  return bytes;
}

/** What a checkpoint says. */
export function decodeCheckpoint(bytes: Bytes, { at: start, end }: FoundRecord): Checkpoint {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const segments: SegmentState[] = [];
  let at = start + RECORD_HEAD_BYTES;
  const newestAt = view.getFloat64(at);
  at += 8;
  while (at + STATE_BYTES <= end) {
    const runsAt = at + STATE_BYTES;
    const runsEnd = runsAt + view.getUint32(at + 28);
    segments.push({
      first: view.getFloat64(at),
      messages: view.getUint32(at + 8),
      bytes: view.getFloat64(at + 12),
      qos0Bytes: view.getFloat64(at + 20),
      runs: unpackRuns(bytes.subarray(runsAt, runsEnd)),
    });
    at = runsEnd;
  }
  return { newestAt, segments };
}

/** For each run the distance from the end of the one before and its length, as LEB128: two bytes for most. */
function packRuns(runs: readonly Run[]): Uint8Array {
  const bytes: number[] = [];
  let end = 0;
  for (const { first, count } of runs) {
    for (let value of [first - end, count]) {
      for (; value >= 0x80; value = Math.floor(value / 0x80)) bytes.push(value % 0x80 | 0x80);
      bytes.push(value);
    }
    end = first + count;
  }
  return Uint8Array.from(bytes);
}

function unpackRuns(bytes: Uint8Array): Run[] {
  const values: number[] = [];
  let value = 0;
  let scale = 1;
  for (const byte of bytes) {
    value += (byte & 0x7f) * scale;
    scale *= 0x80;
    if (byte & 0x80) continue;
    values.push(value);
    value = 0;
    scale = 1;
  }
  const runs: Run[] = [];
  let end = 0;
  for (let n = 0; n + 1 < values.length; n += 2) {
    const first = end + values[n]!;
    runs.push({ first, count: values[n + 1]! });
    end = first + values[n + 1]!;
  }
  return runs;
}
