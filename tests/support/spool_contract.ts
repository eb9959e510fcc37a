import { utf8 } from "../../src/base/bytes.ts";
import { BusError, BusErrorCode } from "../../src/base/errors.ts";
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

/** All that a storage hands out, some of which may still have to be found. */
export async function readAll(storage: SpoolStorage): Promise<readonly SpoolRecord[]> {
  const all: SpoolRecord[] = [];
  while (true) {
    const some = await storage.read(all.at(-1)?.seq ?? 0, 10_000, Infinity);
    if (some.length === 0) return all;
    all.push(...some);
  }
}

/** Stores records in one commit. */
export async function put(
  storage: SpoolStorage,
  ...append: NewRecord[]
): Promise<readonly number[]> {
  return await storage.commit({ append, remove: [] });
}

/** Removes messages in one commit. */
export async function remove(storage: SpoolStorage, ...seqs: number[]): Promise<void> {
  await storage.commit({ append: [], remove: seqs });
}

/** Puts a message in quarantine. */
export async function hold(storage: SpoolStorage, seq: number, reason: string): Promise<void> {
  await storage.commit({ append: [], remove: [], quarantine: [{ seq, reason }] });
}

/** What a storage has to do, whichever it is. */
export const STORAGE_CONTRACT: Readonly<Record<string, (storage: SpoolStorage) => Promise<void>>> =
  {
    "hands out what was stored, in order, unchanged": async (storage) => {
      const records = [
        record(1),
        record(2, 0),
        record(3, 1, { expiresAt: 99_000 }),
        record(4, 1, { topic: "ä/€/😀", payload: new Uint8Array(0) }),
        record(5, 1, { payload: crypto.getRandomValues(new Uint8Array(50_000)) }),
      ];
      const seqs = await put(storage, ...records);
      const read = await readAll(storage);
      assertEquals(read.map(({ seq }) => seq), seqs);
      assertEquals(
        read.map(({ seq: _seq, size: _size, payload, ...rest }) => ({
          ...rest,
          payload: payload.slice(),
        })),
        records.map((one) => ({ ...one })),
      );
    },
    "removes any selection, read before or not, in any order, and counts what is left": async (
      storage,
    ) => {
      const random = new Random(11);
      const left = new Map<number, number>();
      for (let round = 0; round < 60; round++) {
        const append = Array.from({ length: random.int(40) }, (_, n) => record(n, n % 3 ? 1 : 0));
        // Numbers that are removed a second time, or were never given, count for nothing.
        const remove = [random.int(50), ...left.keys()].filter(() => random.int(3) > 0);
        if (random.int(2) === 0) remove.sort(() => random.int(3) - 1);
        const seqs = await storage.commit({ append, remove });
        for (const seq of remove) left.delete(seq);
        seqs.forEach((seq, n) =>
          left.set(seq, sizeOf(append[n]!.topic, append[n]!.payload.length))
        );
        await storage.read(0, random.int(60), Infinity);
        assertEquals(storage.usage.messages, left.size);
        assertEquals(storage.usage.bytes, [...left.values()].reduce((sum, size) => sum + size, 0));
      }
      assertEquals((await readAll(storage)).map(({ seq }) => seq), [...left.keys()]);
    },
    "gives ascending numbers and never one twice": async (storage) => {
      const first = await put(storage, record(1), record(2));
      await remove(storage, ...first);
      const second = await put(storage, record(3));
      assertGreater(first[1]!, first[0]!);
      assertGreater(second[0]!, first[1]!);
    },
    "reads after a number, up to a count and a size but at least one": async (storage) => {
      const seqs = await put(storage, record(1), record(2), record(3), record(4));
      assertEquals(topics(await storage.read(seqs[0]!, 2, Infinity)), ["t/2", "t/3"]);
      const size = (await storage.read(0, 1, 0))[0]!.size;
      assertEquals(topics(await storage.read(0, 9, size * 2)), ["t/1", "t/2"]);
      assertEquals(topics(await storage.read(0, 9, size * 2 - 1)), ["t/1"]);
      assertEquals(await storage.read(seqs[3]!, 9, Infinity), []);
    },
    "counts topic, payload and overhead of everything stored": async (storage) => {
      assertEquals({ ...pick(storage) }, { messages: 0, bytes: 0, qos0Bytes: 0 });
      const size = 3 + 9 + OVERHEAD_BYTES;
      const [a, b] = await put(storage, record(1), record(2, 0));
      assertEquals(pick(storage), { messages: 2, bytes: 2 * size, qos0Bytes: size });
      await remove(storage, b!);
      assertEquals(pick(storage), { messages: 1, bytes: size, qos0Bytes: 0 });
      await remove(storage, a!, a!, 12345);
      assertEquals(pick(storage), { messages: 0, bytes: 0, qos0Bytes: 0 });
    },
    "lists QoS 0 messages oldest first": async (storage) => {
      const seqs = await put(
        storage,
        record(1),
        record(2, 0),
        record(3),
        record(4, 0),
        record(5, 0),
      );
      const size = (await storage.read(0, 1, 0))[0]!.size;
      assertEquals(storage.readQos0(0, 2), [{ seq: seqs[1]!, size }, { seq: seqs[3]!, size }]);
      await remove(storage, seqs[1]!);
      assertEquals(storage.readQos0(0, 9).map(({ seq }) => seq), [seqs[3], seqs[4]]);
      assertEquals(storage.readQos0(seqs[3]!, 9).map(({ seq }) => seq), [seqs[4]]);
    },
    "keeps what is in quarantine, counts it, and does not hand it out": async (storage) => {
      const [, seq] = await put(storage, record(1), record(2), record(3));
      const before = pick(storage);
      await hold(storage, seq!, "closed the connection three times");
      assertEquals(topics(await readAll(storage)), ["t/1", "t/3"]);
      assertEquals(pick(storage), before);
      const [kept] = storage.quarantined();
      assertEquals([kept!.seq, kept!.topic], [seq, "t/2"]);
      assertEquals(kept!.reason, "closed the connection three times");
      await hold(storage, seq!, "again");
      assertEquals(storage.quarantined().length, 1);
      await remove(storage, seq!);
      assertEquals(storage.quarantined(), []);
      assertEquals(storage.usage.messages, 2);
    },
    "cuts a long reason between characters": async (storage) => {
      const [seq] = await put(storage, record(1, 0));
      await hold(storage, seq!, "€".repeat(200));
      assertEquals(storage.quarantined()[0]!.reason, "€".repeat(85));
      assertEquals(storage.usage.qos0Bytes, 0);
    },
    "knows when the oldest message was accepted": async (storage) => {
      assertEquals(storage.oldestAcceptedAt(), undefined);
      const [seq] = await put(storage, record(1), record(2));
      assertEquals(storage.oldestAcceptedAt(), 1_001);
      await remove(storage, seq!);
      assertEquals(storage.oldestAcceptedAt(), 1_002);
    },
    "hands out again what leaves quarantine, in its old place": async (storage) => {
      const [first, second] = await put(storage, record(1, 0), record(2), record(3));
      await hold(storage, second!, "why");
      await hold(storage, first!, "why");
      await storage.commit({ append: [], remove: [], release: [second!, first!, 4711] });
      assertEquals(topics(await readAll(storage)), ["t/1", "t/2", "t/3"]);
      assertEquals(storage.quarantined(), []);
      const size = 3 + 9 + OVERHEAD_BYTES;
      assertEquals(pick(storage), { messages: 3, bytes: 3 * size, qos0Bytes: size });
      assertEquals(storage.readQos0(0, 9), [{ seq: first!, size }]);
    },
    "takes ten thousand messages in and gives them back": async (storage) => {
      for (let n = 0; n < 10_000; n += 500) {
        await put(storage, ...Array.from({ length: 500 }, (_, i) => record(n + i)));
      }
      let after = 0;
      for (let n = 0; n < 10_000;) {
        const read = await storage.read(after, 137, Infinity);
        for (const one of read) assertEquals(one.topic, `t/${n++}`);
        after = read.at(-1)!.seq;
        await remove(storage, ...read.map(({ seq }) => seq));
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
  /** Appends and has it committed; the error code, or 0. */
  add(n: number, more?: Partial<SpoolMessage>): Promise<number>;
  /** What can be taken once everything that is being read has been read. */
  take(limit?: number, maxBytes?: number): Promise<SpoolRecord[]>;
}

/** Puts a spool on a storage, with a clock and turns of the test's own. */
export function spoolOn(
  storage: SpoolStorage,
  clock: FakeClock,
  maxBytes = 10_000,
): SpoolUnderTest {
  const log = linesLog();
  const turns: (() => void)[] = [];
  const reads = new Set<unknown>();
  const watched: SpoolStorage = new Proxy(storage, {
    get: (target, name) => {
      const value: unknown = Reflect.get(target, name, target);
      if (typeof value !== "function") return value;
      return (...args: unknown[]) => {
        const result: unknown = value.apply(target, args);
        if (name !== "read" || !(result instanceof Promise)) return result;
        reads.add(result);
        // Later than whoever waits for it.
        const over = (): void => queueMicrotask(() => reads.delete(result));
        result.then(over, over);
        return result;
      };
    },
  });
  const turn = (): void => turns.splice(0).forEach((fn) => fn());
  const options = { storage: watched, maxBytes, clock, log };
  const spool = new Spool({ ...options, turn: (fn) => void turns.push(fn) });
  return {
    spool,
    clock,
    log,
    turn,
    add: async (n, more) => {
      let code: number | undefined;
      spool.append(message(n, more), (error) => code = error?.code ?? 0);
      turn();
      await spool.flush();
      assert(code !== undefined, "every append is answered");
      return code;
    },
    take: async (limit = 9, maxBytes = Infinity) => {
      while (true) {
        const taken = spool.take(limit, maxBytes);
        if (taken.length > 0 || reads.size === 0) return taken;
        await new Promise((resolve) => setTimeout(resolve, 0));
      }
    },
  };
}

/** What a spool has to do, whatever it is stored in. */
export const SPOOL_CONTRACT: Readonly<Record<string, (test: SpoolUnderTest) => Promise<void>>> = {
  "hands each message out once, oldest first": async ({ add, take }) => {
    for (const n of [1, 2, 3]) assertEquals(await add(n), 0);
    assertEquals(topics(await take(2)), ["t/1", "t/2"]);
    assertEquals(topics(await take(2)), ["t/3"]);
    assertEquals(await take(2), []);
    await add(4);
    assertEquals(topics(await take(2)), ["t/4"]);
  },
  "hands out no more than so many bytes, but at least one message": async ({ add, take }) => {
    for (const n of [1, 2, 3]) await add(n);
    const size = 3 + 9 + OVERHEAD_BYTES;
    assertEquals(topics(await take(9, 2 * size)), ["t/1", "t/2"]);
    assertEquals(topics(await take(9, 0)), ["t/3"]);
  },
  "hands out again what was not settled, before anything new": async ({ spool, add, take }) => {
    for (const n of [1, 2, 3, 4]) await add(n);
    const taken = await take(3);
    spool.settled(taken[1]!.seq);
    spool.rewind();
    assertEquals(topics(await take()), ["t/1", "t/3", "t/4"]);
    await spool.flush();
    assertEquals(spool.stats().messages, 3);
    spool.rewind();
    assertEquals(topics(await take()), ["t/1", "t/3", "t/4"]);
  },
  "frees a slot at once, up to 100 removals that are not committed": async (
    { spool, add, take },
  ) => {
    for (let n = 0; n < 102; n++) await add(n % 10, { payload: new Uint8Array(1) });
    const taken = await take(200);
    let slots = 0;
    for (const { seq } of taken.slice(0, 100)) spool.settled(seq, () => slots++);
    assertEquals(slots, 100);
    for (const { seq } of taken.slice(100)) spool.settled(seq, () => slots++);
    await spool.flush();
    assertEquals([slots, spool.stats().messages], [102, 0]);
  },
  "answers a settlement that it does not know": ({ spool }) => {
    let called = 0;
    spool.settled(4711, () => called++);
    assertEquals(called, 1);
    return Promise.resolve();
  },
  "says that something is available once it can be taken": async ({ spool, add, take }) => {
    const seen: string[] = [];
    spool.onAvailable = () => seen.push(...topics(spool.take(9, Infinity)));
    await add(1);
    await take();
    assertEquals(seen, ["t/1"]);
  },
  "copies the payload": async ({ spool, turn, take }) => {
    const payload = utf8("before");
    spool.append({ topic: "t", payload, qos: 1 }, () => {});
    payload.fill(0);
    turn();
    await spool.flush();
    const [one] = await take();
    assertEquals(new TextDecoder().decode(one!.payload), "before");
  },
  "refuses with NOMEM when it is full and takes again after a removal": async (
    { spool, add, take },
  ) => {
    const size = 3 + 9 + OVERHEAD_BYTES;
    const fits = Math.floor(10_000 / size);
    for (let n = 0; n < fits; n++) assertEquals(await add(n % 10), 0);
    assertEquals(await add(1), BusErrorCode.NOMEM);
    const [one] = await take(1);
    spool.settled(one!.seq);
    assertEquals(await add(2), 0);
    assertEquals(await add(2), BusErrorCode.NOMEM);
    const { refused, evicted, messages } = spool.stats();
    assertEquals({ refused, evicted, messages }, { refused: 2, evicted: 0, messages: fits });
  },
  "refuses at once what can never fit": async ({ add, spool }) => {
    await add(1, { qos: 0 });
    assertEquals(await add(2, { payload: new Uint8Array(10_001) }), BusErrorCode.NOMEM);
    assertEquals(spool.stats().evicted, 0);
  },
  "evicts QoS 0 messages, oldest first, as many as needed": async ({ spool, add, take }) => {
    const payload = new Uint8Array(2_000);
    await add(1, { payload, qos: 0 });
    await add(2, { payload, qos: 1 });
    await add(3, { payload, qos: 0 });
    await add(4, { payload, qos: 0 });
    assertEquals(await add(5, { payload: new Uint8Array(4_500) }), 0);
    assertEquals(spool.stats().evicted, 2);
    assertEquals(topics(await take()), ["t/2", "t/4", "t/5"]);
    assertEquals(await add(6, { payload: new Uint8Array(4_500) }), BusErrorCode.NOMEM);
  },
  "does not evict what is in flight": async ({ spool, add, take }) => {
    const payload = new Uint8Array(3_000);
    for (const n of [1, 2, 3]) await add(n, { payload, qos: 0 });
    assertEquals(topics(await take(2)), ["t/1", "t/2"]);
    assertEquals(await add(4, { payload }), 0);
    assertEquals(await add(5, { payload }), BusErrorCode.NOMEM);
    assertEquals(topics(await take()), ["t/4"]);
    spool.rewind();
    assertEquals(topics(await take()), ["t/1", "t/2", "t/4"]);
  },
  "drops what expired, counts and logs it": async ({ spool, add, take, clock, log }) => {
    await add(1, { messageExpiry: 10 });
    await add(2, { messageExpiry: 1_000 });
    await add(3, { messageExpiry: 10 });
    await add(4);
    clock.advance(10_000);
    assertEquals(topics(await take()), ["t/2", "t/4"]);
    await spool.flush();
    assertEquals([spool.stats().expired, spool.stats().messages], [2, 2]);
    assertEquals(log.lines.filter((line) => line.includes('"expired":2')).length, 1);
  },
  "counts the time that passes, wherever the wall clock is set": async ({ add, take, clock }) => {
    await add(1, { messageExpiry: 60 });
    await add(2, { messageExpiry: 180 });
    const years = 10 * 365 * 86_400_000;
    for (const ms of [years, -2 * years]) {
      clock.setWall(clock.wallNow() + ms);
      clock.advance(29_000);
      await add(3, { messageExpiry: 180 });
    }
    clock.advance(30_000);
    assertEquals(topics(await take(9)), ["t/2", "t/3", "t/3"]);
  },
  "goes on after a quarantine, names it, and releases or drops it": async (
    { spool, add, take },
  ) => {
    for (const n of [1, 2, 3]) await add(n);
    const [one, two] = await take(2);
    spool.quarantine(one!.seq, "0x97");
    spool.quarantine(two!.seq, "why");
    spool.rewind();
    assertEquals(topics(await take()), ["t/3"]);
    await spool.flush();
    const { quarantined, messages } = spool.stats();
    assertEquals([quarantined[0]!.topic, quarantined[0]!.reason, messages], ["t/1", "0x97", 3]);
    spool.release([one!.seq, one!.seq]);
    spool.drop([two!.seq, 4711]);
    await spool.flush();
    assertEquals([spool.stats().quarantined, spool.stats().messages], [[], 2]);
    assertEquals(topics(await take()), ["t/1"], "what is in flight is not handed out twice");
  },
  "tells its age and size": async ({ spool, add, clock }) => {
    assertEquals(spool.stats().oldestAgeMs, 0);
    await add(1);
    clock.advance(2_000);
    const { oldestAgeMs, bytes, maxBytes } = spool.stats();
    assertEquals([oldestAgeMs, bytes, maxBytes], [2_000, 12 + OVERHEAD_BYTES, 10_000]);
  },
};

/** The promise form rejects with the error. */
export async function checkPromiseForm({ spool, turn }: SpoolUnderTest): Promise<void> {
  const stored = spool.appended(message(1));
  turn();
  assertGreater(await stored, 0);
  const refused = spool.appended(message(2, { payload: new Uint8Array(20_000) }));
  const error = await refused.then(() => undefined, (reason: unknown) => reason);
  assert(error instanceof BusError && error.code === BusErrorCode.NOMEM);
  await spool.flush();
  await spool.close();
  await spool.close();
}
