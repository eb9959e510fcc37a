import { BusErrorCode } from "../../../src/base/errors.ts";
import { MemoryStorage } from "../../../src/spool/memory_storage.ts";
import {
  type Changes,
  type Quarantined,
  type SpoolRecord,
  type SpoolStorage,
  StorageError,
} from "../../../src/spool/storage.ts";
import { assertEquals, assertStringIncludes } from "../../deps.ts";
import { FakeClock } from "../../support/fake_clock.ts";
import { message, spoolOn, type SpoolUnderTest, topics } from "../../support/spool_contract.ts";

/** A storage that fails, or takes its time, as it is told, and otherwise works like one on disk. */
class FailingStorage implements SpoolStorage {
  readonly kind = "disk";
  readonly newestAt = 0;
  readonly #memory = new MemoryStorage();
  readonly usage = this.#memory.usage;
  readonly fails = { append: false, remove: false, read: false, full: false };
  readonly commits: Changes[] = [];
  /** What a commit waits for. */
  sync: Promise<void> = Promise.resolve();

  async commit(changes: Changes): Promise<number[]> {
    const { append, remove } = changes;
    await this.sync;
    const fails = (this.fails.append && append.length > 0) ||
      (this.fails.remove && remove.length > 0);
    if (fails) throw new StorageError("disk is bad", this.fails.full);
    this.commits.push(changes);
    return this.#memory.commit(changes);
  }
  read(afterSeq: number, limit: number, maxBytes: number): Promise<SpoolRecord[]> {
    if (this.fails.read) return Promise.reject(new StorageError("disk I/O error"));
    return Promise.resolve(this.#memory.read(afterSeq, limit, maxBytes));
  }
  readQos0(afterSeq: number, limit: number): { seq: number; size: number }[] {
    return this.#memory.readQos0(afterSeq, limit);
  }
  oldestAcceptedAt(): number | undefined {
    return this.#memory.oldestAcceptedAt();
  }
  quarantined(): readonly Quarantined[] {
    return this.#memory.quarantined();
  }
  [Symbol.asyncDispose](): Promise<void> {
    return this.#memory[Symbol.asyncDispose]();
  }
}

function failing(): SpoolUnderTest & { storage: FailingStorage } {
  const storage = new FailingStorage();
  return { storage, ...spoolOn(storage, new FakeClock()) };
}

const pure = { permissions: "none" } as const;

Deno.test("whatever arrives in a turn shares one commit, with the removals", pure, async () => {
  const { storage, spool, turn, add, take } = failing();
  await add(1);
  const [one] = await take();
  storage.commits.length = 0;
  const answers: number[] = [];
  for (const n of [2, 3, 4]) spool.append(message(n), (_, seq) => answers.push(seq));
  spool.settled(one!.seq);
  assertEquals([storage.commits.length, answers], [0, []]);
  turn();
  await spool.flush();
  assertEquals(storage.commits.map(({ append, remove }) => [append.length, remove]), [[3, [1]]]);
  assertEquals(answers, [2, 3, 4]);
});

Deno.test(
  "what arrives while a commit is under way waits for the next one, together",
  pure,
  async () => {
    const { storage, spool, turn } = failing();
    const { promise, resolve } = Promise.withResolvers<void>();
    storage.sync = promise;
    const answers: number[] = [];
    spool.append(message(1), (_, seq) => answers.push(seq));
    turn();
    for (const n of [2, 3]) {
      spool.append(message(n), (_, seq) => answers.push(seq));
      turn();
    }
    assertEquals([storage.commits.length, answers], [0, []]);
    resolve();
    await spool.flush();
    assertEquals(storage.commits.map(({ append }) => append.length), [1, 2]);
    assertEquals(answers, [1, 2, 3]);
  },
);

Deno.test(
  "a removal alone is committed a second later, and a hundred of them at once",
  pure,
  async () => {
    const { storage, spool, add, take, turn, clock } = failing();
    for (let n = 0; n < 102; n++) await add(n % 10, { payload: new Uint8Array(1) });
    const taken = await take(200);
    const commits = storage.commits.length;
    spool.settled(taken[0]!.seq);
    turn();
    clock.advance(999);
    assertEquals(storage.commits.length, commits);
    clock.advance(1);
    await spool.flush();
    assertEquals(storage.commits.at(-1)?.remove, [1]);
    for (const { seq } of taken.slice(1, 101)) spool.settled(seq);
    turn();
    await spool.flush();
    assertEquals(storage.commits.at(-1)?.remove.length, 100);
    assertEquals(clock.timers, 0);
  },
);

Deno.test(
  "a storage error answers FAILURE, is logged once a minute, and does not stop draining",
  pure,
  async () => {
    const { storage, spool, add, take, log, clock } = failing();
    for (const n of [1, 2]) await add(n);
    storage.fails.append = true;
    const [one] = await take(1);
    spool.settled(one!.seq);
    assertEquals([await add(3), await add(4)], [BusErrorCode.FAILURE, BusErrorCode.FAILURE]);
    assertEquals(topics(await take()), ["t/2"]);
    assertEquals([spool.stats().failed, spool.stats().messages], [2, 1], "the removal is stored");
    clock.advance(60_000);
    assertEquals(await add(5), BusErrorCode.FAILURE);
    storage.fails.append = false;
    assertEquals(await add(6), 0);
    assertEquals(log.lines, [
      'error cannot write to the spool {"error":"disk is bad"}',
      'error cannot write to the spool {"error":"disk is bad"}',
      "info the spool can be written again {}",
    ]);
  },
);

Deno.test("a full disk answers NOMEM", pure, async () => {
  const { storage, spool, add } = failing();
  storage.fails.append = storage.fails.full = true;
  assertEquals(await add(1), BusErrorCode.NOMEM);
  const { refused, failed } = spool.stats();
  assertEquals([refused, failed], [1, 0]);
});

Deno.test(
  "a removal that fails is remembered, tried again, and not handed out meanwhile",
  pure,
  async () => {
    const { storage, spool, add, take, clock } = failing();
    for (const n of [1, 2]) await add(n);
    storage.fails.remove = true;
    const [one] = await take(1);
    let slots = 0;
    spool.settled(one!.seq, () => slots++);
    assertEquals(slots, 1, "the slot does not wait for the disk");
    await spool.flush();
    spool.rewind();
    assertEquals(topics(await take()), ["t/2"]);
    assertEquals(spool.stats().messages, 2);
    clock.advance(1_000);
    await spool.flush();
    storage.fails.remove = false;
    clock.advance(1_000);
    await spool.flush();
    assertEquals([spool.stats().messages, slots], [1, 1]);
    assertEquals(clock.timers, 0);
  },
);

Deno.test("a failed commit evicts nobody", pure, async () => {
  const { storage, spool, add, take } = failing();
  const payload = new Uint8Array(6_000);
  await add(1, { payload, qos: 0 });
  storage.fails.append = true;
  assertEquals(await add(2, { payload }), BusErrorCode.FAILURE);
  assertEquals(spool.stats().evicted, 0);
  assertEquals(topics(await take()), ["t/1"]);
  storage.fails.append = false;
  spool.rewind();
  assertEquals(await add(3, { payload }), 0);
  assertEquals(spool.stats().evicted, 1);
  assertEquals(topics(await take()), ["t/3"]);
});

Deno.test("a spool that cannot be read says so, and that it can be read again", pure, async () => {
  const { storage, spool, add, take, clock, log } = failing();
  await add(1);
  spool.rewind();
  storage.fails.read = true;
  assertEquals(await take(), []);
  storage.fails.read = false;
  clock.advance(1_000);
  assertEquals(topics(await take()), ["t/1"]);
  assertStringIncludes(log.lines[0]!, "error cannot read the spool");
  assertStringIncludes(log.lines[1]!, "info the spool can be read again");
});

Deno.test(
  "a message that was put in quarantine is withheld before that is stored",
  pure,
  async () => {
    const { storage, spool, add, take, turn } = failing();
    for (const n of [1, 2]) await add(n);
    const [one] = await take(1);
    const { promise, resolve } = Promise.withResolvers<void>();
    storage.sync = promise;
    spool.quarantine(one!.seq, "why");
    turn();
    spool.rewind();
    assertEquals(topics(await take()), ["t/2"]);
    assertEquals(spool.stats().quarantined, []);
    resolve();
    await spool.flush();
    assertEquals(topics(spool.stats().quarantined), ["t/1"]);
  },
);

Deno.test(
  "messages that are stored while others are read are handed out after them",
  pure,
  async () => {
    const { spool, add, take } = failing();
    for (const n of [1, 2]) await add(n);
    spool.rewind();
    assertEquals(spool.take(9, Infinity), [], "they are being read");
    await add(3);
    spool.rewind();
    await add(4);
    assertEquals(topics([...await take(), ...await take()]), ["t/1", "t/2", "t/3", "t/4"]);
  },
);

Deno.test("what is more than is read ahead is read from the storage, in order", pure, async () => {
  const { storage } = failing();
  const { spool, add, take } = spoolOn(storage, new FakeClock(), 10_000_000);
  assertEquals(await take(), []);
  for (let n = 0; n < 40; n++) await add(n, { payload: new Uint8Array(100_000) });
  const seen: string[] = [];
  for (let some = await take(3); some.length > 0; some = await take(3)) seen.push(...topics(some));
  assertEquals(seen, Array.from({ length: 40 }, (_, n) => `t/${n}`));
  assertEquals(spool.stats().messages, 40);
});

Deno.test(
  "a message that expired while it waited to be sent is dropped and counted",
  pure,
  async () => {
    const { spool, add, take, clock } = failing();
    await add(1, { messageExpiry: 10 });
    await add(2);
    const [one, two] = await take();
    assertEquals([spool.dropExpired(one!), spool.dropExpired(two!)], [false, false]);
    clock.advance(10_000);
    assertEquals([spool.dropExpired(one!), spool.dropExpired(two!)], [true, false]);
    await spool.flush();
    assertEquals([spool.stats().expired, spool.stats().messages], [1, 1]);
  },
);

Deno.test("closing answers what waits, and what comes later", pure, async () => {
  const { spool, storage } = failing();
  const answers: (number | undefined)[] = [];
  spool.append(message(1), (error) => answers.push(error?.code));
  const closed = spool.close();
  spool.append(message(2), (error) => answers.push(error?.code));
  await closed;
  assertEquals([answers, storage.commits.length], [[BusErrorCode.FAILURE, undefined], 1]);
  assertEquals(spool.take(1, 0), []);
});
