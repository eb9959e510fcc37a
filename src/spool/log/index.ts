/** Messages in a chunk: 29 bytes each, taken at once. */
const CHUNK = 1_024;

const LIVE = 1;
const QOS0 = 2;

/** Where a message is, and what is known of it without reading it. */
export interface Entry {
  readonly seq: number;
  /** The id of its segment. */
  readonly segment: number;
  /** Of its record in the segment, in bytes. */
  readonly offset: number;
  readonly length: number;
  readonly isQos0: boolean;
  readonly acceptedAt: number;
}

/** Some entries, ascending; a removed one stays until the chunk goes. A further column may be added here. */
class Chunk {
  readonly seq = new Float64Array(CHUNK);
  readonly acceptedAt = new Float64Array(CHUNK);
  readonly segment = new Uint32Array(CHUNK);
  readonly offset = new Uint32Array(CHUNK);
  readonly length = new Uint32Array(CHUNK);
  readonly flags = new Uint8Array(CHUNK);
  used = 0;
  live = 0;
  qos0 = 0;

  get columns() {
    return [this.seq, this.acceptedAt, this.segment, this.offset, this.length, this.flags];
  }

  set(at: number, entry: Entry): void {
    this.seq[at] = entry.seq;
    this.acceptedAt[at] = entry.acceptedAt;
    this.segment[at] = entry.segment;
    this.offset[at] = entry.offset;
    this.length[at] = entry.length;
    this.flags[at] = LIVE | (entry.isQos0 ? QOS0 : 0);
    this.live++;
    if (entry.isQos0) this.qos0++;
  }

  get(at: number): Entry {
    return {
      seq: this.seq[at]!,
      segment: this.segment[at]!,
      offset: this.offset[at]!,
      length: this.length[at]!,
      isQos0: (this.flags[at]! & QOS0) !== 0,
      acceptedAt: this.acceptedAt[at]!,
    };
  }

  isLive(at: number): boolean {
    return (this.flags[at]! & LIVE) !== 0;
  }

  /** The first place whose number is `seq` or higher. */
  placeOf(seq: number): number {
    let low = 0;
    let high = this.used;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.seq[middle]! < seq) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** Forgets the entry at a place; whether there was one. */
  clear(at: number): boolean {
    if (!this.isLive(at)) return false;
    this.live--;
    if (this.flags[at]! & QOS0) this.qos0--;
    this.flags[at] = 0;
    return true;
  }

  /** Moves what is at `at` and behind it by one place, for a new one. */
  shift(at: number): void {
    if (at < this.used) {
      for (const column of this.columns) column.copyWithin(at + 1, at, this.used);
    }
    this.used++;
  }

  /** Cuts off the second half, which is returned. */
  split(): Chunk {
    const half = this.used >> 1;
    const rest = new Chunk();
    const columns = this.columns;
    rest.columns.forEach((column, n) => column.set(columns[n]!.subarray(half, this.used)));
    rest.used = this.used - half;
    this.used = half;
    this.#count();
    rest.#count();
    return rest;
  }

  #count(): void {
    this.live = this.qos0 = 0;
    for (let at = 0; at < this.used; at++) {
      if (this.isLive(at)) this.live++;
      if (this.flags[at] === (LIVE | QOS0)) this.qos0++;
    }
  }
}

/** The messages that are to be sent, by `seq`, in less than 40 bytes each, without their contents. */
export class Index {
  #chunks: Chunk[] = [];
  #size = 0;

  /** How many there are. */
  get size(): number {
    return this.#size;
  }

  /** Adds a message, or changes where it is; at the end this costs nothing that grows. */
  set(entry: Entry): void {
    const index = this.#chunkOf(entry.seq);
    let chunk = this.#chunks[index];
    let at = chunk?.placeOf(entry.seq) ?? 0;
    if (chunk !== undefined && at < chunk.used && chunk.seq[at] === entry.seq) {
      if (chunk.clear(at)) this.#size--;
    } else {
      if (chunk === undefined || chunk.used === CHUNK) [chunk, at] = this.#grow(index, chunk, at);
      chunk.shift(at);
    }
    chunk.set(at, entry);
    this.#size++;
  }

  /** Takes a message out. */
  remove(seq: number): Entry | undefined {
    const entry = this.get(seq);
    if (entry === undefined) return undefined;
    const index = this.#chunkOf(seq);
    const chunk = this.#chunks[index]!;
    chunk.clear(chunk.placeOf(seq));
    this.#size--;
    if (chunk.live === 0) this.#chunks.splice(index, 1);
    else if (this.#size * 4 < (this.#chunks.length - 4) * CHUNK) this.#rebuild();
    return entry;
  }

  /** A message. */
  get(seq: number): Entry | undefined {
    const chunk = this.#chunks[this.#chunkOf(seq)];
    const at = chunk?.placeOf(seq) ?? 0;
    const isThere = chunk !== undefined && at < chunk.used && chunk.seq[at] === seq &&
      chunk.isLive(at);
    return isThere ? chunk.get(at) : undefined;
  }

  /** The messages after a number, ascending; nothing may change meanwhile. */
  *after(seq: number): Generator<Entry> {
    const first = this.#chunkOf(seq);
    for (let index = first; index < this.#chunks.length; index++) {
      const chunk = this.#chunks[index]!;
      for (let at = index === first ? chunk.placeOf(seq + 1) : 0; at < chunk.used; at++) {
        if (chunk.isLive(at)) yield chunk.get(at);
      }
    }
  }

  /** Like {@linkcode after}, QoS 0 only; a chunk that has none is passed over in one step. */
  *qos0After(seq: number): Generator<Entry> {
    for (let index = this.#chunkOf(seq); index < this.#chunks.length; index++) {
      const chunk = this.#chunks[index]!;
      if (chunk.qos0 === 0) continue;
      for (let at = chunk.placeOf(seq + 1); at < chunk.used; at++) {
        if (chunk.flags[at] === (LIVE | QOS0)) yield chunk.get(at);
      }
    }
  }

  /** Calls `visit` for each message, ascending; a million take some milliseconds. */
  forEach(visit: (seq: number, segment: number) => void): void {
    for (const { used, seq, segment, flags } of this.#chunks) {
      for (let at = 0; at < used; at++) if (flags[at]! & LIVE) visit(seq[at]!, segment[at]!);
    }
  }

  /** The place of the chunk that a number belongs to: the last one that begins at or before it, else the first. */
  #chunkOf(seq: number): number {
    let low = 0;
    let high = this.#chunks.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.#chunks[middle]!.seq[0]! <= seq) low = middle + 1;
      else high = middle;
    }
    return Math.max(0, low - 1);
  }

  /** Makes room in or beside a chunk that is full or not there; the chunk and the place to use. */
  #grow(index: number, full: Chunk | undefined, at: number): [Chunk, number] {
    const isAtEnd = at === CHUNK;
    const fresh = full === undefined || isAtEnd || at === 0 ? new Chunk() : full.split();
    this.#chunks.splice(full === undefined || at === 0 ? index : index + 1, 0, fresh);
    if (full === undefined || isAtEnd || at === 0) return [fresh, 0];
    return at <= full.used ? [full, at] : [fresh, at - full.used];
  }

  /** Leaves out what was removed. */
  #rebuild(): void {
    const chunks: Chunk[] = [];
    for (const entry of this.after(0)) {
      let last = chunks.at(-1);
      if (last === undefined || last.used === CHUNK) chunks.push(last = new Chunk());
      last.set(last.used++, entry);
    }
    this.#chunks = chunks;
  }
}
