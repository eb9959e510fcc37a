import { type Bytes, concat } from "../../base/bytes.ts";
import type { Contents } from "./contents.ts";
import type { Folder } from "./folder.ts";
import { Kind } from "./record.ts";
import { encodeHead, readRecords, type Segment } from "./segment.ts";

/** A segment of which less than this part lives is rewritten, unless it is the one that is being sent. */
const SPARSE = 16;

/** Segments may take so many times the bound; then the one with the most dead bytes is rewritten. */
const DISK_FACTOR = 1.25;

/** The segment to rewrite next: a damaged one, one with little in it, or what makes the log too large. */
export function worthRewriting(
  contents: Contents,
  active: Segment,
  maxBytes: number,
): Segment | undefined {
  const sealed = contents.segments.filter((one) => one !== active && !one.isBeingRewritten);
  const dead = ({ used, bytes }: Segment): number => used - bytes;
  const [oldest] = contents.after(0);
  const isSparse = (one: Segment): boolean =>
    one !== oldest?.segment && one.bytes * SPARSE < one.used && !one.isRewritten;
  const worst = sealed.find(({ isDamaged }) => isDamaged) ?? sealed.find(isSparse);
  if (worst !== undefined) return worst;
  if (sealed.reduce((sum, { used }) => sum + used, 0) <= maxBytes * DISK_FACTOR) return undefined;
  return sealed.filter((one) => dead(one) > 0).sort((a, b) => dead(b) - dead(a))[0];
}

/** Leaves nothing in a segment but its live messages: the last checkpoint says what else it said. */
export async function rewrite(
  folder: Folder,
  spoolId: number,
  segment: Segment,
  bytes: Bytes,
): Promise<void> {
  const parts = [encodeHead(spoolId, segment.first)];
  const moved = new Map<number, number>();
  let length = parts[0]!.length;
  readRecords(bytes, spoolId, ({ kind, seq, at, end }) => {
    if (kind !== Kind.MESSAGE || segment.find(seq) === undefined) return;
    moved.set(at, length);
    parts.push(bytes.subarray(at, end));
    length += end - at;
  });
  await folder.replace(segment.name, concat(parts));
  segment.move((offset) => moved.get(offset) ?? 0);
  segment.used = length;
  segment.isRewritten = true;
  segment.isDamaged = false;
}
