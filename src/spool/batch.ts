import type { AppendDone } from "./spool_types.ts";
import type { NewRecord } from "./storage.ts";

/** Messages that wait for the next commit, and the QoS 0 messages that make room for them. */
export class Batch {
  readonly records: NewRecord[] = [];
  /** One for each record. */
  readonly dones: AppendDone[] = [];
  /** Chosen to go: seq -> size. */
  readonly evictions = new Map<number, number>();
  /** What the new messages count for, in bytes. */
  bytes = 0;
  /** What the evicted ones count for, in bytes. */
  evictedBytes = 0;

  /** Adds a message of `size` bytes. */
  add(record: NewRecord, size: number, done: AppendDone): void {
    this.records.push(record);
    this.dones.push(done);
    this.bytes += size;
  }

  /** Adds messages to evict. */
  evict(chosen: ReadonlyMap<number, number>): void {
    for (const [seq, size] of chosen) {
      this.evictions.set(seq, size);
      this.evictedBytes += size;
    }
  }
}
