import type { Bytes } from "../../base/bytes.ts";
import { messageOf } from "../../base/errors.ts";
import type { Log } from "../../base/log.ts";
import { decodeCheckpoint, type SegmentState } from "./checkpoint.ts";
import type { Contents } from "./contents.ts";
import { asStorageError, DAMAGED, type Folder, unusable } from "./folder.ts";
import {
  type FoundRecord,
  Kind,
  messageHead,
  nextRecord,
  readMessage,
  readRuns,
  type Run,
} from "./record.ts";
import {
  decodeHead,
  FORMAT_VERSION,
  readRecords,
  type Scan,
  Segment,
  SEGMENT_HEAD_BYTES,
  segmentName,
} from "./segment.ts";

/** More numbers than a segment can have: so many are passed over when the last ones may be lost. */
const SKIPPED = 65_536;

/** What was found damaged or missing. */
export interface Losses {
  /** Messages that are gone. */
  lost: number;
  /** Messages that are sent again, for their removal is gone. */
  repeated: number;
  /** Files that are damaged. */
  readonly files: string[];
}

/**
 * Reads the segments of an earlier run. The last one is read at once, for what comes next; then those from the last checkpoint on,
 * which say what lives; then the earlier ones, whose messages can be sent as soon as their segment was read.
 */
export class Recovery {
  /** Whether everything is known. */
  isOver = false;
  readonly losses: Losses = { lost: 0, repeated: 0, files: [] };
  /** Of all segments, or of those that were read. */
  spoolId: number | undefined;
  #contents: Contents;
  /** Removed by records that were read before the messages. */
  readonly #tombstones = new Set<number>();
  /** Numbers that no message has, until it is known whether they were removed. */
  readonly #missing: Run[] = [];
  /** The last segment, as it was before this run wrote to it. */
  #tail: { readonly segment: Segment; readonly bytes: Bytes } | undefined;
  #isLivenessKnown = false;
  #isStopped = false;
  #progress = Promise.withResolvers<void>();

  constructor(
    contents: Contents,
    private readonly folder: Folder,
    private readonly log: Log,
  ) {
    this.#contents = contents;
  }

  /** Messages up to here, without it, are all known; those behind it have to wait. */
  get frontier(): number {
    if (!this.#isLivenessKnown) return 0;
    let first = Infinity;
    for (const { runs } of this.#contents.unread.values()) {
      first = Math.min(first, runs[0]?.first ?? Infinity);
    }
    return first;
  }

  /** Resolves when the frontier has moved. */
  get progress(): Promise<void> {
    return this.#progress.promise;
  }

  /**
   * Looks at the first bytes of each file, and reads the last one; whether it can be written on.
   *
   * @throws {ExitError} 73 for a file that is none of the spool's, or of another version: nothing was touched then.
   */
  async begin(): Promise<Segment | undefined> {
    const firsts = this.folder.segments();
    for (const first of firsts) await this.#checkHead(first);
    firsts.forEach((first, id) => this.#contents.segments.set(id, new Segment(id, first)));
    const last = [...this.#contents.segments.values()].at(-1);
    if (last === undefined) {
      this.spoolId = crypto.getRandomValues(new Uint32Array(1))[0]!;
      return undefined;
    }
    const bytes = await this.#read(last);
    this.#contents.nextSeq = Math.max(1, last.first);
    const scan = readRecords(bytes, this.spoolId, (record) => this.#lookAt(last, bytes, record));
    this.#tail = { segment: last, bytes: bytes.subarray(0, scan.end) };
    last.used = scan.end;
    const isSound = this.#judge(last, bytes, scan);
    if (!isSound || scan.isTorn) this.#contents.nextSeq += SKIPPED;
    if (isSound && scan.isTorn) this.#keepTorn(last);
    return isSound ? last : undefined;
  }

  /** Reads everything. @param own Segments from this id on are of this run. */
  async run(own: number): Promise<void> {
    const old = [...this.#contents.segments.values()].filter(({ id }) => id < own);
    const from = await this.#lastCheckpoint(old);
    for (const segment of old.slice(from)) this.#replay(segment, await this.#read(segment));
    this.#isLivenessKnown = true;
    for (const run of this.#missing) this.#countLost(run);
    const isThere = new Set(old.map(({ first }) => first));
    for (const state of [...this.#contents.unread.values()]) {
      if (!isThere.has(state.first)) this.#finish(state);
    }
    this.#advance();
    for (const segment of old.slice(0, from)) {
      const state = this.#contents.unread.get(segment.first);
      if (state === undefined) continue;
      if (this.#isStopped) break;
      this.#collect(segment, state, await this.#read(segment));
      this.#advance();
    }
    this.#tombstones.clear();
    this.isOver = true;
    this.#advance();
  }

  /** Reads no further. */
  stop(): void {
    this.#isStopped = true;
  }

  #advance(): void {
    const { resolve } = this.#progress;
    this.#progress = Promise.withResolvers<void>();
    resolve();
  }

  async #checkHead(first: number): Promise<void> {
    const name = segmentName(first);
    using file = await Deno.open(this.folder.path(name), { read: true });
    const bytes = new Uint8Array(SEGMENT_HEAD_BYTES);
    const length = await file.read(bytes) ?? 0;
    const head = decodeHead(bytes.subarray(0, length));
    if (head.is === "sound") this.spoolId ??= head.spoolId;
    if (head.is === "unknown version") {
      const why = `version of ${name} must be ${FORMAT_VERSION}, got ${head.version}`;
      throw unusable(this.folder.dir, why);
    }
    if (head.is !== "damaged" || length < SEGMENT_HEAD_BYTES) return;
    const whole = await Deno.readFile(this.folder.path(name));
    const record = nextRecord(whole, 0, undefined);
    this.spoolId ??= record?.spoolId;
    if (record === undefined && whole.some((byte) => byte !== 0)) {
      throw unusable(this.folder.dir, `${name} must be a segment of a spool, got another file`);
    }
  }

  /** The bytes of a segment; none when the disk does not give them. */
  async #read(segment: Segment): Promise<Bytes> {
    if (segment === this.#tail?.segment) return this.#tail.bytes;
    try {
      return await Deno.readFile(this.folder.path(segmentName(segment.first)));
    } catch (error) {
      this.log.error("cannot read a part of the spool", { error: asStorageError(error).message });
      return new Uint8Array(0);
    }
  }

  /** What the last segment says of what comes next. */
  #lookAt(last: Segment, bytes: Bytes, record: FoundRecord): void {
    const contents = this.#contents;
    if (record.kind === Kind.REMOVAL) {
      last.removed = record.seq + countOf(readRuns(bytes, record));
      return;
    }
    const at = isMessage(record)
      ? messageHead(bytes, record).acceptedAt
      : decodeCheckpoint(bytes, record).newestAt;
    contents.newestAt = Math.max(contents.newestAt, at);
    contents.nextSeq = Math.max(contents.nextSeq, record.seq + (isMessage(record) ? 1 : 0));
  }

  /** The place of the last segment with a checkpoint; 0 when there is none. */
  async #lastCheckpoint(segments: readonly Segment[]): Promise<number> {
    for (let place = segments.length - 1; place > 0; place--) {
      let found = false;
      readRecords(await this.#read(segments[place]!), this.spoolId, ({ kind }) => {
        found ||= kind === Kind.CHECKPOINT;
      });
      if (found) return place;
    }
    return 0;
  }

  /** Does again what the records of a segment say. */
  #replay(segment: Segment, bytes: Bytes): void {
    let next = segment.first;
    let removed = 0;
    const scan = readRecords(bytes, this.spoolId, (record) => {
      if (isMessage(record)) {
        if (record.seq > next) this.#missing.push({ first: next, count: record.seq - next });
        next = Math.max(next, record.seq + 1);
        this.#found(segment, bytes, record);
      } else if (record.kind === Kind.REMOVAL) {
        const runs = readRuns(bytes, record);
        this.losses.repeated += Math.max(0, record.seq - removed);
        removed = record.seq + countOf(runs);
        for (const run of runs) this.#remove(run);
      } else if (record.kind === Kind.CHECKPOINT) {
        this.#restart(segment, decodeCheckpoint(bytes, record).segments);
      }
    });
    this.#settle(segment, bytes, scan);
  }

  /** A checkpoint says what lives in earlier segments: what was read of that before does not count. */
  #restart(segment: Segment, states: readonly SegmentState[]): void {
    this.#contents.expect(states);
    this.#tombstones.clear();
    segment.isCheckpointed = true;
  }

  /** Takes in what lives in a segment before the last checkpoint. */
  #collect(segment: Segment, state: SegmentState, bytes: Bytes): void {
    const { runs } = state;
    let place = 0;
    const scan = readRecords(bytes, this.spoolId, (record) => {
      if (!isMessage(record)) return;
      while (place > 0 && runs[place]!.first > record.seq) place--;
      while (place < runs.length - 1 && runs[place]!.first + runs[place]!.count <= record.seq) {
        place++;
      }
      const run = runs[place];
      if (run === undefined || record.seq < run.first || record.seq >= run.first + run.count) {
        return;
      }
      // Of two records in this segment the later one counts.
      const { id } = this.#contents.segmentOf(record.seq) ?? segment;
      if (id === segment.id && !this.#tombstones.has(record.seq)) {
        this.#found(segment, bytes, record);
      }
    });
    this.#settle(segment, bytes, scan);
    this.#finish(state);
  }

  /** A segment is read: what it should have held and does not is lost. */
  #finish(state: SegmentState): void {
    this.#contents.wasRead(state);
    for (const run of state.runs) this.#countLost(run);
  }

  #countLost({ first, count }: Run): void {
    for (let seq = first; seq < first + count; seq++) {
      if (!this.#tombstones.has(seq) && !this.#contents.has(seq)) this.losses.lost++;
    }
  }

  #found(segment: Segment, bytes: Bytes, record: FoundRecord): void {
    const { seq, at, end } = record;
    const { acceptedAt, isQos0, size } = messageHead(bytes, record);
    const entry = { seq, segment: segment.id, offset: at, length: end - at, isQos0, acceptedAt };
    if (record.kind === Kind.MESSAGE) return this.#contents.place(entry);
    const { record: { topic }, reason } = readMessage(bytes, record);
    this.#contents.hold({ seq, topic, reason, size, entry });
  }

  #remove({ first, count }: Run): void {
    for (let seq = first; seq < first + count; seq++) {
      this.#contents.remove(seq);
      this.#tombstones.add(seq);
    }
  }

  #settle(segment: Segment, bytes: Bytes, scan: Scan): void {
    if (segment === this.#tail?.segment) return;
    segment.used = scan.end;
    this.#judge(segment, bytes, scan);
  }

  /** Whether a segment is as it was written; the last one may be torn. */
  #judge(segment: Segment, bytes: Bytes, { gaps, isTorn }: Scan): boolean {
    const isLast = segment === this.#tail?.segment;
    const isSound = gaps.length === 0 && decodeHead(bytes).is === "sound" && (isLast || !isTorn);
    if (isSound) return true;
    segment.isDamaged = true;
    this.losses.files.push(`${this.folder.dir}/${DAMAGED}/${segmentName(segment.first)}`);
    return false;
  }

  #keepTorn({ first }: Segment): void {
    const name = segmentName(first);
    try {
      this.folder.keepDamaged(name, "copy");
    } catch (error) {
      this.log.warn("cannot keep a copy of the spool's end", { error: messageOf(error) });
    }
    const kept = `${this.folder.dir}/${DAMAGED}/${name}`;
    this.log.warn("the end of the spool was cut off, as by a loss of power", { kept });
  }
}

function isMessage({ kind }: FoundRecord): boolean {
  return kind === Kind.MESSAGE || kind === Kind.QUARANTINED;
}

function countOf(runs: readonly Run[]): number {
  return runs.reduce((sum, { count }) => sum + count, 0);
}
