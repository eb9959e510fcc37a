import { cutReason, sizeOf } from "./policy.ts";
import type { Changes, NewRecord, Quarantined, SpoolRecord, SpoolStorage } from "./storage.ts";

/** A spool that ends with the process. It never fails, and answers at once. */
export class MemoryStorage implements SpoolStorage {
  readonly kind = "memory";
  readonly usage = { messages: 0, bytes: 0, qos0Bytes: 0 };
  readonly newestAt = 0;

  /** By `seq`, ascending. */
  #records = new Map<number, SpoolRecord>();
  /** Those of QoS 0. */
  #qos0 = new Map<number, SpoolRecord>();
  readonly #quarantined = new Map<number, SpoolRecord & { readonly reason: string }>();
  #nextSeq = 1;

  commit({ append, remove, quarantine = [], release = [] }: Changes): number[] {
    for (const seq of remove) this.#remove(seq);
    for (const { seq, reason } of quarantine) this.#hold(seq, reason);
    if (release.length > 0) this.#release(release);
    return append.map((record) => this.#append(record));
  }

  read(afterSeq: number, limit: number, maxBytes: number): SpoolRecord[] {
    const found: SpoolRecord[] = [];
    let bytes = 0;
    for (const record of this.#records.values()) {
      if (record.seq <= afterSeq) continue;
      bytes += record.size;
      if (found.length >= limit || (found.length > 0 && bytes > maxBytes)) break;
      found.push(record);
    }
    return found;
  }

  readQos0(afterSeq: number, limit: number): { seq: number; size: number }[] {
    const found: { seq: number; size: number }[] = [];
    for (const { seq, size } of this.#qos0.values()) {
      if (found.length >= limit) break;
      if (seq > afterSeq) found.push({ seq, size });
    }
    return found;
  }

  oldestAcceptedAt(): number | undefined {
    for (const { acceptedAt } of this.#records.values()) return acceptedAt;
    return undefined;
  }

  release(seqs: readonly number[]): number {
    const kept = seqs.flatMap((seq) => this.#quarantined.get(seq) ?? []);
    for (const record of kept) {
      this.#remove(record.seq);
      const { seq: _, size: __, reason: ___, ...message } = record;
      this.#append(message);
    }
    return kept.length;
  }

  quarantined(): readonly Quarantined[] {
    return [...this.#quarantined.values()]
      .map(({ seq, topic, reason, size }) => ({ seq, topic, reason, size }))
      .sort((a, b) => a.seq - b.seq);
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.#records.clear();
    this.#qos0.clear();
    this.#quarantined.clear();
    return Promise.resolve();
  }

  #append(record: NewRecord): number {
    const seq = this.#nextSeq++;
    const size = sizeOf(record.topic, record.payload.length);
    this.#put({ ...record, seq, size });
    this.usage.messages++;
    this.usage.bytes += size;
    return seq;
  }

  #put(record: SpoolRecord): void {
    this.#records.set(record.seq, record);
    if (record.qos === 1) return;
    this.#qos0.set(record.seq, record);
    this.usage.qos0Bytes += record.size;
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
    const record = this.#records.get(seq);
    this.#records.delete(seq);
    if (this.#qos0.delete(seq)) this.usage.qos0Bytes -= record!.size;
    return record;
  }

  #hold(seq: number, reason: string): void {
    const record = this.#take(seq);
    if (record !== undefined) this.#quarantined.set(seq, { ...record, reason: cutReason(reason) });
  }

  #release(seqs: readonly number[]): void {
    for (const seq of seqs) {
      const held = this.#quarantined.get(seq);
      if (held === undefined) continue;
      this.#quarantined.delete(seq);
      const { reason: _, ...record } = held;
      this.#put(record);
    }
    this.#records = bySeq(this.#records);
    this.#qos0 = bySeq(this.#qos0);
  }
}

function bySeq(records: ReadonlyMap<number, SpoolRecord>): Map<number, SpoolRecord> {
  return new Map([...records].sort(([a], [b]) => a - b));
}
