import { cutReason, sizeOf } from "./policy.ts";
import type { Changes, NewRecord, Quarantined, SpoolRecord, SpoolStorage } from "./storage.ts";

/** Removed records at the front that are worth moving the rest for. */
const COMPACT_AT = 1024;

/** A spool that ends with the process. It never fails. */
export class MemoryStorage implements SpoolStorage {
  readonly kind = "memory";
  readonly usage = { messages: 0, bytes: 0, qos0Bytes: 0 };
  onSalvaged: (() => void) | undefined;

  /** The record of `seq` is at `seq - #base`; removed ones leave a hole. */
  #records: (SpoolRecord | undefined)[] = [];
  #base = 1;
  /** Index of the first record that may be present. */
  #head = 0;
  /** Seqs of QoS 0 records, ascending; those removed stay until they come to the front. */
  #qos0: number[] = [];
  #qos0Head = 0;
  readonly #quarantined = new Map<number, SpoolRecord & { readonly reason: string }>();

  commit(changes: Changes): number[] {
    for (const seq of changes.remove) this.#remove(seq);
    return changes.append.map((record) => this.#append(record));
  }

  read(afterSeq: number, limit: number, maxBytes: number): SpoolRecord[] {
    const found: SpoolRecord[] = [];
    let bytes = 0;
    for (let i = this.#indexAfter(afterSeq); i < this.#records.length; i++) {
      if (found.length >= limit) break;
      const record = this.#records[i];
      if (record === undefined) continue;
      bytes += record.size;
      if (found.length > 0 && bytes > maxBytes) break;
      found.push(record);
    }
    return found;
  }

  readQos0(afterSeq: number, limit: number): { seq: number; size: number }[] {
    const found: { seq: number; size: number }[] = [];
    for (let i = this.#qos0Head; i < this.#qos0.length && found.length < limit; i++) {
      const seq = this.#qos0[i]!;
      const record = seq > afterSeq ? this.#records[seq - this.#base] : undefined;
      if (record !== undefined) found.push({ seq, size: record.size });
    }
    return found;
  }

  oldestAcceptedAt(): number | undefined {
    return this.#records[this.#head]?.acceptedAt;
  }

  quarantine(seq: number, reason: string): void {
    const record = this.#take(seq);
    if (record === undefined) return;
    this.#quarantined.set(seq, { ...record, reason: cutReason(reason) });
  }

  quarantined(): readonly Quarantined[] {
    return [...this.#quarantined.values()]
      .map(({ seq, topic, reason, size }) => ({ seq, topic, reason, size }))
      .sort((a, b) => a.seq - b.seq);
  }

  /** Memory is believed: a wrong count here would be a fault of this class. */
  distrust(why: string): void {
    throw new Error(`Cannot trust the memory spool: ${why}`);
  }

  close(): void {
    this.#records = [];
    this.#qos0 = [];
    this.#head = this.#qos0Head = 0;
    this.#quarantined.clear();
  }

  #append(record: NewRecord): number {
    const seq = this.#base + this.#records.length;
    const size = sizeOf(record.topic, record.payload.length);
    this.#records.push({ ...record, seq, size });
    this.usage.messages++;
    this.usage.bytes += size;
    if (record.qos === 0) {
      this.usage.qos0Bytes += size;
      this.#qos0.push(seq);
    }
    return seq;
  }

  #remove(seq: number): void {
    const size = this.#take(seq)?.size ?? this.#quarantined.get(seq)?.size;
    if (size === undefined) return;
    this.#quarantined.delete(seq);
    this.usage.messages--;
    this.usage.bytes -= size;
  }

  /** Takes a record out of the order; it still counts. */
  #take(seq: number): SpoolRecord | undefined {
    const index = seq - this.#base;
    const record = this.#records[index];
    if (record === undefined) return undefined;
    this.#records[index] = undefined;
    if (record.qos === 0) this.usage.qos0Bytes -= record.size;
    this.#compact();
    return record;
  }

  #compact(): void {
    const records = this.#records;
    while (this.#head < records.length && records[this.#head] === undefined) this.#head++;
    if (this.#head >= COMPACT_AT && this.#head * 2 >= records.length) {
      this.#records = records.slice(this.#head);
      this.#base += this.#head;
      this.#head = 0;
    }
    const qos0 = this.#qos0;
    while (
      this.#qos0Head < qos0.length &&
      this.#records[qos0[this.#qos0Head]! - this.#base] === undefined
    ) this.#qos0Head++;
    if (this.#qos0Head >= COMPACT_AT && this.#qos0Head * 2 >= qos0.length) {
      this.#qos0 = qos0.slice(this.#qos0Head);
      this.#qos0Head = 0;
    }
  }

  #indexAfter(seq: number): number {
    return Math.max(this.#head, seq + 1 - this.#base);
  }
}
