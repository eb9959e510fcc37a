import type { Bytes } from "../../base/bytes.ts";
import type { Folder } from "./folder.ts";
import type { Entry } from "./index.ts";
import { readMessage, recordAt, type StoredMessage } from "./record.ts";
import { segmentName } from "./segment.ts";

/** Records further apart are not read in one go, in bytes. */
const MAX_GAP_BYTES = 16_384;

/** A part of a segment, with the messages in it. */
interface Span {
  readonly first: number;
  readonly entries: Entry[];
}

/** Reads messages by where they are; `undefined` for each that is not there whole. Throws what Deno throws. */
export async function readEntries(
  folder: Folder,
  spoolId: number,
  entries: readonly Entry[],
  firstOf: (segment: number) => number,
): Promise<(StoredMessage | undefined)[]> {
  const read: (StoredMessage | undefined)[] = [];
  for (const { first, entries: near } of spansOf(entries, firstOf)) {
    const from = near[0]!.offset;
    const end = near.at(-1)!.offset + near.at(-1)!.length;
    const bytes = await readPart(folder.path(segmentName(first)), from, end - from);
    for (const { seq, offset } of near) {
      const record = recordAt(bytes, offset - from, spoolId);
      read.push(record?.seq === seq ? readMessage(bytes, record) : undefined);
    }
  }
  return read;
}

function spansOf(entries: readonly Entry[], firstOf: (segment: number) => number): Span[] {
  const spans: Span[] = [];
  let last: Entry | undefined;
  for (const entry of entries) {
    const gap = last === undefined ? -1 : entry.offset - last.offset - last.length;
    const isNear = last?.segment === entry.segment && gap >= 0 && gap <= MAX_GAP_BYTES;
    if (isNear) spans.at(-1)!.entries.push(entry);
    else spans.push({ first: firstOf(entry.segment), entries: [entry] });
    last = entry;
  }
  return spans;
}

async function readPart(path: string, from: number, length: number): Promise<Bytes> {
  using file = await Deno.open(path, { read: true });
  await file.seek(from, Deno.SeekMode.Start);
  const bytes = new Uint8Array(length);
  let done = 0;
  while (done < length) {
    const read = await file.read(bytes.subarray(done));
    if (read === null) break;
    done += read;
  }
  return bytes.subarray(0, done);
}
