/**
 * The storage on disk: a log of segments.
 *
 * @module
 */

import { type Bytes, concat } from "../../base/bytes.ts";
import type { Clock, Timer } from "../../base/clock.ts";
import { ExitError, messageOf } from "../../base/errors.ts";
import type { Log } from "../../base/log.ts";
import { cutReason } from "../policy.ts";
import {
  type Changes,
  type NewRecord,
  type Quarantined,
  type SpoolRecord,
  type SpoolStorage,
  StorageError,
  type Usage,
} from "../storage.ts";
import { Contents } from "./contents.ts";
import { asStorageError, Folder, unusable } from "./folder.ts";
import {
  type Checkpoint,
  encodeNote,
  Kind,
  messageBytes,
  readMessage,
  recordAt,
  runsOf,
  sizeOfRecord,
  writeMessage,
} from "./record.ts";
import { Recovery } from "./recovery.ts";
import { rewrite, worthRewriting } from "./rewrite.ts";
import { type Entry, Segment } from "./segment.ts";
import { Writer } from "./writer.ts";

/** Sizes of a segment, in bytes: a smaller spool has smaller ones. */
const MIN_SEGMENT_BYTES = 524_288;
const MAX_SEGMENT_BYTES = 1_048_576;

/** What is written at once, in bytes. */
const STEP_BYTES = 262_144;

/** How often it is looked whether the folder is still there, in ms. */
const FOLDER_CHECK_MS = 60_000;

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
    const storage = new LogStorage(options, folder);
    await storage.start();
    return storage;
  } catch (error) {
    folder[Symbol.dispose]();
    throw error instanceof ExitError ? error : unusable(options.dir, asStorageError(error).message);
  }
}

/** A spool in segments of a log. What writes, and what reads segments that may change, does so one after another. */
class LogStorage implements SpoolStorage {
  readonly kind = "disk";
  readonly #options: LogOptions;
  readonly #segmentBytes: number;
  #contents = new Contents();
  #folder: Folder;
  #recovery: Recovery;
  #spoolId = 0;
  #writer: Writer;
  #queue: Promise<unknown> = Promise.resolve();
  #recovered: Promise<void> = Promise.resolve();
  /** Written, and answered as failed: removed with the next removals, should they have reached the disk. */
  #voided: number[] = [];
  /** The usage before the commit that is under way. */
  #before: Usage | undefined;
  #isFolderGone = false;
  #check: Timer | undefined;
  #closed = false;

  constructor(options: LogOptions, folder: Folder) {
    this.#options = options;
    this.#folder = folder;
    const part = Math.floor(options.maxBytes / 8);
    this.#segmentBytes = Math.max(MIN_SEGMENT_BYTES, Math.min(MAX_SEGMENT_BYTES, part));
    this.#recovery = new Recovery(this.#contents, folder, options.log);
    this.#writer = this.#makeWriter();
  }

  get usage(): Usage {
    return this.#before ?? this.#contents.usage;
  }

  get newestAt(): number {
    return this.#contents.newestAt;
  }

  /** Gets ready to write, and begins to read what is there. */
  async start(): Promise<void> {
    const canGoOn = await this.#recovery.begin();
    this.#spoolId = this.#recovery.spoolId ?? crypto.getRandomValues(new Uint32Array(1))[0]!;
    const last = this.#contents.segments.at(-1);
    if (this.#recovery.isTorn) {
      const kept = this.#folder.keepDamaged(last!.name);
      this.#options.log.warn("the end of the spool was cut off, as by a loss of power", { kept });
    }
    const recovered = this.#recovery.run();
    try {
      if (canGoOn) await this.#writer.resume(last!);
      else await this.#writer.reserve(0, "messages");
    } catch (error) {
      await this.#writer.close();
      // A full disk must be drained all the same.
      if (last === undefined || !asStorageError(error).full) throw error;
    }
    this.#recovered = recovered.then(() => this.#onRecovered());
    this.#watchFolder();
  }

  commit(changes: Changes): Promise<readonly number[]> {
    return this.#alone(() => this.#commit(changes));
  }

  async read(afterSeq: number, limit: number, maxBytes: number): Promise<readonly SpoolRecord[]> {
    while (true) {
      const { progress, isOver } = this.#recovery;
      const records = await this.#alone(() => this.#read(afterSeq, limit, maxBytes));
      if (records.length > 0 || isOver || this.#closed) return records;
      await progress;
    }
  }

  readQos0(afterSeq: number, limit: number): { seq: number; size: number }[] {
    const found: { seq: number; size: number }[] = [];
    for (const { entry: { seq, length } } of this.#contents.after(afterSeq, true)) {
      if (found.length >= limit) break;
      found.push({ seq, size: sizeOfRecord(length) });
    }
    return found;
  }

  oldestAcceptedAt(): number | undefined {
    for (const { entry } of this.#contents.after(0)) return entry.acceptedAt;
    return undefined;
  }

  quarantined(): readonly Quarantined[] {
    return [...this.#contents.held.values()].sort((a, b) => a.seq - b.seq);
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

  /** Runs what writes, or reads what may be written, after what does so now. */
  #alone<T>(run: () => Promise<T>): Promise<T> {
    const result = this.#queue.then(run);
    this.#queue = result.then(() => {}, () => {});
    return result;
  }

  /** Does what no client waits for; what fails is tried again when something was stored. */
  #inBackground(run: () => Promise<void>): void {
    this.#alone(async () => {
      if (!this.#closed) await run();
    }).catch((error) => {
      this.#options.log.debug("cannot tidy the spool", { error: asStorageError(error).message });
    });
  }

  async #commit(changes: Changes): Promise<number[]> {
    const { append, remove, quarantine = [], release = [] } = changes;
    if (this.#closed) throw new StorageError("the spool is closed");
    const fresh: number[] = [];
    this.#before = { ...this.#contents.usage };
    try {
      if (this.#isFolderGone) await this.#remakeFolder();
      const contents = this.#contents;
      const removed = [...new Set(remove)].filter((seq) => contents.find(seq) !== undefined);
      const held = await this.#named(quarantine);
      await this.#append(append, fresh);
      await this.#writeNotes(held, release, [...removed, ...this.#voided]);
      await this.#writer.sync();
      this.#voided = [];
      for (const { seq, topic, reason } of held) contents.hold(seq, topic, reason);
      for (const seq of release) contents.release(seq);
      for (const seq of removed) contents.remove(seq);
      if (removed.length > 0) this.#tidy();
      return fresh;
    } catch (error) {
      for (const seq of fresh) this.#contents.remove(seq);
      this.#voided.push(...fresh);
      if (error instanceof Deno.errors.NotFound) this.#lookForFolder();
      throw asStorageError(error);
    } finally {
      this.#before = undefined;
    }
  }

  /** Writes new messages, each step with one call. A segment that begins in between names those before it in its checkpoint. */
  async #append(records: readonly NewRecord[], written: number[]): Promise<void> {
    for (let from = 0; from < records.length;) {
      let to = from;
      let length = 0;
      do length += messageBytes(records[to++]!); while (
        to < records.length && length + messageBytes(records[to]!) <= STEP_BYTES
      );
      const most = this.#segmentBytes >> 1;
      if (length > most) throw new StorageError(`message must be at most ${most} bytes`);
      await this.#writer.reserve(length, "messages");
      const bytes = new Uint8Array(length);
      const entries: Entry[] = [];
      for (let at = 0; from < to; from++) {
        const seq = this.#contents.nextSeq++;
        const { qos, acceptedAt } = records[from]!;
        const end = writeMessage(bytes, at, this.#spoolId, seq, records[from]!);
        entries.push({ seq, offset: at, length: end - at, acceptedAt, isQos0: qos === 0 });
        at = end;
      }
      const segment = this.#writer.segment!;
      const offset = this.#writer.write(bytes);
      for (const entry of entries) {
        this.#contents.add(segment, { ...entry, offset: offset + entry.offset });
        written.push(entry.seq);
      }
    }
  }

  /** Writes all else that a commit changes, with one call: no segment, and so no checkpoint, begins in between. */
  async #writeNotes(
    held: readonly { readonly seq: number; readonly reason: string }[],
    released: readonly number[],
    removed: readonly number[],
  ): Promise<void> {
    const encode = (kind: number, seq: number, body: unknown): Bytes =>
      encodeNote(this.#spoolId, kind, seq, body);
    const notes = held.map(({ seq, reason }) => encode(Kind.QUARANTINE, seq, reason));
    for (const seq of released) notes.push(encode(Kind.RELEASE, seq, null));
    const runs = runsOf(removed.toSorted((a, b) => a - b));
    const removal = (before: number): Bytes[] =>
      removed.length === 0 ? [] : [encode(Kind.REMOVAL, before, runs)];
    const { length } = concat([...notes, ...removal(0)]);
    if (length === 0) return;
    await this.#writer.reserve(length, "notes");
    const segment = this.#writer.segment!;
    this.#writer.write(concat([...notes, ...removal(segment.removed)]));
    segment.removed += removed.length;
  }

  /** Messages with their topics, which status names. */
  async #named(quarantine: NonNullable<Changes["quarantine"]>) {
    const named: { seq: number; topic: string; reason: string }[] = [];
    for (const { seq, reason } of quarantine) {
      const found = this.#contents.find(seq);
      if (found === undefined) continue;
      const [message] = await this.#load(found.segment, [found.segment.entry(found.row)]);
      if (message !== undefined) {
        named.push({ seq, topic: message.topic, reason: cutReason(reason) });
      }
    }
    return named;
  }

  /** Messages of one segment that can be handed out, as many as may be read at once. */
  async #read(afterSeq: number, limit: number, maxBytes: number): Promise<SpoolRecord[]> {
    const { frontier } = this.#recovery;
    let after = afterSeq;
    while (true) {
      const entries: Entry[] = [];
      let from: Segment | undefined;
      let bytes = 0;
      for (const { segment, entry } of this.#contents.after(after)) {
        bytes += sizeOfRecord(entry.length);
        if (entry.seq >= frontier || entries.length >= limit || segment !== (from ?? segment)) {
          break;
        }
        if (entries.length > 0 && bytes > maxBytes) break;
        entries.push(entry);
        from = segment;
      }
      if (from === undefined) return [];
      const records = await this.#load(from, entries);
      if (records.length > 0) return records;
      after = entries.at(-1)!.seq;
    }
  }

  /** Reads messages of one segment; what was damaged since is lost, and said. */
  async #load(segment: Segment, entries: readonly Entry[]): Promise<SpoolRecord[]> {
    const from = entries[0]!.offset;
    const { offset, length } = entries.at(-1)!;
    let bytes: Bytes;
    try {
      bytes = await this.#folder.read(segment.name, from, offset + length - from);
    } catch (error) {
      this.#lookForFolder();
      throw asStorageError(error);
    }
    const records: SpoolRecord[] = [];
    for (const { seq, offset, length } of entries) {
      const record = recordAt(bytes, offset - from, this.#spoolId);
      if (record?.seq === seq) {
        records.push({ ...readMessage(bytes, record), seq, size: sizeOfRecord(length) });
      } else if (this.#contents.remove(seq)) {
        segment.isDamaged = true;
        this.#options.log.error("a message in the spool is damaged and lost", { seq });
      }
    }
    return records;
  }

  #makeWriter(): Writer {
    return new Writer({
      folder: this.#folder,
      clock: this.#options.clock,
      spoolId: () => this.#spoolId,
      segmentBytes: this.#segmentBytes,
      begin: () => this.#beginSegment(),
    });
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
    if (contents.segments.at(-1)?.first === contents.nextSeq) contents.nextSeq++;
    const segment = new Segment(contents.nextSeq);
    segment.isCheckpointed = this.#recovery.isOver;
    contents.segments.push(segment);
    const checkpoint = segment.isCheckpointed ? this.#checkpoint(segment) : new Uint8Array(0);
    return { segment, checkpoint };
  }

  /** A checkpoint for a segment. */
  #checkpoint(segment: Segment): Bytes {
    const { newestAt, nextSeq, held } = this.#contents;
    const quarantined = [...held.values()].map(({ seq, reason }) => [seq, reason] as const);
    const body: Checkpoint = { newestAt, segments: this.#contents.states(segment), quarantined };
    return encodeNote(this.#spoolId, Kind.CHECKPOINT, nextSeq, body);
  }

  #onRecovered(): void {
    const { lost, repeated } = this.#recovery;
    const damaged = this.#contents.segments.filter(({ isDamaged }) => isDamaged);
    if (lost + repeated + damaged.length > 0) {
      const kept = damaged.map(({ name }) => this.#folder.keepDamaged(name)).join(" ");
      const { messages: read } = this.usage;
      this.#options.log.error("the spool was damaged", { read, lost, repeated, kept });
    }
    this.#inBackground(async () => {
      for (const { seq, topic, reason } of await this.#named(this.quarantined())) {
        this.#contents.hold(seq, topic, reason);
      }
      const segment = this.#writer.segment;
      if (segment?.isCheckpointed === false) {
        const bytes = this.#checkpoint(segment);
        await this.#writer.reserve(bytes.length, "notes");
        if (segment === this.#writer.segment) this.#writer.write(bytes);
        await this.#writer.sync();
        segment.isCheckpointed = true;
      }
      this.#tidy();
    });
  }

  /** Has segments deleted that nothing lives in, and one rewritten that is not worth its room. */
  #tidy(): void {
    const active = this.#writer.segment;
    if (!this.#recovery.isOver || !active?.isCheckpointed) return;
    const worst = worthRewriting(this.#contents, active, this.#options.maxBytes);
    if (worst !== undefined) worst.isBeingRewritten = true;
    else if (!this.#contents.segments.some((one) => this.#isEmpty(one))) return;
    this.#inBackground(async () => {
      if (!this.#writer.segment?.isCheckpointed) return;
      const empty = this.#contents.segments.filter((one) => this.#isEmpty(one));
      for (const { name, isDamaged } of empty) {
        // What could not be read may be readable elsewhere.
        if (isDamaged) this.#folder.keepDamaged(name, "move");
        else this.#folder.remove(name);
      }
      this.#contents.segments = this.#contents.segments.filter((one) => !empty.includes(one));
      if (empty.length > 0) this.#writer.hurry();
      if (worst === undefined || worst.messages === 0) return;
      const bytes = await this.#folder.read(worst.name);
      await rewrite(this.#folder, this.#spoolId, worst, bytes);
      worst.isBeingRewritten = false;
      this.#tidy();
    });
  }

  /** Whether nothing lives in a segment, which is not the one in use at this moment. */
  #isEmpty(segment: Segment): boolean {
    return segment.messages === 0 && segment !== this.#writer.segment;
  }

  #watchFolder(): void {
    this.#check = this.#options.clock.after(FOLDER_CHECK_MS, () => {
      this.#lookForFolder();
      this.#watchFolder();
    });
  }

  /** Looks whether the folder is where it was: what is only in one that is gone is not safe. */
  #lookForFolder(): void {
    if (this.#isFolderGone || !this.#folder.isReplaced()) return;
    this.#isFolderGone = true;
    this.#inBackground(() => this.#remakeFolder());
  }

  /** Makes the folder again, with the messages of the segment in use, which is open; the others are gone. */
  async #remakeFolder(): Promise<void> {
    if (!this.#isFolderGone) return;
    await this.#recovered;
    const { dir, log } = this.#options;
    let folder: Folder;
    try {
      folder = new Folder(dir, log);
    } catch (error) {
      throw new StorageError(messageOf(error));
    }
    const contents = this.#contents;
    const { messages } = contents.usage;
    const active = this.#writer.segment;
    const bytes = await this.#writer.takeBytes();
    await this.#writer.close();
    this.#folder[Symbol.dispose]();
    this.#folder = folder;
    this.#writer = this.#makeWriter();
    contents.segments = active === undefined ? [] : [active];
    for (const seq of contents.held.keys()) if (!contents.find(seq)) contents.held.delete(seq);
    if (active !== undefined) await rewrite(folder, this.#spoolId, active, bytes);
    this.#isFolderGone = false;
    const lost = messages - contents.usage.messages;
    log.error("the spool's folder was removed or replaced: it was made again", { path: dir, lost });
  }
}
