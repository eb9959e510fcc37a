import { utf8 } from "../../src/base/bytes.ts";
import { BusError, Code } from "../../src/base/errors.ts";
import type { Log } from "../../src/base/log.ts";
import { OVERHEAD_BYTES, sizeOf } from "../../src/spool/policy.ts";
import { Spool, type SpoolMessage } from "../../src/spool/spool.ts";
import type { NewRecord, Qos, SpoolRecord, SpoolStorage } from "../../src/spool/storage.ts";
import { assert, assertEquals, assertGreater } from "../deps.ts";
import { FakeClock } from "./fake_clock.ts";
import { Random } from "./random.ts";

/** A log that keeps its lines. */
export interface LinesLog extends Log {
  readonly lines: string[];
}

/** Makes a log whose lines are `level text {fields}`. */
export function linesLog(): LinesLog {
  const lines: string[] = [];
  const at = (level: string): Log["info"] => (text, fields) =>
    void lines.push(`${level} ${text} ${JSON.stringify(fields ?? {})}`);
  return { lines, debug: at("debug"), info: at("info"), warn: at("warn"), error: at("error") };
}

/** A message to store; its payload says its number. */
export function record(n: number, qos: Qos = 1, more: Partial<NewRecord> = {}): NewRecord {
  return { topic: `t/${n}`, payload: utf8(`payload ${n}`), qos, acceptedAt: 1_000 + n, ...more };
}

/** A message for a spool; its payload says its number. */
export function message(n: number, more: Partial<SpoolMessage> = {}): SpoolMessage {
  return { topic: `t/${n}`, payload: utf8(`payload ${n}`), qos: 1, ...more };
}

/** The topics of records. */
export function topics(records: readonly { readonly topic: string }[]): string[] {
  return records.map(({ topic }) => topic);
}

/** All that a storage hands out. */
export function readAll(storage: SpoolStorage): SpoolRecord[] {
  return storage.read(0, 1_000_000, Infinity);
}

/** Stores records in one transaction. */
export function put(storage: SpoolStorage, ...append: NewRecord[]): number[] {
  return storage.commit({ append, remove: [] });
}

/** What a storage has to do, whichever it is. */
export const STORAGE_CONTRACT: Readonly<Record<string, (storage: SpoolStorage) => void>> = {
  "hands out what was stored, in order, unchanged": (storage) => {
    const records = [
      record(1),
      record(2, 0),
      record(3, 1, { expiresAt: 99_000 }),
      record(4, 1, { topic: "ä/€/😀", payload: new Uint8Array(0) }),
      record(5, 1, { payload: crypto.getRandomValues(new Uint8Array(50_000)) }),
    ];
    const seqs = put(storage, ...records);
    const read = readAll(storage);
    assertEquals(read.map(({ seq }) => seq), seqs);
    assertEquals(
      read.map(({ seq: _seq, size: _size, payload, ...rest }) => ({
        ...rest,
        payload: payload.slice(),
      })),
      records.map((one) => ({ ...one })),
    );
  },
  "removes any selection, read before or not, in any order, and counts what is left": (storage) => {
    const random = new Random(11);
    const left = new Map<number, number>();
    for (let round = 0; round < 60; round++) {
      const append = Array.from({ length: random.int(40) }, (_, n) => record(n, n % 3 ? 1 : 0));
      // Numbers that are removed a second time, or were never given, count for nothing.
      const remove = [random.int(50), ...left.keys()].filter(() => random.int(3) > 0);
      if (random.int(2) === 0) remove.sort(() => random.int(3) - 1);
      const seqs = storage.commit({ append, remove });
      for (const seq of remove) left.delete(seq);
      seqs.forEach((seq, n) => left.set(seq, sizeOf(append[n]!.topic, append[n]!.payload.length)));
      storage.read(0, random.int(60), Infinity);
      assertEquals(storage.usage.messages, left.size);
      assertEquals(storage.usage.bytes, [...left.values()].reduce((sum, size) => sum + size, 0));
    }
    assertEquals(readAll(storage).map(({ seq }) => seq), [...left.keys()]);
  },
  "gives ascending numbers and never one twice": (storage) => {
    const first = put(storage, record(1), record(2));
    storage.commit({ append: [], remove: first });
    const second = put(storage, record(3));
    assertGreater(first[1]!, first[0]!);
    assertGreater(second[0]!, first[1]!);
  },
  "reads after a number, up to a count and a size but at least one": (storage) => {
    const seqs = put(storage, record(1), record(2), record(3), record(4));
    assertEquals(topics(storage.read(seqs[0]!, 2, Infinity)), ["t/2", "t/3"]);
    const size = storage.read(0, 1, 0)[0]!.size;
    assertEquals(topics(storage.read(0, 9, size * 2)), ["t/1", "t/2"]);
    assertEquals(topics(storage.read(0, 9, size * 2 - 1)), ["t/1"]);
    assertEquals(storage.read(seqs[3]!, 9, Infinity), []);
  },
  "counts topic, payload and overhead of everything stored": (storage) => {
    assertEquals({ ...pick(storage) }, { messages: 0, bytes: 0, qos0Bytes: 0 });
    const size = 3 + 9 + OVERHEAD_BYTES;
    const [a, b] = put(storage, record(1), record(2, 0));
    assertEquals(pick(storage), { messages: 2, bytes: 2 * size, qos0Bytes: size });
    storage.commit({ append: [], remove: [b!] });
    assertEquals(pick(storage), { messages: 1, bytes: size, qos0Bytes: 0 });
    storage.commit({ append: [], remove: [a!, a!, 12345] });
    assertEquals(pick(storage), { messages: 0, bytes: 0, qos0Bytes: 0 });
  },
  "lists QoS 0 messages oldest first": (storage) => {
    const seqs = put(storage, record(1), record(2, 0), record(3), record(4, 0), record(5, 0));
    const size = storage.read(0, 1, 0)[0]!.size;
    assertEquals(storage.readQos0(0, 2), [{ seq: seqs[1]!, size }, { seq: seqs[3]!, size }]);
    storage.commit({ append: [], remove: [seqs[1]!] });
    assertEquals(storage.readQos0(0, 9).map(({ seq }) => seq), [seqs[3], seqs[4]]);
    assertEquals(storage.readQos0(seqs[3]!, 9).map(({ seq }) => seq), [seqs[4]]);
  },
  "keeps what is in quarantine, counts it, and does not hand it out": (storage) => {
    const [, seq] = put(storage, record(1), record(2), record(3));
    const before = pick(storage);
    storage.quarantine(seq!, "closed the connection three times");
    assertEquals(topics(readAll(storage)), ["t/1", "t/3"]);
    assertEquals(pick(storage), before);
    const [kept] = storage.quarantined();
    assertEquals([kept!.seq, kept!.topic], [seq, "t/2"]);
    assertEquals(kept!.reason, "closed the connection three times");
    storage.quarantine(seq!, "again");
    assertEquals(storage.quarantined().length, 1);
    storage.commit({ append: [], remove: [seq!] });
    assertEquals(storage.quarantined(), []);
    assertEquals(storage.usage.messages, 2);
  },
  "cuts a long reason between characters": (storage) => {
    const [seq] = put(storage, record(1, 0));
    storage.quarantine(seq!, "€".repeat(200));
    assertEquals(storage.quarantined()[0]!.reason, "€".repeat(85));
    assertEquals(storage.usage.qos0Bytes, 0);
  },
  "knows when the oldest message was accepted": (storage) => {
    assertEquals(storage.oldestAcceptedAt(), undefined);
    const [seq] = put(storage, record(1), record(2));
    assertEquals(storage.oldestAcceptedAt(), 1_001);
    storage.commit({ append: [], remove: [seq!] });
    assertEquals(storage.oldestAcceptedAt(), 1_002);
  },
  "takes ten thousand messages in and gives them back": (storage) => {
    for (let n = 0; n < 10_000; n += 500) {
      put(storage, ...Array.from({ length: 500 }, (_, i) => record(n + i)));
    }
    let after = 0;
    for (let n = 0; n < 10_000;) {
      const read = storage.read(after, 137, Infinity);
      for (const one of read) assertEquals(one.topic, `t/${n++}`);
      after = read.at(-1)!.seq;
      storage.commit({ append: [], remove: read.map(({ seq }) => seq) });
    }
    assertEquals(pick(storage), { messages: 0, bytes: 0, qos0Bytes: 0 });
  },
};

function pick({ usage }: SpoolStorage): { messages: number; bytes: number; qos0Bytes: number } {
  const { messages, bytes, qos0Bytes } = usage;
  return { messages, bytes, qos0Bytes };
}

/** A spool under test with what drives it. */
export interface SpoolUnderTest {
  readonly spool: Spool;
  readonly clock: FakeClock;
  readonly log: LinesLog;
  /** Ends the present turn. */
  turn(): void;
  /** Appends and ends the turn; the error code, or 0. */
  add(n: number, more?: Partial<SpoolMessage>): number;
}

/** Puts a spool on a storage, with a clock and turns of the test's own. */
export function spoolOn(
  storage: SpoolStorage,
  clock: FakeClock,
  maxBytes = 10_000,
): SpoolUnderTest {
  const log = linesLog();
  const turns: (() => void)[] = [];
  const spool = new Spool({ storage, maxBytes, clock, log, turn: (fn) => void turns.push(fn) });
  const turn = (): void => turns.splice(0).forEach((fn) => fn());
  const add = (n: number, more?: Partial<SpoolMessage>): number => {
    let code: number | undefined;
    spool.append(message(n, more), (error) => code = error?.code ?? 0);
    turn();
    clock.advance(5);
    assert(code !== undefined, "every append is answered");
    return code;
  };
  return { spool, clock, log, turn, add };
}

/** What a spool has to do, whatever it is stored in. */
export const SPOOL_CONTRACT: Readonly<Record<string, (test: SpoolUnderTest) => void>> = {
  "hands each message out once, oldest first": ({ spool, add }) => {
    for (const n of [1, 2, 3]) assertEquals(add(n), 0);
    assertEquals(topics(spool.take(2, Infinity)), ["t/1", "t/2"]);
    assertEquals(topics(spool.take(2, Infinity)), ["t/3"]);
    assertEquals(spool.take(2, Infinity), []);
    add(4);
    assertEquals(topics(spool.take(2, Infinity)), ["t/4"]);
  },
  "hands out again what was not settled, before anything new": ({ spool, add, turn, clock }) => {
    for (const n of [1, 2, 3, 4]) add(n);
    const taken = spool.take(3, Infinity);
    spool.settled(taken[1]!.seq);
    spool.rewind();
    assertEquals(topics(spool.take(9, Infinity)), ["t/1", "t/3", "t/4"]);
    turn();
    clock.advance(5);
    assertEquals(spool.stats().messages, 3);
    spool.rewind();
    assertEquals(topics(spool.take(9, Infinity)), ["t/1", "t/3", "t/4"]);
  },
  "frees a slot only when the removal is committed": ({ spool, add, turn, clock }) => {
    add(1);
    const [one] = spool.take(1, Infinity);
    let stored = -1;
    spool.settled(one!.seq, () => stored = spool.stats().messages);
    turn();
    clock.advance(5);
    assertEquals(stored, 0);
  },
  "answers a settlement that it does not know": ({ spool }) => {
    let called = 0;
    spool.settled(4711, () => called++);
    assertEquals(called, 1);
  },
  "says that something is available once it can be taken": ({ spool, add }) => {
    const seen: string[][] = [];
    spool.onAvailable = () => seen.push(topics(spool.take(9, Infinity)));
    add(1);
    assertEquals(seen, [["t/1"]]);
  },
  "copies the payload": ({ spool, turn, clock }) => {
    const payload = utf8("before");
    spool.append({ topic: "t", payload, qos: 1 }, () => {});
    payload.fill(0);
    turn();
    clock.advance(5);
    assertEquals(new TextDecoder().decode(spool.take(1, 0)[0]!.payload), "before");
  },
  "refuses with NOMEM when it is full and takes again after a removal": (
    { spool, add, turn, clock },
  ) => {
    const size = 3 + 9 + OVERHEAD_BYTES;
    const fits = Math.floor(10_000 / size);
    for (let n = 0; n < fits; n++) assertEquals(add(n % 10), 0);
    assertEquals(add(1), Code.NOMEM);
    const [one] = spool.take(1, 0);
    spool.settled(one!.seq);
    assertEquals(add(2), 0);
    turn();
    clock.advance(5);
    assertEquals(add(2), Code.NOMEM);
    const { refused, evicted, messages } = spool.stats();
    assertEquals({ refused, evicted, messages }, { refused: 2, evicted: 0, messages: fits });
  },
  "refuses at once what can never fit": ({ add, spool }) => {
    add(1, { qos: 0 });
    assertEquals(add(2, { payload: new Uint8Array(10_001) }), Code.NOMEM);
    assertEquals(spool.stats().evicted, 0);
  },
  "evicts QoS 0 messages, oldest first, as many as needed": ({ spool, add }) => {
    const payload = new Uint8Array(2_000);
    add(1, { payload, qos: 0 });
    add(2, { payload, qos: 1 });
    add(3, { payload, qos: 0 });
    add(4, { payload, qos: 0 });
    assertEquals(add(5, { payload: new Uint8Array(4_500) }), 0);
    assertEquals(spool.stats().evicted, 2);
    assertEquals(topics(spool.take(9, Infinity)), ["t/2", "t/4", "t/5"]);
    assertEquals(add(6, { payload: new Uint8Array(4_500) }), Code.NOMEM);
  },
  "does not evict what is in flight": ({ spool, add }) => {
    const payload = new Uint8Array(3_000);
    for (const n of [1, 2, 3]) add(n, { payload, qos: 0 });
    assertEquals(topics(spool.take(2, Infinity)), ["t/1", "t/2"]);
    assertEquals(add(4, { payload }), 0);
    assertEquals(add(5, { payload }), Code.NOMEM);
    assertEquals(topics(spool.take(9, Infinity)), ["t/4"]);
    spool.rewind();
    assertEquals(topics(spool.take(9, Infinity)), ["t/1", "t/2", "t/4"]);
  },
  "drops what expired, counts and logs it": ({ spool, add, turn, clock, log }) => {
    add(1, { messageExpiry: 10 });
    add(2, { messageExpiry: 1_000 });
    add(3, { messageExpiry: 10 });
    add(4);
    clock.advance(10_000);
    assertEquals(topics(spool.take(9, Infinity)), ["t/2", "t/4"]);
    turn();
    clock.advance(5);
    assertEquals([spool.stats().expired, spool.stats().messages], [2, 2]);
    assertEquals(log.lines.filter((line) => line.includes('"expired":2')).length, 1);
  },
  "goes on after a quarantine and names it": ({ spool, add }) => {
    for (const n of [1, 2]) add(n);
    const [one] = spool.take(1, 0);
    spool.quarantine(one!.seq, "0x97");
    spool.rewind();
    assertEquals(topics(spool.take(9, Infinity)), ["t/2"]);
    const { quarantined, messages } = spool.stats();
    assertEquals([quarantined[0]!.topic, quarantined[0]!.reason, messages], ["t/1", "0x97", 2]);
  },
  "tells its age and size": ({ spool, add, clock }) => {
    assertEquals(spool.stats().oldestAgeMs, 0);
    add(1);
    clock.advance(2_000);
    const { oldestAgeMs, bytes, maxBytes } = spool.stats();
    assertEquals([oldestAgeMs, bytes, maxBytes], [2_005, 12 + OVERHEAD_BYTES, 10_000]);
  },
};

/** The promise form rejects with the error. */
export async function checkPromiseForm({ spool, turn }: SpoolUnderTest): Promise<void> {
  const stored = spool.appended(message(1));
  turn();
  assertGreater(await stored, 0);
  const refused = spool.appended(message(2, { payload: new Uint8Array(20_000) }));
  const error = await refused.then(() => undefined, (reason: unknown) => reason);
  assert(error instanceof BusError && error.code === Code.NOMEM);
  await spool.flush();
  await spool.close();
  await spool.close();
}
