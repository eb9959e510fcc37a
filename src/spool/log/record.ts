/** How the records of a segment look; docs/spool-format.md has the offsets. Numbers are big-endian; a `seq` and a time are f64. */

import { type Bytes, fromUtf8 } from "../../base/bytes.ts";
import { textLength, writeText } from "../../base/bytes.ts";
import { OVERHEAD_BYTES } from "../policy.ts";
import type { NewRecord } from "../storage.ts";
import { crc32c } from "./crc32c.ts";

/** What a record holds. */
export const Kind = { MESSAGE: 1, REMOVAL: 2, QUARANTINED: 3, CHECKPOINT: 4 } as const;

/** Bytes of a record before its body. */
export const RECORD_HEAD_BYTES = 28;

/** Bytes of a message's body before topic, reason and payload. */
const MESSAGE_HEAD_BYTES = 18;

/** The length of the shortest message there is. */
export const EMPTY_MESSAGE_BYTES = RECORD_HEAD_BYTES + MESSAGE_HEAD_BYTES;

/** Bytes of one run of numbers in the body of a removal. */
export const RUN_BYTES = 12;

const MAGIC = 0xf5494f52;
const MAGIC_BYTE = 0xf5;
const FLAG_QOS1 = 1;
const FLAG_EXPIRES = 2;

/** The priority of a message that names none. */
const DEFAULT_PRIORITY = 3;

/** Consecutive numbers, `first` to `first + count - 1`. */
export interface Run {
  readonly first: number;
  readonly count: number;
}

/** A record that was found whole. */
export interface FoundRecord {
  readonly kind: number;
  /** Of a message its own, of a removal how many were removed before in this segment, of a checkpoint the next one. */
  readonly seq: number;
  /** Where it begins and where the next one may, in bytes. */
  readonly at: number;
  readonly end: number;
  readonly spoolId: number;
}

/** What the index wants of a message. */
export interface MessageHead {
  readonly acceptedAt: number;
  readonly isQos0: boolean;
  /** As `sizeOf` says. */
  readonly size: number;
}

/** What the body of a message holds; `payload` is a view. */
export interface StoredMessage {
  readonly record: NewRecord;
  /** Why it is in quarantine. */
  readonly reason: string;
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** How long the record of a message is, in bytes. */
export function messageBytes(record: NewRecord, reason = ""): number {
  return RECORD_HEAD_BYTES + MESSAGE_HEAD_BYTES + textLength(record.topic) + textLength(reason) +
    record.payload.length;
}

/** Writes a message, in quarantine if it has a reason (at most 255 bytes), and returns the offset after it. */
export function writeMessage(
  bytes: Bytes,
  at: number,
  spoolId: number,
  seq: number,
  record: NewRecord,
  reason?: string,
): number {
  const { topic, payload, qos, acceptedAt, expiresAt } = record;
  const view = viewOf(bytes);
  const body = at + RECORD_HEAD_BYTES;
  const topicAt = body + MESSAGE_HEAD_BYTES;
  const reasonAt = writeText(topic, bytes, topicAt);
  const payloadAt = writeText(reason ?? "", bytes, reasonAt);
  const end = payloadAt + payload.length;
  bytes.set(payload, payloadAt);
  view.setFloat64(body, acceptedAt);
  view.setFloat64(body + 8, expiresAt ?? 0);
  view.setUint16(body + 16, reasonAt - topicAt);
  bytes[at + 17] = qos * FLAG_QOS1 | (expiresAt === undefined ? 0 : FLAG_EXPIRES);
  bytes[at + 18] = DEFAULT_PRIORITY;
  bytes[at + 19] = payloadAt - reasonAt;
  return seal(bytes, at, end, spoolId, reason === undefined ? Kind.MESSAGE : Kind.QUARANTINED, seq);
}

/** Writes the removal of some messages and returns the offset after it. `before` were removed in this segment so far. */
export function writeRemoval(
  bytes: Bytes,
  at: number,
  spoolId: number,
  before: number,
  runs: readonly Run[],
): number {
  const view = viewOf(bytes);
  let end = at + RECORD_HEAD_BYTES;
  for (const { first, count } of runs) {
    view.setFloat64(end, first);
    view.setUint32(end + 8, count);
    end += RUN_BYTES;
  }
  return seal(bytes, at, end, spoolId, Kind.REMOVAL, before);
}

/** Completes a record whose body is in its place, from `at` to `end`. */
export function seal(
  bytes: Bytes,
  at: number,
  end: number,
  spoolId: number,
  kind: number,
  seq: number,
): number {
  const view = viewOf(bytes);
  view.setUint32(at, MAGIC);
  view.setUint32(at + 8, spoolId);
  view.setUint32(at + 12, end - at - RECORD_HEAD_BYTES);
  bytes[at + 16] = kind;
  view.setFloat64(at + 20, seq);
  view.setUint32(at + 4, crc32c(bytes, at + 8, end));
  return end;
}

/** The record at an offset, if there is a whole one; of this spool, if its id is known. */
export function recordAt(
  bytes: Bytes,
  at: number,
  spoolId: number | undefined,
): FoundRecord | undefined {
  if (bytes[at] !== MAGIC_BYTE || at + RECORD_HEAD_BYTES > bytes.length) return undefined;
  const view = viewOf(bytes);
  if (view.getUint32(at) !== MAGIC) return undefined;
  const id = view.getUint32(at + 8);
  const end = at + RECORD_HEAD_BYTES + view.getUint32(at + 12);
  if ((spoolId !== undefined && id !== spoolId) || end > bytes.length) return undefined;
  if (view.getUint32(at + 4) !== crc32c(bytes, at + 8, end)) return undefined;
  return { kind: bytes[at + 16]!, seq: view.getFloat64(at + 20), at, end, spoolId: id };
}

/** The first whole record at an offset or behind it. */
export function nextRecord(
  bytes: Bytes,
  from: number,
  spoolId: number | undefined,
): FoundRecord | undefined {
  for (let at = bytes.indexOf(MAGIC_BYTE, from); at >= 0; at = bytes.indexOf(MAGIC_BYTE, at + 1)) {
    const found = recordAt(bytes, at, spoolId);
    if (found !== undefined) return found;
  }
  return undefined;
}

/** What the index wants of a message that was found. */
export function messageHead(bytes: Bytes, { at, end }: FoundRecord): MessageHead {
  const flags = bytes[at + 17]!;
  return {
    acceptedAt: viewOf(bytes).getFloat64(at + RECORD_HEAD_BYTES),
    isQos0: (flags & FLAG_QOS1) === 0,
    size: end - at - RECORD_HEAD_BYTES - MESSAGE_HEAD_BYTES - bytes[at + 19]! + OVERHEAD_BYTES,
  };
}

/** A message that was found. */
export function readMessage(bytes: Bytes, { at, end }: FoundRecord): StoredMessage {
  const view = viewOf(bytes);
  const body = at + RECORD_HEAD_BYTES;
  const topicAt = body + MESSAGE_HEAD_BYTES;
  const reasonAt = topicAt + view.getUint16(body + 16);
  const payloadAt = reasonAt + bytes[at + 19]!;
  const flags = bytes[at + 17]!;
  const record: NewRecord = {
    topic: fromUtf8(bytes, topicAt, reasonAt) ?? "",
    payload: bytes.subarray(payloadAt, end),
    qos: flags & FLAG_QOS1 ? 1 : 0,
    acceptedAt: view.getFloat64(body),
  };
  return {
    record: flags & FLAG_EXPIRES ? { ...record, expiresAt: view.getFloat64(body + 8) } : record,
    reason: fromUtf8(bytes, reasonAt, payloadAt) ?? "",
  };
}

/** The numbers that a removal names. */
export function readRuns(bytes: Bytes, { at, end }: FoundRecord): Run[] {
  const view = viewOf(bytes);
  const runs: Run[] = [];
  for (let offset = at + RECORD_HEAD_BYTES; offset + RUN_BYTES <= end; offset += RUN_BYTES) {
    runs.push({ first: view.getFloat64(offset), count: view.getUint32(offset + 8) });
  }
  return runs;
}

/** Numbers as runs, ascending. */
export function runsOf(seqs: readonly number[]): Run[] {
  const runs: { first: number; count: number }[] = [];
  for (const seq of seqs.toSorted((a, b) => a - b)) {
    const last = runs.at(-1);
    if (last !== undefined && seq === last.first + last.count) last.count++;
    else if (last === undefined || seq > last.first + last.count) {
      runs.push({ first: seq, count: 1 });
    }
  }
  return runs;
}
