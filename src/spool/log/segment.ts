import type { Bytes } from "../../base/bytes.ts";
import { crc32c } from "./crc32c.ts";
import { type FoundRecord, nextRecord, recordAt, sizeOfRecord } from "./record.ts";

/** Bytes of a segment before its first record. */
export const SEGMENT_HEAD_BYTES = 32;

/** The version of the format that is written, and the only one that is read. */
export const FORMAT_VERSION = 1;

const MAGIC = new TextEncoder().encode("iotcspol");

const LIVE = 1;
const QOS0 = 2;
const HELD = 4;

/** The first number of a segment, by its name; `undefined` for other files. */
export function firstOf(name: string): number | undefined {
  return /^\d{16}\.log$/.test(name) ? Number(name.slice(0, 16)) : undefined;
}

/** Where a message is, and what is known of it without reading it. */
export interface Entry {
  readonly seq: number;
  /** Of its record, in bytes. */
  readonly offset: number;
  readonly length: number;
  readonly acceptedAt: number;
  readonly isQos0: boolean;
}

/** A file of the log, with a table of its messages, ascending: 25 bytes each, and room for as many again. */
export class Segment {
  /** Bytes written so far. */
  used = SEGMENT_HEAD_BYTES;
  /** Live messages, with those in quarantine, and what they count for. */
  messages = 0;
  bytes = 0;
  /** Without those in quarantine. */
  qos0Bytes = 0;
  /** How many messages the records in here remove. */
  removed = 0;
  /** Whether a checkpoint in here says what lives in earlier segments. */
  isCheckpointed = false;
  isDamaged = false;
  isBeingRewritten = false;
  isRewritten = false;

  #rows = 0;
  #seq = new Float64Array(16);
  #acceptedAt = new Float64Array(16);
  #offset = new Uint32Array(16);
  #length = new Uint32Array(16);
  #flags = new Uint8Array(16);

  /** @param first The lowest number that a message in it may have. */
  constructor(readonly first: number) {}

  get name(): string {
    return `${String(this.first).padStart(16, "0")}.log`;
  }

  /** The number of the last message, living or not; 0 when there is none. */
  get last(): number {
    return this.#rows === 0 ? 0 : this.#seq[this.#rows - 1]!;
  }

  /** Adds a message; its number must be higher than the last one. */
  push({ seq, offset, length, acceptedAt, isQos0 }: Entry): void {
    if (seq <= this.last) throw new RangeError(`Cannot add ${seq}: last is ${this.last}`);
    if (this.#rows === this.#seq.length) this.#grow(2 * this.#rows);
    const row = this.#rows++;
    this.#seq[row] = seq;
    this.#acceptedAt[row] = acceptedAt;
    this.#offset[row] = offset;
    this.#length[row] = length;
    this.#flags[row] = LIVE | (isQos0 ? QOS0 : 0);
    this.#count(row, 1);
  }

  /** The row of the first message after a number that is to be sent; `undefined` when there is none. */
  after(seq: number, qos0 = false): number | undefined {
    const wanted = LIVE | (qos0 ? QOS0 : 0);
    for (let row = this.#lowerBound(seq + 1); row < this.#rows; row++) {
      if ((this.#flags[row]! & (wanted | HELD)) === wanted) return row;
    }
    return undefined;
  }

  /** The row of a message that lives here. */
  find(seq: number): number | undefined {
    const row = this.#lowerBound(seq);
    return this.#seq[row] === seq && row < this.#rows && this.#flags[row]! & LIVE ? row : undefined;
  }

  entry(row: number): Entry {
    return {
      seq: this.#seq[row]!,
      offset: this.#offset[row]!,
      length: this.#length[row]!,
      acceptedAt: this.#acceptedAt[row]!,
      isQos0: (this.#flags[row]! & QOS0) !== 0,
    };
  }

  /** Forgets a message. */
  remove(row: number): void {
    this.#count(row, -1);
    this.#flags[row] = 0;
  }

  /** Puts a message in quarantine, or takes it out. */
  hold(row: number, isHeld: boolean): void {
    this.#count(row, -1);
    this.#flags[row] = isHeld ? this.#flags[row]! | HELD : this.#flags[row]! & ~HELD;
    this.#count(row, 1);
  }

  /** The numbers of all that lives here. */
  *numbers(): Generator<number> {
    for (let row = 0; row < this.#rows; row++) if (this.#flags[row]! & LIVE) yield this.#seq[row]!;
  }

  /** Live messages are at other offsets from now on: what was dead is not in the file any more. */
  move(offsetOf: (offset: number) => number): void {
    for (let row = 0; row < this.#rows; row++) this.#offset[row] = offsetOf(this.#offset[row]!);
  }

  #count(row: number, sign: 1 | -1): void {
    const size = sign * sizeOfRecord(this.#length[row]!);
    this.messages += sign;
    this.bytes += size;
    if ((this.#flags[row]! & (QOS0 | HELD)) === QOS0) this.qos0Bytes += size;
  }

  #lowerBound(seq: number): number {
    let low = 0;
    let high = this.#rows;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.#seq[middle]! < seq) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  #grow(rows: number): void {
    const grown = <T extends Float64Array | Uint32Array | Uint8Array>(old: T, fresh: T): T => {
      fresh.set(old);
      return fresh;
    };
    this.#seq = grown(this.#seq, new Float64Array(rows));
    this.#acceptedAt = grown(this.#acceptedAt, new Float64Array(rows));
    this.#offset = grown(this.#offset, new Uint32Array(rows));
    this.#length = grown(this.#length, new Uint32Array(rows));
    this.#flags = grown(this.#flags, new Uint8Array(rows));
  }
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
  /** Whether it is as it was written up to there. */
  readonly isSound: boolean;
  /** Whether anything but zeros follows. */
  readonly isTorn: boolean;
}

/** Calls `visit` for each whole record of a segment in order; what is damaged is passed over. */
export function readRecords(
  bytes: Bytes,
  spoolId: number | undefined,
  visit: (record: FoundRecord) => void,
): Scan {
  let isSound = decodeHead(bytes).is === "sound";
  let end = SEGMENT_HEAD_BYTES;
  while (true) {
    let record = recordAt(bytes, end, spoolId);
    if (record === undefined) {
      record = nextRecord(bytes, Math.min(end, bytes.length), spoolId);
      if (record === undefined) break;
      isSound = false;
    }
    visit(record);
    end = record.end;
  }
  return { end, isSound, isTorn: bytes.subarray(end).some((byte) => byte !== 0) };
}
