import type { SpoolRecord } from "../storage.ts";
import { Contents } from "./contents.ts";
import { asStorageError, Folder, unusable } from "./folder.ts";
import { readMessage, recordAt, sizeOfRecord } from "./record.ts";
import { Recovery } from "./recovery.ts";

/** A message of a stopped daemon's spool. */
export interface LoggedMessage extends SpoolRecord {
  /** Why it is in quarantine. */
  readonly reason?: string;
}

/** What is in the spool of a stopped daemon. */
export interface LogContents {
  readonly messages: number;
  readonly bytes: number;
  readonly quarantined: number;
  readonly segments: number;
  readonly diskBytes: number;
  /** Messages that are gone, and those that come again because their removal is gone. */
  readonly lost: number;
  readonly repeated: number;
  /** Segments that are damaged, or end in the middle of something. */
  readonly files: readonly string[];
}

/**
 * Reads the spool of a stopped daemon and changes nothing: each message in order, those in quarantine too.
 *
 * @throws {ExitError} 73 when a daemon uses it, or it is none
 */
export async function readLog(
  dir: string,
  visit: (message: LoggedMessage) => void,
): Promise<LogContents> {
  const nothing = (): void => {};
  const log = { debug: nothing, info: nothing, warn: nothing, error: nothing };
  using folder = new Folder(dir, log, true);
  const contents = new Contents();
  const recovery = new Recovery(contents, folder, log);
  let diskBytes = 0;
  try {
    await recovery.begin();
    await recovery.run();
    for (const segment of contents.segments) {
      const bytes = await folder.read(segment.name);
      diskBytes += bytes.length;
      for (const seq of segment.numbers()) {
        const { offset, length } = segment.entry(segment.find(seq)!);
        const record = recordAt(bytes, offset, recovery.spoolId);
        if (record === undefined) continue;
        const reason = contents.held.get(seq)?.reason;
        const message = { ...readMessage(bytes, record), seq, size: sizeOfRecord(length) };
        visit(reason === undefined ? message : { ...message, reason });
      }
    }
  } catch (error) {
    if (!(error instanceof Error) || error.name === "ExitError") throw error;
    throw unusable(dir, asStorageError(error).message);
  }
  const torn = recovery.isTorn ? contents.segments.slice(-1) : [];
  const damaged = contents.segments.filter(({ isDamaged }) => isDamaged);
  return {
    ...contents.usage,
    quarantined: contents.held.size,
    segments: contents.segments.length,
    diskBytes,
    lost: recovery.lost,
    repeated: recovery.repeated,
    files: [...new Set([...damaged, ...torn])].map(({ name }) => name),
  };
}
