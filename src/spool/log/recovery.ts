import type { Bytes } from "../../base/bytes.ts";
import type { Log } from "../../base/log.ts";
import type { Contents } from "./contents.ts";
import { asStorageError, type Folder, unusable } from "./folder.ts";
import {
  type Checkpoint,
  type FoundRecord,
  Kind,
  messageHead,
  nextRecord,
  numbersOf,
  readNote,
  type Runs,
} from "./record.ts";
import {
  decodeHead,
  FORMAT_VERSION,
  readRecords,
  type Scan,
  Segment,
  SEGMENT_HEAD_BYTES,
} from "./segment.ts";

/** More numbers than a segment can have: so many are passed over when the last ones may be lost. */
const SKIPPED = 65_536;

/**
 * Reads the segments of an earlier run, and changes nothing. The last one is read at once, for what comes next; then those from the last checkpoint on,
 * which say what lives; then the earlier ones, whose messages can be sent as soon as their segment was read.
 */
export class Recovery {
  /** Whether everything is known. */
  isOver = false;
  /** Whether the last segment ends in the middle of something. */
  isTorn = false;
  /** Messages that are gone, and those that are sent again because their removal is gone. */
  lost = 0;
  repeated = 0;
  /** Of the spool, as its files say. */
  spoolId: number | undefined;
  /** Removed by records that come behind what is still to be read. */
  readonly #removed = new Set<number>();
  /** In quarantine, with the reason. */
  readonly #held = new Map<number, string>();
  /** The last segment, as it was before this run wrote to it. */
  #tail: { readonly segment: Segment; readonly bytes: Bytes } | undefined;
  #isLivenessKnown = false;
  #isStopped = false;
  #progress = Promise.withResolvers<void>();

  constructor(
    private readonly contents: Contents,
    private readonly folder: Folder,
    private readonly log: Log,
  ) {}

  /** Messages up to here, without it, are all known; those behind it have to wait. */
  get frontier(): number {
    if (!this.#isLivenessKnown) return 0;
    let first = Infinity;
    for (const state of this.contents.unread.values()) first = Math.min(first, state.first);
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
  async begin(): Promise<boolean> {
    const { contents } = this;
    contents.segments = this.folder.segments().map((first) => new Segment(first));
    for (const segment of contents.segments) await this.#checkHead(segment);
    const segment = contents.segments.at(-1);
    if (segment === undefined) return false;
    const bytes = await this.#read(segment);
    contents.nextSeq = Math.max(1, segment.first);
    const scan = readRecords(bytes, this.spoolId, (record) => this.#lookAt(segment, bytes, record));
    this.#tail = { segment, bytes: bytes.subarray(0, scan.end) };
    segment.used = scan.end;
    segment.isDamaged = !scan.isSound && !isBlank(bytes);
    if (!scan.isSound || scan.isTorn) contents.nextSeq += SKIPPED;
    this.isTorn = scan.isTorn;
    return scan.isSound;
  }

  /** Reads everything; the topics of what is in quarantine are still to be read. */
  async run(): Promise<void> {
    const { contents } = this;
    const last = contents.segments.indexOf(this.#tail?.segment as Segment);
    const old = contents.segments.slice(0, last + 1);
    const from = await this.#lastCheckpoint(old);
    const missing: number[] = [];
    for (const segment of old.slice(from)) {
      this.#replay(segment, await this.#read(segment), missing);
    }
    for (const [seq, reason] of this.#held) contents.hold(seq, "", reason);
    this.#isLivenessKnown = true;
    this.#countLost(missing);
    this.#advance();
    const segments = new Map(old.map((segment) => [segment.first, segment]));
    for (const { first, runs } of [...contents.unread.values()]) {
      if (this.#isStopped) break;
      const segment = segments.get(first);
      if (segment !== undefined) this.#collect(segment, runs, await this.#read(segment));
      contents.unread.delete(first);
      this.#countLost(runs);
      this.#advance();
    }
    this.#removed.clear();
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

  async #checkHead({ name }: Segment): Promise<void> {
    const bytes = await this.folder.read(name, 0, SEGMENT_HEAD_BYTES);
    const head = decodeHead(bytes);
    if (head.is === "sound") this.spoolId ??= head.spoolId;
    if (head.is === "unknown version") {
      const why = `version of ${name} must be ${FORMAT_VERSION}, got ${head.version}`;
      throw unusable(this.folder.dir, why);
    }
    if (head.is !== "damaged" || bytes.length < SEGMENT_HEAD_BYTES) return;
    const whole = await this.folder.read(name);
    const record = nextRecord(whole, 0);
    this.spoolId ??= record?.spoolId;
    if (record === undefined && whole.some((byte) => byte !== 0)) {
      throw unusable(this.folder.dir, `${name} must be a segment of a spool, got another file`);
    }
  }

  /** The bytes of a segment; none when the disk does not give them. */
  async #read(segment: Segment): Promise<Bytes> {
    if (segment === this.#tail?.segment) return this.#tail.bytes;
    try {
      return await this.folder.read(segment.name);
    } catch (error) {
      this.log.error("cannot read a part of the spool", { error: asStorageError(error).message });
      return new Uint8Array(0);
    }
  }

  /** What the last segment says of what comes next. */
  #lookAt(last: Segment, bytes: Bytes, record: FoundRecord): void {
    const { contents } = this;
    const { kind, seq } = record;
    if (kind === Kind.MESSAGE) {
      // Now, for messages of this run come behind.
      this.#add(last, bytes, record);
      contents.nextSeq = Math.max(contents.nextSeq, seq + 1);
    } else if (kind === Kind.CHECKPOINT) {
      const { newestAt } = readNote<Checkpoint>(bytes, record);
      contents.newestAt = Math.max(contents.newestAt, newestAt);
      contents.nextSeq = Math.max(contents.nextSeq, seq);
    } else if (kind === Kind.REMOVAL) last.removed = seq + countOf(readNote<Runs>(bytes, record));
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

  /** Does again what the records of a segment say; numbers that should be there and are not go to `missing`. */
  #replay(segment: Segment, bytes: Bytes, missing: number[]): void {
    let next = segment.first;
    let removed = 0;
    const scan = readRecords(bytes, this.spoolId, (record) => {
      const { kind, seq } = record;
      if (kind === Kind.MESSAGE) {
        if (seq > next) missing.push(next, seq - next);
        next = seq + 1;
        if (segment !== this.#tail?.segment) this.#add(segment, bytes, record);
      } else if (kind === Kind.REMOVAL) {
        const runs = readNote<Runs>(bytes, record);
        this.repeated += Math.max(0, seq - removed);
        removed = seq + countOf(runs);
        for (const gone of numbersOf(runs)) this.#remove(gone);
      } else if (kind === Kind.QUARANTINE) this.#held.set(seq, readNote<string>(bytes, record));
      else if (kind === Kind.RELEASE) this.#held.delete(seq);
      else if (kind === Kind.CHECKPOINT) this.#restart(segment, readNote(bytes, record));
    });
    this.#judge(segment, bytes, scan);
  }

  #remove(seq: number): void {
    this.contents.remove(seq);
    this.#removed.add(seq);
    this.#held.delete(seq);
  }

  /** A checkpoint says what lives in earlier segments: what was read of that before does not count. */
  #restart(segment: Segment, { segments, quarantined }: Checkpoint): void {
    this.contents.unread.clear();
    for (const state of segments) this.contents.unread.set(state.first, state);
    this.#removed.clear();
    this.#held.clear();
    for (const [seq, reason] of quarantined) this.#held.set(seq, reason);
    segment.isCheckpointed = true;
  }

  /** Takes in what lives in a segment before the last checkpoint. */
  #collect(segment: Segment, runs: Runs, bytes: Bytes): void {
    const live = numbersOf(runs);
    let next = live.next();
    const scan = readRecords(bytes, this.spoolId, (record) => {
      if (record.kind !== Kind.MESSAGE) return;
      while (!next.done && next.value < record.seq) next = live.next();
      const isLive = !next.done && next.value === record.seq;
      if (isLive && !this.#removed.has(record.seq)) this.#add(segment, bytes, record);
    });
    this.#judge(segment, bytes, scan);
  }

  #add(segment: Segment, bytes: Bytes, record: FoundRecord): void {
    const { seq, at, end } = record;
    if (seq <= segment.last) return;
    const [acceptedAt, isQos0] = messageHead(bytes, record);
    this.contents.add(segment, { seq, offset: at, length: end - at, acceptedAt, isQos0 });
    const reason = this.#held.get(seq);
    if (reason !== undefined && this.#isLivenessKnown) this.contents.hold(seq, "", reason);
  }

  #countLost(runs: Runs): void {
    for (const seq of numbersOf(runs)) {
      if (!this.#removed.has(seq) && this.contents.find(seq) === undefined) this.lost++;
    }
  }

  #judge(segment: Segment, bytes: Bytes, { end, isSound, isTorn }: Scan): void {
    if (segment === this.#tail?.segment) return;
    segment.used = end;
    segment.isDamaged = isTorn || (!isSound && !isBlank(bytes));
  }
}

/** Whether a segment was named and not yet begun when the process ended. */
function isBlank(bytes: Bytes): boolean {
  return bytes.length > 0 && bytes.every((byte) => byte === 0);
}

function countOf(runs: Runs): number {
  return runs.reduce((sum, value, n) => sum + (n % 2) * value, 0);
}
