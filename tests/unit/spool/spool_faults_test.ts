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

/** A storage that fails as it is told, and otherwise works like one on disk. */
class FailingStorage implements SpoolStorage {
  readonly kind = "disk";
  readonly #memory = new MemoryStorage();
  readonly usage = this.#memory.usage;
  readonly fails = { append: false, remove: false, read: false, quarantine: false };
  readonly commits: Changes[] = [];
  distrusted: string[] = [];
  onSalvaged: (() => void) | undefined;

  commit(changes: Changes): number[] {
    if (this.fails.append && changes.append.length > 0) throw new StorageError("disk is full");
    if (this.fails.remove && changes.remove.length > 0) throw new StorageError("disk is full");
    this.commits.push(changes);
    return this.#memory.commit(changes);
  }
  read(afterSeq: number, limit: number, maxBytes: number): SpoolRecord[] {
    if (this.fails.read) throw new StorageError("disk I/O error");
    return this.#memory.read(afterSeq, limit, maxBytes);
  }
  readQos0(afterSeq: number, limit: number): { seq: number; size: number }[] {
    if (this.fails.read) throw new StorageError("disk I/O error");
    return this.#memory.readQos0(afterSeq, limit);
  }
  oldestAcceptedAt(): number | undefined {
    if (this.fails.read) throw new StorageError("disk I/O error");
    return this.#memory.oldestAcceptedAt();
  }
  quarantine(seq: number, reason: string): void {
    if (this.fails.quarantine) throw new StorageError("disk is full");
    this.#memory.quarantine(seq, reason);
  }
  release(seqs: readonly number[]): number {
    if (this.fails.quarantine) throw new StorageError("disk is full");
    return this.#memory.release(seqs);
  }
  quarantined(): readonly Quarantined[] {
    return this.#memory.quarantined();
  }
  distrust(why: string): void {
    this.distrusted.push(why);
    this.onSalvaged?.();
  }
  close(): void {
    this.#memory.close();
  }
}

function failing(): SpoolUnderTest & { storage: FailingStorage } {
  const storage = new FailingStorage();
  return { storage, ...spoolOn(storage, new FakeClock()) };
}

const pure = { permissions: "none" } as const;

Deno.test("whatever arrives in a turn shares one commit, with the removals", pure, () => {
  const { storage, spool, turn, add } = failing();
  add(1);
  const [one] = spool.take(1, 0);
  storage.commits.length = 0;
  const answers: number[] = [];
  for (const n of [2, 3, 4]) spool.append(message(n), (_, seq) => answers.push(seq));
  spool.settled(one!.seq, () => answers.push(0));
  assertEquals([storage.commits.length, answers], [0, []]);
  turn();
  assertEquals([storage.commits.length, answers], [1, [0, 2, 3, 4]]);
});

Deno.test("a group is committed at once when it is large", pure, () => {
  const { storage, spool } = failing();
  let answered = 0;
  const huge = spoolOn(storage, new FakeClock(), 10_000_000).spool;
  for (let n = 0; n < 3; n++) {
    huge.append(message(n, { payload: new Uint8Array(100_000) }), () => answered++);
  }
  assertEquals([storage.commits.length, answered], [1, 3]);
  assertEquals(spool.stats().messages, 3);
});

Deno.test(
  "a storage error answers FAILURE, is logged once, and does not stop draining",
  pure,
  () => {
    const { storage, spool, add, turn, log, clock } = failing();
    for (const n of [1, 2]) add(n);
    storage.fails.append = true;
    const [one] = spool.take(1, 0);
    let slot = 0;
    spool.settled(one!.seq, () => slot = spool.stats().messages);
    assertEquals([add(3), add(4)], [1, 1]);
    assertEquals(slot, 1, "the removal is committed without the message");
    assertEquals(topics(spool.take(9, Infinity)), ["t/2"]);
    assertEquals([spool.stats().failed, spool.stats().messages], [2, 1]);
    storage.fails.append = false;
    assertEquals(add(5), 0);
    turn();
    clock.advance(5);
    assertEquals(log.lines, [
      'error cannot write to the spool {"error":"disk is full"}',
      "info the spool can be written again {}",
    ]);
  },
);

Deno.test(
  "a removal that fails is remembered, tried again, and not handed out meanwhile",
  pure,
  () => {
    const { storage, spool, add, turn, clock } = failing();
    for (const n of [1, 2]) add(n);
    storage.fails.remove = true;
    const [one] = spool.take(1, 0);
    let slots = 0;
    spool.settled(one!.seq, () => slots++);
    turn();
    assertEquals(slots, 1, "the slot does not wait for the disk");
    spool.rewind();
    assertEquals(topics(spool.take(9, Infinity)), ["t/2"]);
    assertEquals(spool.stats().messages, 2);
    clock.advance(1_000);
    storage.fails.remove = false;
    clock.advance(1_000);
    assertEquals([spool.stats().messages, slots], [1, 1]);
    assertEquals(clock.timers, 0);
  },
);

Deno.test("a failed commit evicts nobody", pure, () => {
  const { storage, spool, add } = failing();
  const payload = new Uint8Array(6_000);
  add(1, { payload, qos: 0 });
  storage.fails.append = true;
  assertEquals(add(2, { payload }), 1);
  assertEquals(spool.stats().evicted, 0);
  assertEquals(topics(spool.take(9, Infinity)), ["t/1"]);
  storage.fails.append = false;
  spool.rewind();
  assertEquals(add(3, { payload }), 0);
  assertEquals(spool.stats().evicted, 1);
});

Deno.test("a spool that cannot be read says so, and that it can be read again", pure, () => {
  const { storage, spool, add, clock, log } = failing();
  add(1);
  storage.fails.read = true;
  assertEquals(spool.take(9, Infinity), []);
  assertEquals(spool.stats().oldestAgeMs, 0);
  storage.fails.read = false;
  let taken: string[] = [];
  spool.onAvailable = () => taken = topics(spool.take(9, Infinity));
  clock.advance(1_000);
  assertEquals(taken, ["t/1"]);
  assertStringIncludes(log.lines[0]!, "error cannot read the spool");
  assertStringIncludes(log.lines[1]!, "info the spool can be read again");
});

Deno.test("a message that cannot be put in quarantine is withheld until it can", pure, () => {
  const { storage, spool, add, clock } = failing();
  for (const n of [1, 2]) add(n);
  const [one] = spool.take(1, 0);
  storage.fails.quarantine = true;
  spool.quarantine(one!.seq, "why");
  spool.rewind();
  assertEquals(topics(spool.take(9, Infinity)), ["t/2"]);
  assertEquals(spool.take(9, Infinity), []);
  assertEquals([storage.distrusted, spool.stats().quarantined], [[], []]);
  storage.fails.quarantine = false;
  clock.advance(1_000);
  assertEquals(topics(spool.stats().quarantined), ["t/1"]);
});

Deno.test("messages that cannot be found are reported to the storage, once per look", pure, () => {
  const { storage, spool, add } = failing();
  add(1);
  storage.usage.messages++;
  assertEquals(topics(spool.take(9, Infinity)), ["t/1"]);
  assertEquals(spool.take(9, Infinity), []);
  assertEquals(storage.distrusted, ["1 messages cannot be found"]);
});

Deno.test("a salvage hands nothing out that is in flight, but all that was hidden", pure, () => {
  const { storage, spool, add, clock } = failing();
  for (const n of [1, 2, 3]) add(n);
  const taken = spool.take(2, Infinity);
  let available = 0;
  spool.onAvailable = () => available++;
  storage.onSalvaged!();
  clock.advance(1_000);
  assertEquals(available, 1);
  assertEquals(topics(spool.take(9, Infinity)), ["t/3"]);
  spool.settled(taken[0]!.seq);
  spool.rewind();
  assertEquals(topics(spool.take(9, Infinity)), ["t/2", "t/3"]);
});

Deno.test("a message that expired while it waited to be sent is dropped and counted", pure, () => {
  const { spool, add, turn, clock } = failing();
  add(1, { messageExpiry: 10 });
  add(2);
  const [one, two] = spool.take(9, Infinity);
  assertEquals([spool.dropExpired(one!), spool.dropExpired(two!)], [false, false]);
  clock.advance(10_000);
  assertEquals([spool.dropExpired(one!), spool.dropExpired(two!)], [true, false]);
  turn();
  clock.advance(5);
  assertEquals([spool.stats().expired, spool.stats().messages], [1, 1]);
});

Deno.test("closing answers what waits, and what comes later", pure, async () => {
  const { spool, storage } = failing();
  const answers: (number | undefined)[] = [];
  spool.append(message(1), (error) => answers.push(error?.code));
  await spool.close();
  spool.append(message(2), (error) => answers.push(error?.code));
  assertEquals([answers, storage.commits.length], [[undefined, 1], 1]);
  assertEquals(spool.take(1, 0), []);
});
