import type { Bytes } from "../../base/bytes.ts";
import type { Clock, Timer } from "../../base/clock.ts";
import { ExitError } from "../../base/errors.ts";
import type { Log } from "../../base/log.ts";
import { cutReason, sizeOf } from "../policy.ts";
import {
  type Changes,
  type NewRecord,
  type Quarantined,
  type SpoolRecord,
  type SpoolStorage,
  StorageError,
  type Usage,
} from "../storage.ts";
import { encodeCheckpoint } from "./checkpoint.ts";
import { Contents, type Held, sizeOfEntry } from "./contents.ts";
import { asStorageError, Folder, unusable } from "./folder.ts";
import type { Entry } from "./index.ts";
import { readEntries } from "./reader.ts";
import {
  messageBytes,
  RECORD_HEAD_BYTES,
  RUN_BYTES,
  runsOf,
  type StoredMessage,
  writeMessage,
  writeRemoval,
} from "./record.ts";
import { Recovery } from "./recovery.ts";
import { readRecords, Segment, segmentName } from "./segment.ts";
import { Writer } from "./writer.ts";

/** Sizes of a segment, in bytes: a smaller spool has smaller ones. */
const MIN_SEGMENT_BYTES = 524_288;
const MAX_SEGMENT_BYTES = 1_048_576;

/** What is encoded, or copied, at once, in bytes. */
const STEP_BYTES = 262_144;

/** How often it is looked whether the folder is still there, in ms. */
const FOLDER_CHECK_MS = 60_000;

/** A segment of which less than this part lives is copied, unless it is being sent. */
const SPARSE = 16;

/** Files take so many times the bound at most, and two segments. */
const DISK_FACTOR = 1.25;

/** After a segment could not be copied, the next attempt comes so much later at the earliest, in ms. */
const COPY_PAUSE_MS = 1_000;

/** What {@linkcode openLog} needs. */
export interface LogOptions {
  /** The folder; made if it is missing. */
  readonly dir: string;
  /** The bound of the spool, in bytes, which says how large segments are. */
  readonly maxBytes: number;
  readonly clock: Clock;
  readonly log: Log;
}

/**
 * Opens the spool of a folder. What waits in it is read after this resolves; new messages can be stored at once.
 *
 * @throws {ExitError} 73 when a daemon uses it, the folder cannot be used, or holds a file of another program or version.
 */
export async function openLog(options: LogOptions): Promise<SpoolStorage> {
  const folder = new Folder(options.dir, options.log);
  try {
    const contents = new Contents();
    const recovery = new Recovery(contents, folder, options.log);
    const last = await recovery.begin();
    const storage = new LogStorage(options, folder, contents, recovery);
    await storage.start(last);
    return storage;
  } catch (error) {
    folder[Symbol.dispose]();
    throw error instanceof ExitError ? error : unusable(options.dir, asStorageError(error).message);
  }
}

class LogStorage implements SpoolStorage {
  readonly kind = "disk";
  readonly #options: LogOptions;
  readonly #contents: Contents;
  readonly #recovery: Recovery;
  readonly #spoolId: number;
  readonly #segmentBytes: number;
  #folder: Folder;
  #writer: Writer;
  /** What writes does so alone, one after another. */
  #queue: Promise<unknown> = Promise.resolve();
  #recovered: Promise<void> = Promise.resolve();
  #nextId: number;
  /** Written, and answered as failed: removed with the next removals, should they have reached the disk. */
  #voided: number[] = [];
  #reading = 0;
  #isCopying = false;
  #copyAfter = -Infinity;
  #isFolderGone = false;
  #check: Timer | undefined;
  #closed = false;

  constructor(options: LogOptions, folder: Folder, contents: Contents, recovery: Recovery) {
    this.#options = options;
    this.#folder = folder;
    this.#contents = contents;
    this.#recovery = recovery;
    this.#spoolId = recovery.spoolId!;
    const part = Math.floor(options.maxBytes / 8);
    this.#segmentBytes = Math.max(MIN_SEGMENT_BYTES, Math.min(MAX_SEGMENT_BYTES, part));
    this.#nextId = contents.segments.size;
    this.#writer = this.#makeWriter();
  }

  get usage(): Usage {
    return this.#contents.usage;
  }

  get newestAt(): number {
    return this.#contents.newestAt;
  }

  /** Gets ready to write, and begins to read what is there. @param last What may be written on. */
  async start(last: Segment | undefined): Promise<void> {
    const own = this.#nextId;
    try {
      if (last === undefined) await this.#writer.reserve(0, "messages");
      else await this.#writer.resume(last);
    } catch (error) {
      await this.#writer.close();
      // A full disk must be drained all the same.
      if (own === 0 || !asStorageError(error).full) throw error;
    }
    this.#watchFolder();
    this.#recovered = this.#recover(own);
  }

  commit(changes: Changes): Promise<readonly number[]> {
    return this.#alone(() => this.#commit(changes));
  }

  async read(afterSeq: number, limit: number, maxBytes: number): Promise<readonly SpoolRecord[]> {
    this.#reading++;
    try {
      while (true) {
        const { progress } = this.#recovery;
        const entries = this.#next(afterSeq, limit, maxBytes);
        if (entries.length > 0) {
          const records = await this.#load(entries);
          if (records.length > 0) return records;
        } else if (this.#recovery.isOver || this.#closed) return [];
        else await progress;
      }
    } catch (error) {
      if (error instanceof Deno.errors.NotFound) this.#lookForFolder();
      throw asStorageError(error);
    } finally {
      this.#reading--;
      this.#tidy();
    }
  }

  readQos0(afterSeq: number, limit: number): { seq: number; size: number }[] {
    const found: { seq: number; size: number }[] = [];
    for (const entry of this.#contents.index.qos0After(afterSeq)) {
      if (found.length >= limit) break;
      found.push({ seq: entry.seq, size: sizeOfEntry(entry) });
    }
    return found;
  }

  oldestAcceptedAt(): number | undefined {
    for (const { acceptedAt } of this.#contents.index.after(0)) return acceptedAt;
    return undefined;
  }

  quarantined(): readonly Quarantined[] {
    return [...this.#contents.quarantined.values()]
      .map(({ seq, topic, reason, size }) => ({ seq, topic, reason, size }))
      .sort((a, b) => a.seq - b.seq);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#check?.cancel();
    this.#recovery.stop();
    await this.#recovered;
    await this.#alone(() => this.#writer.close());
    this.#folder[Symbol.dispose]();
  }

  #makeWriter(): Writer {
    return new Writer({
      folder: this.#folder,
      clock: this.#options.clock,
      spoolId: this.#spoolId,
      segmentBytes: this.#segmentBytes,
      begin: () => this.#beginSegment(),
    });
  }

  /** Runs what writes, after what writes now. */
  #alone<T>(run: () => Promise<T>): Promise<T> {
    const result = this.#queue.then(run);
    this.#queue = result.then(() => {}, () => {});
    return result;
  }

  async #commit({ append, remove, quarantine = [], release = [] }: Changes): Promise<number[]> {
    if (this.#closed) throw new StorageError("the spool is closed");
    const contents = this.#contents;
    const fresh: Entry[] = [];
    const held: Held[] = [];
    const released: Entry[] = [];
    const removed = remove.filter((seq) => contents.has(seq));
    try {
      if (this.#isFolderGone) await this.#remakeFolder();
      await this.#append(append, fresh);
      for (const { seq, reason } of quarantine) await this.#hold(seq, cutReason(reason), held);
      for (const seq of release) await this.#release(seq, released);
      await this.#remove([...removed, ...this.#voided]);
      await this.#writer.sync();
    } catch (error) {
      this.#voided.push(...fresh.map(({ seq }) => seq));
      if (error instanceof Deno.errors.NotFound) this.#lookForFolder();
      throw asStorageError(error);
    }
    this.#voided = [];
    for (const entry of [...fresh, ...released]) contents.place(entry);
    for (const one of held) contents.hold(one);
    for (const seq of removed) contents.remove(seq);
    this.#tidy();
    return fresh.map(({ seq }) => seq);
  }

  /** Writes new messages, each step with one call. */
  async #append(records: readonly NewRecord[], written: Entry[]): Promise<void> {
    let to = 0;
    while (to < records.length) {
      const from = to;
      let length = 0;
      do length += messageBytes(records[to++]!); while (
        to < records.length && length + messageBytes(records[to]!) <= STEP_BYTES
      );
      const most = this.#writer.maxRecordBytes;
      if (length > most) {
        throw new StorageError(`message must be at most ${most} bytes, got ${length}`);
      }
      await this.#writer.reserve(length, "messages");
      const bytes = new Uint8Array(length);
      const ends: number[] = [0];
      for (let n = from; n < to; n++) {
        const seq = this.#contents.nextSeq++;
        ends.push(writeMessage(bytes, ends.at(-1)!, this.#spoolId, seq, records[n]!));
      }
      const segment = this.#writer.segment!.id;
      const start = this.#contents.nextSeq - (to - from);
      const offset = this.#writer.write(bytes);
      for (let n = from; n < to; n++) {
        const at = ends[n - from]!;
        const { qos, acceptedAt } = records[n]!;
        written.push({
          seq: start + n - from,
          segment,
          offset: offset + at,
          length: ends[n - from + 1]! - at,
          isQos0: qos === 0,
          acceptedAt,
        });
      }
    }
  }

  /** Writes a message again, with the reason of its quarantine. */
  async #hold(seq: number, reason: string, held: Held[]): Promise<void> {
    const before = this.#contents.index.get(seq);
    const stored = before === undefined ? undefined : await this.#readOne(before);
    if (stored === undefined) return;
    const { topic, payload } = stored.record;
    const entry = await this.#rewrite(before!, stored.record, reason);
    held.push({ seq, topic, reason, size: sizeOf(topic, payload.length), entry });
  }

  /** Writes a message again, without a reason. */
  async #release(seq: number, released: Entry[]): Promise<void> {
    const before = this.#contents.quarantined.get(seq)?.entry;
    const stored = before === undefined ? undefined : await this.#readOne(before);
    if (stored !== undefined) released.push(await this.#rewrite(before!, stored.record));
  }

  async #rewrite(before: Entry, record: NewRecord, reason?: string): Promise<Entry> {
    const bytes = new Uint8Array(messageBytes(record, reason));
    writeMessage(bytes, 0, this.#spoolId, before.seq, record, reason);
    await this.#writer.reserve(bytes.length, "removals");
    const offset = this.#writer.write(bytes);
    return { ...before, segment: this.#writer.segment!.id, offset, length: bytes.length };
  }

  async #remove(seqs: readonly number[]): Promise<void> {
    const runs = runsOf(seqs);
    const most = Math.floor(STEP_BYTES / RUN_BYTES);
    for (let from = 0; from < runs.length; from += most) {
      const part = runs.slice(from, from + most);
      const bytes = new Uint8Array(RECORD_HEAD_BYTES + RUN_BYTES * part.length);
      await this.#writer.reserve(bytes.length, "removals");
      const segment = this.#writer.segment!;
      writeRemoval(bytes, 0, this.#spoolId, segment.removed, part);
      this.#writer.write(bytes);
      segment.removed += part.reduce((sum, { count }) => sum + count, 0);
    }
  }

  /** The segment that comes next, with what lives in the others, as soon as that is known. */
  async #beginSegment(): Promise<{ segment: Segment; checkpoint: Bytes }> {
    if (this.#folder.isReplaced()) {
      this.#lookForFolder();
      throw new StorageError("the folder of the spool is gone");
    }
    // Who has nothing to write to cannot wait for that.
    if (this.#writer.segment !== undefined) await this.#recovered;
    const contents = this.#contents;
    for (const { first } of contents.segments.values()) {
      if (first === contents.nextSeq) contents.nextSeq++;
    }
    const segment = new Segment(this.#nextId++, contents.nextSeq);
    contents.segments.set(segment.id, segment);
    segment.isCheckpointed = this.#recovery.isOver;
    return {
      segment,
      checkpoint: this.#recovery.isOver ? this.#checkpoint(segment) : new Uint8Array(0),
    };
  }

  /** A checkpoint for the head of a segment, or its middle. */
  #checkpoint(segment: Segment): Bytes {
    const { newestAt, nextSeq } = this.#contents;
    const segments = this.#contents.states(segment);
    return encodeCheckpoint(this.#spoolId, nextSeq, { newestAt, segments });
  }

  async #recover(own: number): Promise<void> {
    const { log } = this.#options;
    await this.#recovery.run(own);
    const { lost, repeated, files } = this.#recovery.losses;
    if (lost > 0 || repeated > 0 || files.length > 0) {
      const { messages: read } = this.usage;
      log.error("the spool was damaged", { read, lost, repeated, kept: files.join(" ") });
    }
    this.#inBackground(() => this.#writeCheckpoint());
  }

  /** The segment in use gets a checkpoint, if it began before one could be written. */
  async #writeCheckpoint(): Promise<void> {
    const segment = this.#writer.segment;
    if (segment !== undefined && !segment.isCheckpointed) {
      const bytes = this.#checkpoint(segment);
      await this.#writer.reserve(bytes.length, "removals");
      if (segment === this.#writer.segment) this.#writer.write(bytes);
      await this.#writer.sync();
      segment.isCheckpointed = true;
    }
    this.#tidy();
  }

  /** Does what no client waits for; what fails here is tried again when something was stored. */
  #inBackground(run: () => Promise<void>): void {
    this.#alone(async () => {
      if (!this.#closed) await run();
    }).catch((error) => {
      this.#options.log.debug("cannot tidy the spool", { error: asStorageError(error).message });
    });
  }

  /** Messages that can be handed out, as many as may be read at once. */
  #next(afterSeq: number, limit: number, maxBytes: number): Entry[] {
    const { frontier } = this.#recovery;
    const entries: Entry[] = [];
    let bytes = 0;
    for (const entry of this.#contents.index.after(afterSeq)) {
      bytes += sizeOfEntry(entry);
      if (entry.seq >= frontier || entries.length >= limit) break;
      if (entries.length > 0 && bytes > maxBytes) break;
      entries.push(entry);
    }
    return entries;
  }

  #read(entries: readonly Entry[]): Promise<(StoredMessage | undefined)[]> {
    const first = (id: number): number => this.#contents.segments.get(id)!.first;
    return readEntries(this.#folder, this.#spoolId, entries, first);
  }

  async #readOne(entry: Entry): Promise<StoredMessage | undefined> {
    return (await this.#read([entry]))[0];
  }

  /** The messages of entries that are still there; what was damaged since is lost, and said. */
  async #load(entries: readonly Entry[]): Promise<SpoolRecord[]> {
    const stored = await this.#read(entries);
    const records: SpoolRecord[] = [];
    entries.forEach((entry, n) => {
      const { seq } = entry;
      if (this.#contents.index.get(seq) === undefined) return;
      if (stored[n] !== undefined) {
        records.push({ ...stored[n].record, seq, size: sizeOfEntry(entry) });
      } else if (this.#contents.remove(seq)) {
        this.#contents.segments.get(entry.segment)!.isDamaged = true;
        this.#options.log.error("a message in the spool is damaged and lost", { seq });
      }
    });
    return records;
  }

  /** Deletes segments that nothing lives in, and moves what lives in one that is not worth keeping. */
  #tidy(): void {
    const active = this.#writer.segment;
    if (this.#closed || this.#isFolderGone || !this.#recovery.isOver || !active?.isCheckpointed) {
      return;
    }
    if (this.#reading === 0) this.#deleteEmpty(active);
    const isPausing = this.#options.clock.now() < this.#copyAfter;
    const segment = isPausing || this.#isCopying ? undefined : this.#notWorthKeeping(active);
    if (segment === undefined) return;
    this.#isCopying = true;
    this.#copyAfter = this.#options.clock.now() + COPY_PAUSE_MS;
    this.#inBackground(async () => {
      try {
        await this.#copyForward(segment);
        this.#copyAfter = -Infinity;
      } finally {
        this.#isCopying = false;
      }
      this.#tidy();
    });
  }

  #deleteEmpty(active: Segment): void {
    for (const segment of this.#contents.segments.values()) {
      if (segment === active || segment.messages > 0) continue;
      const name = segmentName(segment.first);
      try {
        if (segment.isDamaged) this.#folder.keepDamaged(name, "move");
        else this.#folder.remove(name);
      } catch (error) {
        this.#options.log.debug("cannot delete a segment", {
          error: asStorageError(error).message,
        });
        return;
      }
      this.#contents.segments.delete(segment.id);
      this.#writer.hurry();
    }
  }

  /** A damaged segment, one with little in it that is not being sent, or the emptiest one when the disk holds too much. */
  #notWorthKeeping(active: Segment): Segment | undefined {
    const sealed = [...this.#contents.segments.values()].filter((one) => one !== active);
    const [oldest] = this.#contents.index.after(0);
    const isSparse = ({ id, bytes, used }: Segment): boolean =>
      bytes * SPARSE < used && id !== oldest?.segment;
    const worst = sealed.find(({ isDamaged }) => isDamaged) ?? sealed.find(isSparse);
    if (worst !== undefined) return worst;
    const onDisk = sealed.reduce((sum, { used }) => sum + Math.max(used, this.#segmentBytes), 0);
    if (onDisk <= this.#options.maxBytes * DISK_FACTOR) return undefined;
    return sealed.sort((a, b) => a.bytes - b.bytes)[0];
  }

  /** Copies what lives in a segment to the one in use, a part at a time. */
  async #copyForward(segment: Segment): Promise<void> {
    const bytes = await Deno.readFile(this.#folder.path(segmentName(segment.first)));
    await this.#copyLive(segment, bytes, STEP_BYTES);
  }

  /** Copies up to so many bytes of live records. */
  async #copyLive(segment: Segment, bytes: Bytes, most: number): Promise<void> {
    const live: Entry[] = [];
    let length = 0;
    readRecords(bytes, this.#spoolId, ({ seq, at, end }) => {
      const entry = this.#contents.entryOf(seq);
      if (entry?.segment !== segment.id || entry.offset !== at) return;
      if (live.length > 0 && length + end - at > most) return;
      live.push(entry);
      length += end - at;
    });
    if (live.length === 0) return;
    await this.#writer.reserve(length, "messages");
    const copy = new Uint8Array(length);
    let at = 0;
    for (const { offset, length } of live) {
      copy.set(bytes.subarray(offset, offset + length), at);
      at += length;
    }
    at = this.#writer.write(copy);
    const { id } = this.#writer.segment!;
    await this.#writer.sync();
    for (const entry of live) {
      this.#moved({ ...entry, segment: id, offset: at });
      at += entry.length;
    }
  }

  #moved(entry: Entry): void {
    const held = this.#contents.quarantined.get(entry.seq);
    if (held === undefined) this.#contents.place(entry);
    else this.#contents.hold({ ...held, entry });
  }

  #watchFolder(): void {
    this.#check = this.#options.clock.after(FOLDER_CHECK_MS, () => {
      this.#lookForFolder();
      this.#watchFolder();
    });
  }

  /** Looks whether the folder is where it was; what is written to one that is gone would not be safe. */
  #lookForFolder(): void {
    if (this.#isFolderGone || !this.#folder.isReplaced()) return;
    this.#isFolderGone = true;
    const { log, dir } = this.#options;
    log.error("the spool's folder was removed or replaced: it is made again", { path: dir });
    this.#inBackground(() => this.#remakeFolder());
  }

  /** Makes the folder again, with what can still be read of it: the segment in use is open. */
  async #remakeFolder(): Promise<void> {
    if (!this.#isFolderGone) return;
    await this.#recovered;
    const { dir, log } = this.#options;
    let folder: Folder;
    try {
      folder = new Folder(dir, log);
    } catch (error) {
      throw new StorageError((error as Error).message);
    }
    const contents = this.#contents;
    const segment = this.#writer.segment;
    const bytes = await this.#salvage();
    const before = contents.usage.messages;
    for (const { seq, segment: id } of [...contents.index.after(0)]) {
      if (id !== segment?.id) contents.remove(seq);
    }
    for (const { seq, entry } of [...contents.quarantined.values()]) {
      if (entry.segment !== segment?.id) contents.remove(seq);
    }
    this.#folder[Symbol.dispose]();
    this.#folder = folder;
    this.#writer = this.#makeWriter();
    this.#isFolderGone = false;
    if (segment !== undefined) await this.#copyLive(segment, bytes, Infinity);
    for (const old of contents.segments.values()) {
      if (old !== this.#writer.segment) contents.segments.delete(old.id);
    }
    const lost = before - contents.usage.messages;
    if (lost > 0) log.error("messages were lost with the spool's folder", { lost });
  }

  /** The bytes of the segment in use, which is given up. */
  async #salvage(): Promise<Bytes> {
    const length = this.#writer.segment?.used ?? 0;
    using file = this.#writer.giveUp();
    await this.#writer.close();
    const bytes = new Uint8Array(length);
    if (file === undefined) return bytes;
    await file.seek(0, Deno.SeekMode.Start);
    for (let done = 0; done < length;) {
      const read = await file.read(bytes.subarray(done));
      if (read === null) break;
      done += read;
    }
    return bytes;
  }
}
