/** How the records of a segment look: docs/spool-format.md. Numbers are big-endian; a `seq` and a time are f64. */

import { type Bytes, fromUtf8, textLength, utf8, writeText } from "../../base/bytes.ts";
import { OVERHEAD_BYTES } from "../policy.ts";
import type { NewRecord } from "../storage.ts";
import { crc32c } from "./crc32c.ts";

/** What a record holds. The bodies of all but messages are JSON. */
export const Kind = { MESSAGE: 1, REMOVAL: 2, QUARANTINE: 3, RELEASE: 4, CHECKPOINT: 5 } as const;

/** Bytes of a record before its body. */
export const RECORD_HEAD_BYTES = 28;

/** Bytes of a message's record beside topic and payload. */
export const MESSAGE_HEAD_BYTES = RECORD_HEAD_BYTES + 18;

const MAGIC = 0xf5494f52;
const MAGIC_BYTE = 0xf5;
const FLAG_QOS1 = 1;
const FLAG_EXPIRES = 2;

/** The priority of a message that names none. */
const DEFAULT_PRIORITY = 3;

/** Numbers as runs: the first of a run, how many there are, the first of the next one. Ascending. */
export type Runs = readonly number[];

/** What a checkpoint says of an earlier segment. */
export interface SegmentState {
  readonly first: number;
  readonly messages: number;
  readonly bytes: number;
  readonly qos0Bytes: number;
  /** The numbers of its live messages. */
  readonly runs: Runs;
}

/** The body of a checkpoint. */
export interface Checkpoint {
  /** The latest time in the log, in ms of the spool's time. */
  readonly newestAt: number;
  readonly segments: readonly SegmentState[];
  /** What is in quarantine, and why. */
  readonly quarantined: readonly (readonly [seq: number, reason: string])[];
}

/** A record that was found whole. */
export interface FoundRecord {
  readonly kind: number;
  /** Of a message, quarantine and release the message's; of a removal how many the segment removes before; of a checkpoint the next. */
  readonly seq: number;
  /** Where it begins and ends, in bytes. */
  readonly at: number;
  readonly end: number;
  readonly spoolId: number;
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** How long the record of a message is, in bytes. */
export function messageBytes({ topic, payload }: NewRecord): number {
  return MESSAGE_HEAD_BYTES + textLength(topic) + payload.length;
}

/** What a message counts for, as `sizeOf` says, by the length of its record. */
export function sizeOfRecord(length: number): number {
  return length - MESSAGE_HEAD_BYTES + OVERHEAD_BYTES;
}

/** Writes a message and returns the offset after it. */
export function writeMessage(
  bytes: Bytes,
  at: number,
  spoolId: number,
  seq: number,
  { topic, payload, qos, acceptedAt, expiresAt }: NewRecord,
): number {
  const view = viewOf(bytes);
  const body = at + RECORD_HEAD_BYTES;
  const payloadAt = writeText(topic, bytes, at + MESSAGE_HEAD_BYTES);
  bytes.set(payload, payloadAt);
  view.setFloat64(body, acceptedAt);
  view.setFloat64(body + 8, expiresAt ?? 0);
  view.setUint16(body + 16, payloadAt - at - MESSAGE_HEAD_BYTES);
  bytes[at + 17] = qos * FLAG_QOS1 | (expiresAt === undefined ? 0 : FLAG_EXPIRES);
  bytes[at + 18] = DEFAULT_PRIORITY;
  return seal(bytes, at, payloadAt + payload.length, spoolId, Kind.MESSAGE, seq);
}

/** Any other record. */
export function encodeNote(spoolId: number, kind: number, seq: number, body: unknown): Bytes {
  const json = utf8(JSON.stringify(body));
  const bytes = new Uint8Array(RECORD_HEAD_BYTES + json.length);
  bytes.set(json, RECORD_HEAD_BYTES);
  seal(bytes, 0, bytes.length, spoolId, kind, seq);
  return bytes;
}

function seal(
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
export function recordAt(bytes: Bytes, at: number, spoolId?: number): FoundRecord | undefined {
  if (bytes[at] !== MAGIC_BYTE || at + RECORD_HEAD_BYTES > bytes.length) return undefined;
  const view = viewOf(bytes);
  const id = view.getUint32(at + 8);
  const end = at + RECORD_HEAD_BYTES + view.getUint32(at + 12);
  if (view.getUint32(at) !== MAGIC || id !== (spoolId ?? id) || end > bytes.length) {
    return undefined;
  }
  if (view.getUint32(at + 4) !== crc32c(bytes, at + 8, end)) return undefined;
  return { kind: bytes[at + 16]!, seq: view.getFloat64(at + 20), at, end, spoolId: id };
}

/** The first whole record at an offset or behind it. */
export function nextRecord(bytes: Bytes, from: number, spoolId?: number): FoundRecord | undefined {
  for (let at = bytes.indexOf(MAGIC_BYTE, from); at >= 0; at = bytes.indexOf(MAGIC_BYTE, at + 1)) {
    const found = recordAt(bytes, at, spoolId);
    if (found !== undefined) return found;
  }
  return undefined;
}

/** When a message was accepted, and whether it has QoS 0. */
export function messageHead(
  bytes: Bytes,
  { at }: FoundRecord,
): [acceptedAt: number, qos0: boolean] {
  const acceptedAt = viewOf(bytes).getFloat64(at + RECORD_HEAD_BYTES);
  return [acceptedAt, (bytes[at + 17]! & FLAG_QOS1) === 0];
}

/** A message that was found; its payload is a view. */
export function readMessage(bytes: Bytes, { at, end }: FoundRecord): NewRecord {
  const view = viewOf(bytes);
  const body = at + RECORD_HEAD_BYTES;
  const payloadAt = at + MESSAGE_HEAD_BYTES + view.getUint16(body + 16);
  const flags = bytes[at + 17]!;
  const record: NewRecord = {
    topic: fromUtf8(bytes, at + MESSAGE_HEAD_BYTES, payloadAt) ?? "",
    payload: bytes.subarray(payloadAt, end),
    qos: flags & FLAG_QOS1 ? 1 : 0,
    acceptedAt: view.getFloat64(body),
  };
  return flags & FLAG_EXPIRES ? { ...record, expiresAt: view.getFloat64(body + 8) } : record;
}

/** The body of any other record. */
export function readNote<T>(bytes: Bytes, { at, end }: FoundRecord): T {
  return JSON.parse(fromUtf8(bytes, at + RECORD_HEAD_BYTES, end) ?? "") as T;
}

/** Ascending numbers as runs. */
export function runsOf(seqs: Iterable<number>): number[] {
  const runs: number[] = [];
  let next = NaN;
  for (const seq of seqs) {
    if (seq !== next) runs.push(seq, 0);
    runs[runs.length - 1]!++;
    next = seq + 1;
  }
  return runs;
}

/** The numbers of runs. */
export function* numbersOf(runs: Runs): Generator<number> {
  for (let n = 0; n < runs.length; n += 2) {
    for (let seq = runs[n]!; seq < runs[n]! + runs[n + 1]!; seq++) yield seq;
  }
}
