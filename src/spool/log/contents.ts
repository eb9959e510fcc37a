import { OVERHEAD_BYTES } from "../policy.ts";
import type { Quarantined, Usage } from "../storage.ts";
import type { SegmentState } from "./checkpoint.ts";
import { type Entry, Index } from "./index.ts";
import { EMPTY_MESSAGE_BYTES, type Run } from "./record.ts";
import type { Segment } from "./segment.ts";

/** A message in quarantine, and where it is. */
export interface Held extends Quarantined {
  readonly entry: Entry;
}

/** What a message counts for that is not in quarantine, by the length of its record. */
export function sizeOfEntry({ length }: Entry): number {
  return length - EMPTY_MESSAGE_BYTES + OVERHEAD_BYTES;
}

/** What lives in the log, and where. */
export class Contents {
  readonly index = new Index();
  readonly quarantined = new Map<number, Held>();
  /** By id, in the order of the log. */
  readonly segments = new Map<number, Segment>();
  /** What lives in segments that are not read yet, by their first number. */
  readonly unread = new Map<number, SegmentState>();
  /** Of all of them. */
  readonly usage = { messages: 0, bytes: 0, qos0Bytes: 0 } satisfies Usage;
  /** The latest time in the log, in ms of the spool's time. */
  newestAt = 0;
  /** The number of the next message. */
  nextSeq = 1;

  /** These segments, and no others, are still to be read. */
  expect(states: readonly SegmentState[]): void {
    for (const state of [...this.unread.values()]) this.wasRead(state);
    for (const state of states) {
      this.unread.set(state.first, state);
      this.#count(undefined, 1, state.messages, state.bytes, state.qos0Bytes);
    }
  }

  /** What lives in a segment is known by now. */
  wasRead(state: SegmentState): void {
    if (!this.unread.delete(state.first)) return;
    this.#count(undefined, -1, state.messages, state.bytes, state.qos0Bytes);
  }

  /** Whether a message is known. */
  has(seq: number): boolean {
    return this.entryOf(seq) !== undefined;
  }

  /** Where a message is, in quarantine or not. */
  entryOf(seq: number): Entry | undefined {
    return this.quarantined.get(seq)?.entry ?? this.index.get(seq);
  }

  /** The segment that a message is in. */
  segmentOf(seq: number): Segment | undefined {
    const entry = this.entryOf(seq);
    return entry && this.segments.get(entry.segment);
  }

  /** A message that is to be sent is here from now on. */
  place(entry: Entry): void {
    this.remove(entry.seq);
    this.index.set(entry);
    this.#countEntry(entry, 1);
    this.newestAt = Math.max(this.newestAt, entry.acceptedAt);
  }

  /** A message in quarantine is here from now on. */
  hold(held: Held): void {
    this.remove(held.seq);
    this.quarantined.set(held.seq, held);
    this.#count(this.segments.get(held.entry.segment), 1, 1, held.size, 0);
    this.newestAt = Math.max(this.newestAt, held.entry.acceptedAt);
  }

  /** Forgets a message; whether it was there. */
  remove(seq: number): boolean {
    const held = this.quarantined.get(seq);
    if (held !== undefined) {
      this.quarantined.delete(seq);
      this.#count(this.segments.get(held.entry.segment), -1, 1, held.size, 0);
      return true;
    }
    const entry = this.index.remove(seq);
    if (entry === undefined) return false;
    this.#countEntry(entry, -1);
    return true;
  }

  /** What lives where, for a checkpoint; without the segment that it is written to. */
  states(own: Segment): SegmentState[] {
    const runs = new Map<number, { first: number; count: number }[]>();
    const add = (seq: number, segment: number): void => {
      const list = runs.get(segment);
      const last = list?.at(-1);
      if (list === undefined) runs.set(segment, [{ first: seq, count: 1 }]);
      else if (seq === last!.first + last!.count) last!.count++;
      else list.push({ first: seq, count: 1 });
    };
    const held = [...this.quarantined.values()].sort((a, b) => a.seq - b.seq);
    let next = 0;
    this.index.forEach((seq, segment) => {
      for (; next < held.length && held[next]!.seq < seq; next++) {
        add(held[next]!.seq, held[next]!.entry.segment);
      }
      add(seq, segment);
    });
    for (; next < held.length; next++) add(held[next]!.seq, held[next]!.entry.segment);
    runs.delete(own.id);
    return [...runs].map(([id, list]) => stateOf(this.segments.get(id)!, list));
  }

  #countEntry(entry: Entry, sign: 1 | -1): void {
    const size = sizeOfEntry(entry);
    this.#count(this.segments.get(entry.segment), sign, 1, size, entry.isQos0 ? size : 0);
  }

  #count(
    segment: Segment | undefined,
    sign: 1 | -1,
    messages: number,
    bytes: number,
    qos0Bytes: number,
  ): void {
    for (const counted of segment === undefined ? [this.usage] : [segment, this.usage]) {
      counted.messages += sign * messages;
      counted.bytes += sign * bytes;
      counted.qos0Bytes += sign * qos0Bytes;
    }
  }
}

function stateOf({ first, messages, bytes, qos0Bytes }: Segment, runs: Run[]): SegmentState {
  return { first, messages, bytes, qos0Bytes, runs };
}
