import type { Quarantined, Usage } from "../storage.ts";
import { type Runs, runsOf, type SegmentState, sizeOfRecord } from "./record.ts";
import type { Entry, Segment } from "./segment.ts";

/** What lives in the log, and where. */
export class Contents {
  /** Ascending; the last one is written to. */
  segments: Segment[] = [];
  /** What is in quarantine, by `seq`. */
  readonly held = new Map<number, Quarantined>();
  /** What lives in segments that are not read yet, by their first number. */
  readonly unread = new Map<number, SegmentState>();
  /** The latest time in the log, in ms of the spool's time. */
  newestAt = 0;
  /** The number of the next message. */
  nextSeq = 1;

  get usage(): Usage {
    const usage = { messages: 0, bytes: 0, qos0Bytes: 0 };
    for (const parts of [this.segments, this.unread.values()]) {
      for (const { messages, bytes, qos0Bytes } of parts) {
        usage.messages += messages;
        usage.bytes += bytes;
        usage.qos0Bytes += qos0Bytes;
      }
    }
    return usage;
  }

  /** The segment of a number, and the row of its message, if that lives. */
  find(seq: number): { readonly segment: Segment; readonly row: number } | undefined {
    const segment = this.segments[this.#placeOf(seq)];
    const row = segment?.find(seq);
    return segment === undefined || row === undefined ? undefined : { segment, row };
  }

  /** Adds a message to a segment. */
  add(segment: Segment, entry: Entry): void {
    segment.push(entry);
    this.newestAt = Math.max(this.newestAt, entry.acceptedAt);
  }

  /** Forgets a message; whether it was there. */
  remove(seq: number): boolean {
    const found = this.find(seq);
    found?.segment.remove(found.row);
    this.held.delete(seq);
    return found !== undefined;
  }

  /** Puts a message in quarantine. */
  hold(seq: number, topic: string, reason: string): void {
    const found = this.find(seq);
    if (found === undefined) return;
    found.segment.hold(found.row, true);
    this.held.set(seq, {
      seq,
      topic,
      reason,
      size: sizeOfRecord(found.segment.entry(found.row).length),
    });
  }

  /** Takes a message out of quarantine. */
  release(seq: number): void {
    const found = this.find(seq);
    if (this.held.delete(seq) && found !== undefined) found.segment.hold(found.row, false);
  }

  /** The messages after a number that are to be sent, ascending; of QoS 0 only, if so wanted. */
  *after(
    seq: number,
    qos0 = false,
  ): Generator<{ readonly segment: Segment; readonly entry: Entry }> {
    for (let place = Math.max(0, this.#placeOf(seq)); place < this.segments.length; place++) {
      const segment = this.segments[place]!;
      if (qos0 && segment.qos0Bytes === 0) continue;
      let row = segment.after(seq, qos0);
      while (row !== undefined) {
        const entry = segment.entry(row);
        yield { segment, entry };
        row = segment.after(entry.seq, qos0);
      }
    }
  }

  /** What lives in each segment but one, for a checkpoint. */
  states(own: Segment): SegmentState[] {
    return this.segments.filter((segment) => segment !== own && segment.messages > 0)
      .map((segment) => {
        const { first, messages, bytes, qos0Bytes } = segment;
        const runs: Runs = runsOf(segment.numbers());
        return { first, messages, bytes, qos0Bytes, runs };
      });
  }

  /** The place of the last segment that begins at a number or before; -1 when there is none. */
  #placeOf(seq: number): number {
    let low = 0;
    let high = this.segments.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.segments[middle]!.first <= seq) low = middle + 1;
      else high = middle;
    }
    return low - 1;
  }
}
