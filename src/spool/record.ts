import { crc32 } from "node:zlib";
import { type Bytes, fromUtf8 } from "../base/bytes.ts";
import { textLength, writeText } from "../base/bytes.ts";
import type { Link } from "./floor.ts";
import { OVERHEAD_BYTES } from "./policy.ts";
import type { NewRecord, Qos } from "./storage.ts";

/**
 * How a message is stored: one blob that says all about itself, so that it can be told apart and checked wherever it is
 * found, also in the ruins of a file. Numbers are big-endian.
 *
 * ```
 * 0  magic    4     12  seq      f64     44  flags  u8     52  prev  f64
 * 4  spool id u32   20  floor    f64     45  reason u8     60  topic
 * 8  length   u32   28  accepted f64     46  topic  u16        reason
 *                   36  expires  f64     48  CRC-32            payload
 * ```
 */
export const RECORD_HEADER_BYTES = 60;

/** Length of the blob of the counters. */
export const META_BYTES = 80;

/** First byte of a blob; never part of UTF-8 text, so rare in payloads. */
export const MAGIC_BYTE = 0xf5;

const RECORD_MAGIC = 0xf5535231;
const META_MAGIC = 0xf5534d31;
const CRC_AT = 48;
const PREV_AT = 52;
const META_CRC_AT = 76;
const FLAG_QOS1 = 1;
const FLAG_QUARANTINED = 2;

/** More than any message that is accepted can take: a length above it is damage. */
const MAX_RECORD_BYTES = 16 * 1_048_576;

/** What a spool says about itself beside the messages. */
export interface Meta {
  /** Chosen at random when the spool was made: what carries another id is not a part of it. */
  readonly spoolId: number;
  readonly schema: number;
  readonly nextSeq: number;
  /** The message that was appended last; 0 before the first one. */
  readonly lastSeq: number;
  /** Every `seq` below it was gone when this was written, or is in quarantine. */
  readonly floor: number;
  readonly messages: number;
  readonly bytes: number;
  readonly qos0Bytes: number;
  /** How many transactions there were: tells which of two is the later one. */
  readonly commits: number;
}

/** Where a record belongs. */
export interface Place extends Link {
  readonly spoolId: number;
  readonly floor: number;
}

/** A stored record, as far as it is needed without its contents. */
export interface RecordHead extends Place {
  /** Of the blob, in bytes. */
  readonly length: number;
  readonly qos: Qos;
  readonly quarantined: boolean;
  readonly acceptedAt: number;
  /** 0: never. */
  readonly expiresAt: number;
}

/** A stored record with its contents; `payload` is a view of the blob. */
export interface StoredRecord extends RecordHead {
  readonly topic: string;
  readonly reason: string;
  readonly payload: Bytes;
}

/** What a blob of `length` bytes counts for, as `sizeOf` says for its message. */
export function sizeOfBlob(length: number): number {
  return length - RECORD_HEADER_BYTES + OVERHEAD_BYTES;
}

/** What a stored message counts for; the reason of its quarantine does not. */
export function sizeOfRecord(record: StoredRecord): number {
  return sizeOfBlob(record.length) - textLength(record.reason);
}

/** SQL for the part of a blob that {@linkcode decodePrev} reads. */
export const PREV_SQL = `substr(record, ${PREV_AT + 1}, 8)`;

/** The `prev` of a record. */
export function decodePrev(part: Bytes): number {
  return viewOf(part).getFloat64(0);
}

/** The blob of a record; with a reason (at most 255 bytes) the one of a record in quarantine. */
export function encodeRecord(record: NewRecord, place: Place, reason?: string): Bytes {
  const why = reason ?? "";
  const topicLength = textLength(record.topic);
  const whyLength = textLength(why);
  const length = RECORD_HEADER_BYTES + topicLength + whyLength + record.payload.length;
  const blob = new Uint8Array(length);
  const view = new DataView(blob.buffer);
  view.setUint32(0, RECORD_MAGIC);
  view.setUint32(4, place.spoolId);
  view.setUint32(8, length);
  view.setFloat64(12, place.seq);
  view.setFloat64(20, place.floor);
  view.setFloat64(28, record.acceptedAt);
  view.setFloat64(36, record.expiresAt ?? 0);
  view.setUint8(
    44,
    (record.qos === 1 ? FLAG_QOS1 : 0) | (reason === undefined ? 0 : FLAG_QUARANTINED),
  );
  view.setUint8(45, whyLength);
  view.setUint16(46, topicLength);
  view.setFloat64(PREV_AT, place.prev);
  const topicEnd = writeText(record.topic, blob, RECORD_HEADER_BYTES);
  blob.set(record.payload, writeText(why, blob, topicEnd));
  view.setUint32(CRC_AT, checksum(blob, CRC_AT));
  return blob;
}

/** The length that the record says it has which starts at `offset`, or `undefined` when none starts there. */
export function recordLengthAt(bytes: Bytes, offset: number): number | undefined {
  if (offset + 12 > bytes.length) return undefined;
  const view = viewOf(bytes);
  if (view.getUint32(offset) !== RECORD_MAGIC) return undefined;
  const length = view.getUint32(offset + 8);
  return length >= RECORD_HEADER_BYTES && length <= MAX_RECORD_BYTES ? length : undefined;
}

/** The record of a blob, or `undefined` when a single bit of it is wrong. */
export function decodeRecord(blob: Bytes): StoredRecord | undefined {
  if (blob.length < RECORD_HEADER_BYTES || recordLengthAt(blob, 0) !== blob.length) {
    return undefined;
  }
  const view = viewOf(blob);
  if (view.getUint32(CRC_AT) !== checksum(blob, CRC_AT)) return undefined;
  const flags = view.getUint8(44);
  const topicEnd = RECORD_HEADER_BYTES + view.getUint16(46);
  const reasonEnd = topicEnd + view.getUint8(45);
  const topic = fromUtf8(blob, RECORD_HEADER_BYTES, topicEnd);
  const reason = fromUtf8(blob, topicEnd, reasonEnd);
  if (topic === undefined || reason === undefined) return undefined;
  return {
    spoolId: view.getUint32(4),
    length: blob.length,
    seq: view.getFloat64(12),
    floor: view.getFloat64(20),
    prev: view.getFloat64(PREV_AT),
    acceptedAt: view.getFloat64(28),
    expiresAt: view.getFloat64(36),
    qos: (flags & FLAG_QOS1) !== 0 ? 1 : 0,
    quarantined: (flags & FLAG_QUARANTINED) !== 0,
    topic,
    reason,
    payload: blob.subarray(reasonEnd),
  };
}

/** The blob of the counters. */
export function encodeMeta(meta: Meta): Bytes {
  const blob = new Uint8Array(META_BYTES);
  const view = new DataView(blob.buffer);
  view.setUint32(0, META_MAGIC);
  view.setUint32(4, meta.spoolId);
  view.setUint32(8, META_BYTES);
  view.setUint32(12, meta.schema);
  view.setFloat64(16, meta.nextSeq);
  view.setFloat64(24, meta.floor);
  view.setFloat64(32, meta.messages);
  view.setFloat64(40, meta.bytes);
  view.setFloat64(48, meta.qos0Bytes);
  view.setFloat64(56, meta.commits);
  view.setFloat64(64, meta.lastSeq);
  view.setUint32(META_CRC_AT, checksum(blob, META_CRC_AT));
  return blob;
}

/** The counters of a blob, or `undefined` when a single bit of it is wrong. */
export function decodeMeta(blob: Bytes): Meta | undefined {
  if (blob.length !== META_BYTES) return undefined;
  const view = viewOf(blob);
  if (view.getUint32(0) !== META_MAGIC) return undefined;
  if (view.getUint32(META_CRC_AT) !== checksum(blob, META_CRC_AT)) return undefined;
  return {
    spoolId: view.getUint32(4),
    schema: view.getUint32(12),
    nextSeq: view.getFloat64(16),
    floor: view.getFloat64(24),
    messages: view.getFloat64(32),
    bytes: view.getFloat64(40),
    qos0Bytes: view.getFloat64(48),
    commits: view.getFloat64(56),
    lastSeq: view.getFloat64(64),
  };
}

function viewOf(bytes: Bytes): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** CRC-32 of everything but the four bytes where it is kept. */
function checksum(blob: Bytes, at: number): number {
  return crc32(blob.subarray(at + 4), crc32(blob.subarray(0, at)));
}
