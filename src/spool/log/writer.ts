import { setImmediate } from "node:timers";
import type { Bytes } from "../../base/bytes.ts";
import type { Clock } from "../../base/clock.ts";
import { asStorageError, type Folder, readFrom, SPARE } from "./folder.ts";
import { encodeHead, type Segment } from "./segment.ts";

/** What is written with one call to take up room, and between two turns of the event loop, in bytes. */
const PAGE = new Uint8Array(4_096);
const FILL_BYTES = 65_536;

/** How long after a disk without room for another segment it is looked at again, in ms. */
const RETRY_MS = 1_000;

/** What {@linkcode Writer} needs. */
export interface WriterOptions {
  readonly folder: Folder;
  readonly clock: Clock;
  readonly spoolId: () => number;
  /** The size of a segment, in bytes. */
  readonly segmentBytes: number;
  /** Makes the next segment, with the checkpoint at its head if what lives in earlier ones is known. */
  readonly begin: () => Promise<{ readonly segment: Segment; readonly checkpoint: Bytes }>;
}

/**
 * Appends to the last segment and syncs it. Segments are preallocated, one ahead: a disk that is full takes no message any more, but
 * every removal. What a failed sync leaves behind is not believed, and not synced again: another segment is begun.
 */
export class Writer {
  readonly #options: WriterOptions;
  readonly #spare: Spare;
  #active:
    | { readonly segment: Segment; readonly file: Deno.FsFile; readonly limit: number }
    | undefined;
  /** Written since the last sync. */
  readonly #dirty = new Set<Deno.FsFile>();
  #isNameNew = false;

  constructor(options: WriterOptions) {
    this.#options = options;
    this.#spare = new Spare(options);
  }

  /** The segment that is written to. */
  get segment(): Segment | undefined {
    return this.#active?.segment;
  }

  /** Goes on with a segment of an earlier run; what is behind its last record becomes zero. */
  async resume(segment: Segment): Promise<void> {
    const path = this.#options.folder.path(segment.name);
    const file = await Deno.open(path, { read: true, write: true });
    this.#active = { segment, file, limit: this.#options.segmentBytes };
    const { size } = await file.stat();
    await file.truncate(segment.used);
    await fill(file, segment.used, Math.max(size, this.#options.segmentBytes));
    await file.syncData();
    await file.seek(segment.used, Deno.SeekMode.Start);
  }

  /** Sees to it that so many bytes fit in. @throws {StorageError} full when they are messages and the disk has no room. */
  async reserve(length: number, what: "messages" | "notes"): Promise<void> {
    const active = this.#active;
    if (active === undefined || active.segment.used + length > active.limit) {
      return await this.#rotate();
    }
    // Without another segment at hand, the rest is for removals.
    const isScarce = what === "messages" && active.segment.used + length > active.limit >> 1;
    if (isScarce) await this.#spare.made();
  }

  /** Appends bytes for which there is room; where they begin. */
  write(bytes: Bytes): number {
    const { segment, file } = this.#active!;
    this.#dirty.add(file);
    try {
      for (let done = 0; done < bytes.length;) done += file.writeSync(bytes.subarray(done));
    } catch (error) {
      this.giveUp()?.close();
      throw error;
    }
    const offset = segment.used;
    segment.used += bytes.length;
    return offset;
  }

  /** Makes everything durable that was written. */
  async sync(): Promise<void> {
    try {
      for (const file of this.#dirty) {
        await file.syncData();
        this.#dirty.delete(file);
        if (file !== this.#active?.file) file.close();
      }
      if (this.#isNameNew) await this.#options.folder.sync();
      this.#isNameNew = false;
    } catch (error) {
      this.giveUp()?.close();
      throw error;
    }
  }

  /** Writes no more to the present segment; the next write begins another one. Whoever wants to read it closes the file. */
  giveUp(): Deno.FsFile | undefined {
    const file = this.#active?.file;
    this.#active = undefined;
    for (const old of this.#dirty) if (old !== file) old.close();
    this.#dirty.clear();
    return file;
  }

  /** What was written to the present segment, which is given up: its file is open, wherever it is. */
  async takeBytes(): Promise<Bytes> {
    using file = this.giveUp();
    return file === undefined ? new Uint8Array(0) : await readFrom(file);
  }

  /** There may be room on the disk again. */
  hurry(): void {
    this.#spare.hurry();
  }

  async close(): Promise<void> {
    this.giveUp()?.close();
    await this.#spare.close();
  }

  async #rotate(): Promise<void> {
    const { folder, spoolId, segmentBytes } = this.#options;
    await this.#spare.made();
    const { segment, checkpoint } = await this.#options.begin();
    const file = await this.#spare.take();
    try {
      Deno.renameSync(folder.path(SPARE), folder.path(segment.name));
    } catch (error) {
      file.close();
      throw error;
    }
    const old = this.#active;
    old?.file.truncateSync(old.segment.used);
    if (old !== undefined && !this.#dirty.has(old.file)) old.file.close();
    this.#isNameNew = true;
    // A checkpoint of very many runs leaves room for half a segment all the same.
    const limit = Math.max(segmentBytes, checkpoint.length + (segmentBytes >> 1));
    this.#active = { segment, file, limit };
    segment.used = 0;
    this.write(encodeHead(spoolId(), segment.first));
    if (checkpoint.length > 0) this.write(checkpoint);
    this.#spare.prepare();
  }
}

/** The next segment: its room is taken up before it is needed. */
class Spare {
  #making: Promise<Deno.FsFile> | undefined;
  #retryAt = -Infinity;

  constructor(readonly options: WriterOptions) {}

  /** Begins to take up the room, unless that failed a moment ago. */
  prepare(): void {
    if (this.#making !== undefined) return;
    this.#making = this.#make();
    this.#making.catch(() => this.#retryAt = this.options.clock.now() + RETRY_MS);
  }

  /** Resolves when the room is taken up. @throws {StorageError} */
  async made(): Promise<Deno.FsFile> {
    if (this.options.clock.now() >= this.#retryAt && this.#retryAt > -Infinity) this.hurry();
    this.prepare();
    return await this.#making!;
  }

  /** The file of the next segment, empty. @throws {StorageError} */
  async take(): Promise<Deno.FsFile> {
    const file = await this.made();
    this.#making = undefined;
    await file.seek(0, Deno.SeekMode.Start);
    return file;
  }

  /** What failed may be tried at once. */
  hurry(): void {
    if (this.#retryAt === -Infinity) return;
    this.#retryAt = -Infinity;
    this.#making = undefined;
  }

  async close(): Promise<void> {
    const file = await this.#making?.catch(() => undefined);
    file?.close();
  }

  async #make(): Promise<Deno.FsFile> {
    const { folder, segmentBytes } = this.options;
    let file: Deno.FsFile | undefined;
    try {
      file = await folder.create(SPARE, segmentBytes);
      if ((await file.stat()).size === segmentBytes) return file;
      await fill(file, 0, segmentBytes);
      await file.syncData();
      return file;
    } catch (error) {
      file?.close();
      folder.remove(SPARE);
      throw asStorageError(error);
    }
  }
}

/**
 * Writes zeros from one offset to another, a page at a time: Linux would keep larger writes as larger units, and write such a unit back
 * for each record in it. A file system that stores zeros in no room keeps none in reserve.
 */
async function fill(file: Deno.FsFile, from: number, to: number): Promise<void> {
  await file.seek(from, Deno.SeekMode.Start);
  for (let at = from; at < to;) {
    // Some at once: each takes microseconds.
    const end = Math.min(to, at + FILL_BYTES);
    while (at < end) {
      at += file.writeSync(PAGE.subarray(0, Math.min(to - at, PAGE.length - at % PAGE.length)));
    }
    await new Promise((resolve) => setImmediate(resolve));
  }
}
