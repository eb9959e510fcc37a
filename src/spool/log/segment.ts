import type { Bytes } from "../../base/bytes.ts";
import { crc32c } from "./crc32c.ts";
import { type FoundRecord, nextRecord, recordAt } from "./record.ts";

/** Bytes of a segment before its first record. */
export const SEGMENT_HEAD_BYTES = 32;

/** The version of the format that is written, and the only one that is read. */
export const FORMAT_VERSION = 1;

const MAGIC = new TextEncoder().encode("iotcspol");

/** The name of the segment whose messages begin with `first`. */
export function segmentName(first: number): string {
  return `${String(first).padStart(16, "0")}.log`;
}

/** The first number of a segment, by its name; `undefined` for other files. */
export function firstOf(name: string): number | undefined {
  return /^\d{16}\.log$/.test(name) ? Number(name.slice(0, 16)) : undefined;
}

/** A file of the log, and what lives in it. */
export class Segment {
  /** Bytes written so far. */
  used = SEGMENT_HEAD_BYTES;
  /** Live messages, with those in quarantine, and what they count for. */
  messages = 0;
  bytes = 0;
  /** Without those in quarantine. */
  qos0Bytes = 0;
  /** Messages that records in here remove. */
  removed = 0;
  /** Whether a synced checkpoint in here says what lives in earlier segments. */
  isCheckpointed = false;
  isDamaged = false;

  /**
   * @param id Its place among the segments of this run.
   * @param first The lowest number of a message that is new in it.
   */
  constructor(readonly id: number, readonly first: number) {}
}

/** What the first bytes of a file say. */
export type Head =
  | { readonly is: "sound"; readonly spoolId: number }
  | { readonly is: "unknown version"; readonly version: number }
  | { readonly is: "damaged" };

/** The first bytes of a segment. */
export function encodeHead(spoolId: number, first: number): Bytes {
  const bytes = new Uint8Array(SEGMENT_HEAD_BYTES);
  const view = new DataView(bytes.buffer);
  bytes.set(MAGIC);
  view.setUint32(8, FORMAT_VERSION);
  view.setUint32(12, spoolId);
  view.setFloat64(16, first);
  view.setUint32(28, crc32c(bytes, 0, 28));
  return bytes;
}

/** Reads the first bytes of a file. */
export function decodeHead(bytes: Bytes): Head {
  if (bytes.length < SEGMENT_HEAD_BYTES) return { is: "damaged" };
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  const isWhole = MAGIC.every((byte, at) => bytes[at] === byte) &&
    view.getUint32(28) === crc32c(bytes, 0, 28);
  if (!isWhole) return { is: "damaged" };
  const version = view.getUint32(8);
  if (version !== FORMAT_VERSION) return { is: "unknown version", version };
  return { is: "sound", spoolId: view.getUint32(12) };
}

/** What {@linkcode readRecords} found beside the records. */
export interface Scan {
  /** Where the last record ends. */
  readonly end: number;
  /** Stretches before it that are no records, by where they begin. */
  readonly gaps: readonly number[];
  /** Whether anything but zeros follows it. */
  readonly isTorn: boolean;
}

/** Calls `visit` for each whole record of a segment in order; what is damaged is passed over. */
export function readRecords(
  bytes: Bytes,
  spoolId: number | undefined,
  visit: (record: FoundRecord) => void,
): Scan {
  const gaps: number[] = [];
  let end = SEGMENT_HEAD_BYTES;
  while (true) {
    let record = recordAt(bytes, end, spoolId);
    if (record === undefined) {
      record = nextRecord(bytes, Math.min(end, bytes.length), spoolId);
      if (record === undefined) break;
      gaps.push(end);
    }
    visit(record);
    end = record.end;
  }
  return { end, gaps, isTorn: bytes.subarray(end).some((byte) => byte !== 0) };
}
