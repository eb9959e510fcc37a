import { ExitError } from "../../src/base/errors.ts";
import { FORMAT_VERSION, readRecords } from "../../src/spool/log/segment.ts";
import { crc32c } from "../../src/spool/log/crc32c.ts";
import { StorageError } from "../../src/spool/storage.ts";
import { assert, assertEquals, assertGreater, assertMatch, assertRejects } from "../deps.ts";
import { hold, put, readAll, record, remove, spoolOn, topics } from "../support/spool_contract.ts";
import { FakeClock } from "../support/fake_clock.ts";
import { Random } from "../support/random.ts";
import { copySpool, namesIn, openDisk, segmentsIn } from "../support/spool_disk.ts";
import { tempDir } from "../support/temp.ts";
import { canMount, mountTmpfs } from "../support/tmpfs.ts";
import { waitFor } from "../support/wait.ts";

function mode(path: string): string {
  return (Deno.statSync(path).mode! & 0o777).toString(8);
}

/** Bytes that the files of a folder take. */
function sizeOfFolder(dir: string): number {
  return namesIn(dir).reduce((sum, name) => sum + Deno.statSync(`${dir}/${name}`).size, 0);
}

Deno.test("the folder is 0700 and its files 0600, made if missing", async () => {
  await using dir = await tempDir();
  const path = `${dir.path}/a/b/spool`;
  await using disk = await openDisk(path);
  await put(disk.storage, record(1));
  await waitFor("the next segment", () => namesIn(path).includes("spare.log"));
  assertEquals(mode(path), "700");
  assertEquals(namesIn(path), ["0000000000000001.log", "spare.log", "spool.lock"]);
  for (const name of namesIn(path)) assertEquals([name, mode(`${path}/${name}`)], [name, "600"]);
});

Deno.test("an open folder of the spool's own is closed to others, a shared one is left alone", async () => {
  await using dir = await tempDir();
  const own = `${dir.path}/own`;
  const shared = `${dir.path}/shared`;
  for (const path of [own, shared]) {
    Deno.mkdirSync(path);
    Deno.chmodSync(path, 0o755);
  }
  Deno.writeTextFileSync(`${shared}/other`, "");
  await using _own = await openDisk(own);
  await using disk = await openDisk(shared);
  assertEquals([mode(own), mode(shared)], ["700", "755"]);
  assertMatch(disk.log.lines[0]!, /^warn .*open to others/);
});

Deno.test("what was stored is there after a restart, with quarantine, numbers and expiry", async () => {
  await using dir = await tempDir();
  let usage;
  let seqs: readonly number[];
  {
    await using disk = await openDisk(dir.path);
    seqs = await put(disk.storage, record(1), record(2, 0), record(3, 1, { expiresAt: 9e12 }));
    await hold(disk.storage, seqs[0]!, "why");
    usage = { ...disk.storage.usage };
  }
  await using disk = await openDisk(dir.path);
  const { storage } = disk;
  const read = await readAll(storage);
  assertEquals(topics(read), ["t/2", "t/3"]);
  assertEquals(read[1]!.expiresAt, 9e12);
  assertEquals(storage.quarantined()[0]!.reason, "why");
  assertEquals(storage.usage, usage);
  assertGreater((await put(storage, record(4)))[0]!, seqs[2]!);
  assertEquals(disk.log.lines, []);
});

Deno.test("numbers are not used twice over restarts, whatever was removed", async () => {
  await using dir = await tempDir();
  let last = 0;
  for (let n = 0; n < 5; n++) {
    await using disk = await openDisk(dir.path);
    const [seq] = await put(disk.storage, record(n));
    assertGreater(seq!, last);
    last = seq!;
    await remove(disk.storage, seq!);
  }
});

Deno.test("a message expires in the spool also across a restart", async () => {
  await using dir = await tempDir();
  const clock = new FakeClock();
  {
    await using disk = await openDisk(dir.path, clock);
    const before = spoolOn(disk.storage, clock);
    await before.add(1, { messageExpiry: 60 });
    await before.add(2);
    await before.spool.close();
  }
  clock.advance(61_000);
  await using disk = await openDisk(dir.path, clock);
  const { spool, take } = spoolOn(disk.storage, clock);
  assertEquals(topics(await take()), ["t/2"]);
  assertEquals(spool.stats().expired, 1);
  await spool.close();
});

Deno.test("a clock that is behind the newest message after a restart counts as no time passed", async () => {
  await using dir = await tempDir();
  const clock = new FakeClock();
  {
    await using disk = await openDisk(dir.path, clock);
    const before = spoolOn(disk.storage, clock);
    await before.add(1, { messageExpiry: 60 });
    clock.advance(30_000);
    await before.add(2, { messageExpiry: 60 });
    await before.spool.close();
  }
  clock.setWall(0);
  await using disk = await openDisk(dir.path, clock);
  const { spool, take } = spoolOn(disk.storage, clock);
  await readAll(disk.storage);
  clock.advance(29_999);
  assertEquals(spool.stats().oldestAgeMs, 59_999);
  clock.advance(1);
  assertEquals(topics(await take()), ["t/2"]);
  await spool.close();
});

Deno.test("what was committed when the process was killed is there", async () => {
  await using dir = await tempDir();
  {
    await using disk = await openDisk(`${dir.path}/spool`);
    for (let n = 0; n < 50; n++) await put(disk.storage, record(n));
    copySpool(`${dir.path}/spool`, `${dir.path}/crashed`);
  }
  await using disk = await openDisk(`${dir.path}/crashed`);
  assertEquals((await readAll(disk.storage)).length, 50);
  assertEquals(disk.log.lines, []);
});

Deno.test("what goes through a spool for long leaves no files behind, and what is held is moved", async () => {
  await using dir = await tempDir();
  const path = `${dir.path}/spool`;
  const payload = new Uint8Array(20_000);
  const bound = 4_000_000;
  {
    await using disk = await openDisk(path, new FakeClock(), bound);
    const { storage } = disk;
    const [held] = await put(storage, record(1));
    await hold(storage, held!, "why");
    for (let n = 0; n < 400; n++) {
      const seqs = await put(storage, record(n, 1, { payload }), record(n + 1));
      await remove(storage, ...seqs);
      assert(sizeOfFolder(path) <= bound * 1.5 + 2 * 524_288);
    }
    await waitFor("what is held to be moved", () => segmentsIn(path).length <= 2);
  }
  await using disk = await openDisk(path, new FakeClock(), bound);
  assertEquals(await readAll(disk.storage), []);
  assertEquals(topics(disk.storage.quarantined()), ["t/1"]);
  assertEquals(disk.log.lines, []);
});

Deno.test("a spool of which every second message stays takes half as much again as its bound, and keeps order", async () => {
  await using dir = await tempDir();
  const path = `${dir.path}/spool`;
  const bound = 4_000_000;
  const payload = new Uint8Array(20_000);
  const wanted: string[] = [];
  {
    await using disk = await openDisk(path, new FakeClock(), bound);
    for (let n = 0; n < 300; n++) {
      const seqs = await put(
        disk.storage,
        record(n, 1, { payload }),
        record(n + 1_000, 1, { payload }),
      );
      await remove(disk.storage, seqs[0]!);
      wanted.push(`t/${n + 1_000}`);
      if (wanted.length <= 170) continue;
      const [oldest] = await disk.storage.read(0, 1, 0);
      await remove(disk.storage, oldest!.seq);
      wanted.shift();
    }
    await waitFor("the bound", () => sizeOfFolder(path) <= bound * 1.5 + 2 * 524_288);
    assertEquals(topics(await readAll(disk.storage)), wanted);
  }
  await using disk = await openDisk(path, new FakeClock(), bound);
  assertEquals(topics(await readAll(disk.storage)), wanted);
  assertEquals(disk.log.lines, []);
});

Deno.test("messages can be stored at once after a start, behind a thousand that are still being read", async () => {
  await using dir = await tempDir();
  const payload = new Uint8Array(3_000);
  {
    await using disk = await openDisk(dir.path);
    for (let n = 0; n < 1_000; n++) await put(disk.storage, record(n, 1, { payload }));
  }
  await using disk = await openDisk(dir.path);
  const [seq] = await put(disk.storage, record(2_000));
  assertEquals(disk.storage.usage.messages, 1_001, "what is not read yet is known");
  const read = await readAll(disk.storage);
  assertEquals(topics(read), [...Array.from({ length: 1_000 }, (_, n) => `t/${n}`), "t/2000"]);
  assertEquals(read.at(-1)!.seq, seq);
});

Deno.test("what is stored before the last segment was read again hides nothing of it", async () => {
  await using dir = await tempDir();
  for (let round = 0; round < 5; round++) {
    await using disk = await openDisk(dir.path);
    const { storage } = disk;
    const before = round === 0 ? [] : await put(storage, record(round * 10));
    for (let n = 1; n < 5; n++) await put(storage, record(round * 10 + n));
    assertEquals(before.length, round === 0 ? 0 : 1);
  }
  await using disk = await openDisk(dir.path);
  const wanted = [0, 1, 2, 3, 4].flatMap((round) =>
    [...round === 0 ? [] : [0], 1, 2, 3, 4].map((n) => `t/${round * 10 + n}`)
  );
  assertEquals(topics(await readAll(disk.storage)), wanted);
});

Deno.test("what lives after thousands of commits at once is there after a restart, and nothing else", async (t) => {
  await using dir = await tempDir();
  const seed = crypto.getRandomValues(new Uint32Array(1))[0]!;
  await t.step(`seed ${seed}`, async () => {
    const random = new Random(seed);
    const wanted = new Map<number, string>();
    const quarantined = new Set<number>();
    let n = 0;
    for (let start = 0; start < 6; start++) {
      await using disk = await openDisk(dir.path, new FakeClock(), 2_000_000);
      const { storage } = disk;
      await readAll(storage);
      for (let round = 0; round < 60; round++) {
        await Promise.all(Array.from({ length: 5 }, async () => {
          const some = [...wanted.keys()].filter(() => random.int(3) > 0);
          const much = wanted.size > 60 || random.int(4) === 0;
          const append = much ? [] : Array.from(
            { length: random.int(4) },
            () => record(n++, random.int(2) ? 1 : 0, { payload: random.bytes(60_000) }),
          );
          const remove = much ? some : some.slice(0, random.int(3));
          const quarantine = random.int(9) > 0
            ? []
            : some.slice(-1).map((seq) => ({ seq, reason: "why" }));
          const release = random.int(9) > 0 ? [] : [...quarantined].slice(0, 1);
          for (const seq of remove) wanted.delete(seq);
          for (const { seq } of quarantine) if (wanted.has(seq)) quarantined.add(seq);
          for (const seq of release) quarantined.delete(seq);
          for (const seq of remove) quarantined.delete(seq);
          const seqs = await storage.commit({ append, remove, quarantine, release });
          seqs.forEach((seq, m) => wanted.set(seq, append[m]!.topic));
        }));
      }
      assertEquals(disk.log.lines, []);
    }
    await using disk = await openDisk(dir.path, new FakeClock(), 2_000_000);
    const read = await readAll(disk.storage);
    assertEquals(disk.log.lines, []);
    assertEquals(new Set(disk.storage.quarantined().map(({ seq }) => seq)), quarantined);
    const free = [...wanted].filter(([seq]) => !quarantined.has(seq)).sort(([a], [b]) => a - b);
    assertEquals(read.map(({ seq, topic }) => [seq, topic]), free);
  });
});

Deno.test("a commit that begins in one segment and ends in the next one loses nothing, and repeats nothing", async () => {
  for (let left = 0; left < 90; left += 9) {
    await using dir = await tempDir();
    {
      await using disk = await openDisk(dir.path);
      const { storage } = disk;
      const payload = new Uint8Array(100_000);
      const seqs: number[] = [];
      for (let n = 0; n < 5; n++) seqs.push(...await put(storage, record(n, 1, { payload })));
      const bytes = Deno.readFileSync(`${dir.path}/${segmentsIn(dir.path)[0]}`);
      const { end } = readRecords(bytes, undefined, () => {});
      const fits = new Uint8Array(bytes.length - end - 46 - 3 - left);
      await storage.commit({
        append: [record(5, 1, { payload: fits })],
        remove: [seqs[1]!, seqs[4]!],
        quarantine: [{ seq: seqs[2]!, reason: "why" }],
      });
    }
    await using disk = await openDisk(dir.path);
    assertEquals(topics(await readAll(disk.storage)), ["t/0", "t/3", "t/5"], `${left} left`);
    assertEquals(topics(disk.storage.quarantined()), ["t/2"]);
    assertEquals(disk.log.lines, []);
  }
});

Deno.test("a segment that was named and not begun when the process was killed is no damage", async () => {
  await using dir = await tempDir();
  {
    await using disk = await openDisk(dir.path);
    await put(disk.storage, record(1));
  }
  Deno.writeFileSync(`${dir.path}/0000000000000002.log`, new Uint8Array(524_288));
  await using disk = await openDisk(dir.path);
  await put(disk.storage, record(2));
  assertEquals(topics(await readAll(disk.storage)), ["t/1", "t/2"]);
  assertEquals(disk.log.lines, []);
});

Deno.test("a second opener gets exit code 73, in this process and in another", async () => {
  await using dir = await tempDir();
  {
    await using _disk = await openDisk(dir.path);
    const error = await assertRejects(() => openDisk(dir.path), ExitError, "another daemon");
    assertEquals(error.exit, 73);
    const script = `${dir.path}/second.ts`;
    Deno.writeTextFileSync(script, useScript(""));
    const { code } = await new Deno.Command(Deno.execPath(), {
      args: ["run", "--no-config", "-A", script, dir.path],
    }).output();
    assertEquals(code, 73);
  }
  await using _disk = await openDisk(dir.path);
});

Deno.test("a file of another version, or of another program, is refused with 73 and left as it is", async () => {
  await using dir = await tempDir();
  const path = `${dir.path}/spool`;
  {
    await using disk = await openDisk(path);
    await put(disk.storage, record(1));
  }
  const [name] = segmentsIn(path);
  const sound = Deno.readFileSync(`${path}/${name}`);
  const newer = sound.slice();
  const view = new DataView(newer.buffer);
  view.setUint32(8, FORMAT_VERSION + 1);
  view.setUint32(28, crc32c(newer, 0, 28));
  const cases = [
    [newer, /version of 0000000000000001.log must be 1, got 2/],
    [
      new TextEncoder().encode("a diary, of somebody else".repeat(9)),
      /0000000000000001.log must be/,
    ],
  ] as const;
  for (const [bytes, why] of cases) {
    Deno.writeFileSync(`${path}/${name}`, bytes);
    const before = namesIn(path);
    const error = await assertRejects(() => openDisk(path), ExitError);
    assertEquals(error.exit, 73);
    assertMatch(error.message, why);
    assertEquals([namesIn(path), Deno.readFileSync(`${path}/${name}`)], [before, bytes]);
  }
});

Deno.test("a path that cannot be a folder ends with exit code 73 and one line", async () => {
  await using dir = await tempDir();
  Deno.writeTextFileSync(`${dir.path}/file`, "mine");
  const long = `${dir.path}${"/a-folder".repeat(450)}`;
  for (const path of [`${dir.path}/file`, `${dir.path}/file/below`, long]) {
    const error = await assertRejects(() => openDisk(path), ExitError);
    assertEquals(error.exit, 73);
    assert(error.message.includes(`--spool ${path}`), error.message);
    assert(!error.message.includes("\n"));
  }
  assertEquals(Deno.readTextFileSync(`${dir.path}/file`), "mine");
});

Deno.test("no file of the spool is reached through a symbolic link", async () => {
  await using dir = await tempDir();
  const victim = `${dir.path}/victim`;
  Deno.writeTextFileSync(victim, "mine");
  for (const name of ["spool.lock", "0000000000000001.log"]) {
    const path = `${dir.path}/${name}-spool`;
    Deno.mkdirSync(path, { mode: 0o700 });
    Deno.symlinkSync(victim, `${path}/${name}`);
    const error = await assertRejects(() => openDisk(path), ExitError, `${name} must be a file`);
    assertEquals(error.exit, 73);
  }
  const path = `${dir.path}/spare`;
  Deno.mkdirSync(path, { mode: 0o700 });
  Deno.symlinkSync(victim, `${path}/spare.log`);
  await using disk = await openDisk(path);
  await put(disk.storage, record(1));
  assertEquals(Deno.readTextFileSync(victim), "mine");
});

/** A program that opens the spool named by its argument, uses it and closes it. */
function useScript(use: string): string {
  const src = new URL("../../src/", import.meta.url);
  return `import { openLog } from "${new URL("spool/log/log_storage.ts", src)}";
    import { systemClock as clock } from "${new URL("base/clock.ts", src)}";
    const log = { debug() {}, info() {}, warn() {}, error() {} };
    let storage;
    try {
      storage = await openLog({ dir: Deno.args[0], maxBytes: 4_000_000, clock, log });
    } catch (error) {
      Deno.exit(error.exit);
    }
    ${use}
    await storage[Symbol.asyncDispose]();`;
}

const ignore = !(await canMount());

Deno.test({
  name: "a full disk refuses with NOMEM, goes on draining, and takes again when there is room",
  ignore,
  fn: async () => {
    await using dir = await tempDir();
    await using _mount = mountTmpfs(dir.path, "size=3m");
    const path = `${dir.path}/spool`;
    const seen: string[] = [];
    const accepted: number[] = [];
    {
      await using disk = await openDisk(path, new FakeClock(), 100_000_000);
      const { clock } = disk;
      const { spool, add, take, log } = spoolOn(disk.storage, clock, 100_000_000);
      const payload = new Uint8Array(20_000);
      let refused = 0;
      for (let n = 0; n < 300; n++) {
        const code = await add(n, { payload });
        if (code === 0) accepted.push(n);
        else {
          assertEquals(code, 9);
          refused++;
        }
      }
      assert(accepted.length > 20 && refused > 20, `${accepted.length} accepted`);
      assertEquals(spool.stats().refused, refused);
      assertEquals(log.lines.filter((line) => line.includes("cannot write")).length, 1);
      const drain = async (): Promise<void> => {
        for (let batch = await take(10); batch.length > 0; batch = await take(10)) {
          for (const one of batch) {
            seen.push(one.topic);
            spool.settled(one.seq);
          }
          await spool.flush();
        }
      };
      await drain();
      assertEquals(seen, accepted.map((n) => `t/${n}`));
      spool.rewind();
      assertEquals(await take(), [], "what was sent is not sent again");
      assertEquals(spool.stats().messages, 0, "what was sent is removed");
      await waitFor("room", async () => {
        clock.advance(1_000);
        return await add(1_001) === 0;
      });
      seen.length = 0;
      await drain();
      assertEquals(seen.at(-1), "t/1001");
      await spool.close();
    }
    await using disk = await openDisk(path, new FakeClock(), 100_000_000);
    assertEquals(topics(await readAll(disk.storage)), []);
  },
});

Deno.test({
  name: "nothing is lost over 30 times that a disk is full, and has room again",
  ignore,
  fn: async (t) => {
    await using dir = await tempDir();
    await using _mount = mountTmpfs(dir.path, "size=4m");
    const path = `${dir.path}/spool`;
    const waiting = new Set<string>();
    const delivered: string[] = [];
    let accepted = 0;
    let refused = 0;
    for (let cycle = 0; cycle < 30; cycle++) {
      await using disk = await openDisk(path, new FakeClock(), 100_000_000);
      const { spool, add, take } = spoolOn(disk.storage, disk.clock, 100_000_000);
      let full = 0;
      for (let n = 0; full < 3; n++) {
        const code = await add(cycle * 10_000 + n, { payload: new Uint8Array(9_000 + 100 * n) });
        if (code === 0) waiting.add(`t/${cycle * 10_000 + n}`);
        assert(code === 0 || code === 9, `${code}`);
        if (code === 0) accepted++;
        else full++;
      }
      refused += 3;
      // All of it leaves, or half of it before the next start.
      let left = cycle % 2 === 0 ? Infinity : waiting.size >> 1;
      for (let batch = await take(7); batch.length > 0 && left > 0; batch = await take(7)) {
        for (const { topic, seq } of batch) {
          assert(waiting.delete(topic), `${topic} came twice, or from nowhere`);
          delivered.push(topic);
          spool.settled(seq);
        }
        left -= batch.length;
        await spool.flush();
      }
      await spool.close();
    }
    await using disk = await openDisk(path, new FakeClock(), 100_000_000);
    const rest = topics(await readAll(disk.storage));
    assertEquals(rest, [...waiting]);
    const numbers = delivered.map((topic) => Number(topic.slice(2)));
    assertEquals(numbers, numbers.toSorted((a, b) => a - b));
    await t.step(`${accepted} accepted, ${refused} refused, 0 lost`, () => {
      assertEquals(delivered.length + rest.length, accepted);
    });
  },
});

Deno.test({
  name: "a disk that became read-only refuses with FAILURE and hands out what it holds",
  ignore,
  fn: async () => {
    await using dir = await tempDir();
    await using _mount = mountTmpfs(dir.path, "size=3m");
    const path = `${dir.path}/spool`;
    const remount = async (how: string): Promise<void> => {
      await new Deno.Command("mount", { args: ["-o", `remount,${how}`, dir.path] }).output();
    };
    {
      await using disk = await openDisk(path);
      await put(disk.storage, record(1));
    }
    await remount("ro");
    const error = await assertRejects(() => openDisk(path), ExitError);
    assertEquals(error.exit, 73);
    assert(error.message.includes(`--spool ${path}`), error.message);
    await remount("rw");
    await using disk = await openDisk(path);
    assertEquals(topics(await readAll(disk.storage)), ["t/1"]);
  },
});

Deno.test({
  name: "a disk that others have filled refuses until there is room, and hands out what it holds",
  ignore,
  fn: async () => {
    await using dir = await tempDir();
    await using _mount = mountTmpfs(dir.path, "size=3m");
    const path = `${dir.path}/spool`;
    const payload = new Uint8Array(100_000);
    {
      await using disk = await openDisk(path);
      for (let n = 0; n < 5; n++) await put(disk.storage, record(n, 1, { payload }));
    }
    Deno.removeSync(`${path}/spare.log`);
    const hog = Deno.openSync(`${dir.path}/hog`, { write: true, createNew: true });
    try {
      while (true) hog.writeSync(new Uint8Array(4_096));
    } catch (error) {
      assertMatch((error as Error).message, /os error 28/);
    }
    hog.close();
    await using disk = await openDisk(path);
    const { spool, add, take } = spoolOn(disk.storage, disk.clock, 4_000_000);
    const [one] = await take(1);
    assertEquals(one!.topic, "t/0");
    assertEquals(await add(9, { payload }), 9);
    spool.settled(one!.seq);
    await spool.flush();
    assertEquals(spool.stats().messages, 4, "a removal finds room");
    Deno.removeSync(`${dir.path}/hog`);
    disk.clock.advance(1_000);
    assertEquals(await add(9, { payload }), 0);
    assertEquals(topics([...await take(), ...await take()]), ["t/1", "t/2", "t/3", "t/4", "t/9"]);
    await spool.close();
  },
});

Deno.test("a folder that was removed is noticed within a minute, said, and made again with what is open", async () => {
  await using dir = await tempDir();
  const path = `${dir.path}/spool`;
  {
    await using disk = await openDisk(path);
    const { storage, clock, log } = disk;
    await put(storage, record(1), record(2));
    Deno.removeSync(path, { recursive: true });
    clock.advance(60_000);
    await waitFor("the folder", () => log.lines.length > 0);
    const text = "error the spool's folder was removed or replaced: it was made again";
    assertEquals(log.lines, [`${text} {"path":"${path}","lost":0}`]);
    await put(storage, record(3));
    assertEquals(topics(await readAll(storage)), ["t/1", "t/2", "t/3"]);
  }
  await using disk = await openDisk(path);
  assertEquals(topics(await readAll(disk.storage)), ["t/1", "t/2", "t/3"]);
  assertEquals(disk.log.lines, []);
});

Deno.test("what was only in a removed folder is not claimed to be safe", async () => {
  await using dir = await tempDir();
  const path = `${dir.path}/spool`;
  await using disk = await openDisk(path);
  const { storage, clock, log } = disk;
  const payload = new Uint8Array(100_000);
  for (let n = 0; n < 12; n++) await put(storage, record(n, 1, { payload }));
  Deno.renameSync(path, `${dir.path}/away`);
  clock.advance(60_000);
  await put(storage, record(12));
  const left = topics(await readAll(storage));
  assertEquals(left.at(-1), "t/12");
  assertGreater(left.length, 1);
  assert(log.lines[0]!.endsWith(`"lost":${13 - left.length}}`), log.lines[0]);
  assertEquals(storage.usage.messages, left.length);
});

Deno.test("a folder that was replaced is noticed at the next segment, and what is taken goes out all the same", async () => {
  await using dir = await tempDir();
  const path = `${dir.path}/spool`;
  await using disk = await openDisk(path);
  const { spool, add, take } = spoolOn(disk.storage, disk.clock, 4_000_000);
  await add(0);
  const taken = await take();
  Deno.renameSync(path, `${dir.path}/away`);
  Deno.mkdirSync(path, { mode: 0o700 });
  const payload = new Uint8Array(100_000);
  const codes: number[] = [];
  for (let n = 1; n < 12; n++) codes.push(await add(n, { payload }));
  assertEquals(codes.filter((code) => code !== 0), [1], "the one that needed a new segment");
  spool.settled(taken[0]!.seq);
  await spool.flush();
  assertEquals(segmentsIn(path).length, 2);
  await spool.close();
});

Deno.test("after a sync that failed nothing of it is believed, and another segment is begun", async () => {
  await using dir = await tempDir();
  const { syncData } = Deno.FsFile.prototype;
  const syncs: string[] = [];
  {
    await using disk = await openDisk(dir.path);
    const { storage } = disk;
    const [one] = await put(storage, record(1), record(2));
    await waitFor("the next segment", () => namesIn(dir.path).includes("spare.log"));
    Deno.FsFile.prototype.syncData = () => {
      syncs.push("failed");
      return Promise.reject(new Error("Input/output error (os error 5)"));
    };
    try {
      const changes = { append: [record(3)], remove: [one!] };
      const error = await assertRejects(async () => await storage.commit(changes), StorageError);
      assertEquals(error.full, false);
    } finally {
      Deno.FsFile.prototype.syncData = syncData;
    }
    assertEquals(storage.usage.messages, 2, "nothing of the commit took place");
    await put(storage, record(4));
    assertEquals([syncs, segmentsIn(dir.path).length], [["failed"], 2]);
    assertEquals(topics(await readAll(storage)), ["t/1", "t/2", "t/4"]);
  }
  await using disk = await openDisk(dir.path);
  assertEquals(topics(await readAll(disk.storage)), ["t/1", "t/2", "t/4"]);
  assertEquals(disk.log.lines, []);
});

Deno.test("a closed storage says so", async () => {
  await using dir = await tempDir();
  const { storage } = await openDisk(dir.path);
  await storage[Symbol.asyncDispose]();
  await storage[Symbol.asyncDispose]();
  await assertRejects(() => put(storage, record(1)), StorageError, "closed");
});

Deno.test("read and write on its folder is all that a spool needs", async () => {
  await using dir = await tempDir();
  const script = `${dir.path}/use.ts`;
  Deno.writeTextFileSync(
    script,
    useScript(`
      const payload = new Uint8Array(9000);
      const one = { topic: "t", payload, qos: 1, acceptedAt: 1 };
      const [seq] = await storage.commit({ append: [one], remove: [] });
      await storage.commit({ append: [], remove: [], quarantine: [{ seq, reason: "why" }] });
      if (storage.quarantined().length !== 1) throw new Error("lost");`),
  );
  const path = `${dir.path}/spool`;
  Deno.mkdirSync(path);
  const { success, stderr } = await new Deno.Command(Deno.execPath(), {
    args: [
      "run",
      "--no-config",
      "--no-prompt",
      `--allow-read=${path}`,
      `--allow-write=${path}`,
      script,
      path,
    ],
  }).output();
  assert(success, new TextDecoder().decode(stderr));
});
