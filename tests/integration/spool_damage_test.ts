import type { Bytes } from "../../src/base/bytes.ts";
import { assert, assertEquals, assertGreater, assertMatch, assertStringIncludes } from "../deps.ts";
import { put, readAll, record, spoolOn, topics } from "../support/spool_contract.ts";
import { flipBit, makeSpecimen, surviveDamage } from "../support/spool_damage.ts";
import { copySpool, namesIn, openDisk } from "../support/spool_disk.ts";
import { tempDir } from "../support/temp.ts";

const PAGE = 4096;

/** A copy with a part overwritten by noise. */
function scrawl(bytes: Bytes, from: number, to: number): Bytes {
  const copy = bytes.slice();
  crypto.getRandomValues(copy.subarray(from, to));
  return copy;
}

Deno.test("each sampled bit of a closed spool, turned over, costs one message at most", async () => {
  await using dir = await tempDir();
  const specimen = makeSpecimen(dir.path, "closed");
  const step = 1493;
  const first = crypto.getRandomValues(new Uint16Array(1))[0]! % step;
  for (let bit = first; bit < specimen.main.length * 8; bit += step) {
    const { lost } = surviveDamage(dir.path, specimen, flipBit(specimen.main, bit));
    assert(lost <= 1, `bit ${bit}: ${lost} lost`);
  }
  for (let bit = 0; bit < 100 * 8; bit += 7) {
    const { lost } = surviveDamage(dir.path, specimen, flipBit(specimen.main, bit));
    assertEquals(lost, 0, `bit ${bit} of the header`);
  }
});

Deno.test("each sampled bit of the log of a crashed spool costs one message at most", async () => {
  await using dir = await tempDir();
  const specimen = makeSpecimen(dir.path, "crashed");
  const wal = specimen.wal!;
  const step = 9973;
  const first = crypto.getRandomValues(new Uint16Array(1))[0]! % step;
  const bits = [...Array(32).keys()].map((byte) => byte * 8 + (byte & 7));
  for (let bit = first; bit < wal.length * 8; bit += step) bits.push(bit);
  for (const bit of bits) {
    const { lost } = surviveDamage(dir.path, specimen, specimen.main, flipBit(wal, bit));
    assert(lost <= 1, `bit ${bit}: ${lost} lost`);
  }
});

Deno.test("a spool with noise in place of its header, or of its first page, loses nothing", async () => {
  await using dir = await tempDir();
  const specimen = makeSpecimen(dir.path, "closed");
  for (const end of [16, 100, PAGE]) {
    const outcome = surviveDamage(dir.path, specimen, scrawl(specimen.main, 0, end));
    assertEquals(outcome, { saved: 15, lost: 0, salvaged: true });
  }
});

Deno.test("a spool with noise in its middle or at its end keeps the rest", async () => {
  await using dir = await tempDir();
  const { main, ...rest } = makeSpecimen(dir.path, "closed");
  const specimen = { main, ...rest };
  for (let page = 1; page < main.length / PAGE; page++) {
    const damaged = scrawl(main, page * PAGE, (page + 1) * PAGE);
    assertGreater(surviveDamage(dir.path, specimen, damaged).saved, 0, `page ${page + 1}`);
  }
});

Deno.test("a spool that was cut short anywhere opens with what is left", async () => {
  await using dir = await tempDir();
  const specimen = makeSpecimen(dir.path, "closed");
  const { main } = specimen;
  for (
    const end of [0, 1, 50, 100, PAGE, PAGE + 1, 2 * PAGE, main.length - PAGE, main.length - 1]
  ) {
    const outcome = surviveDamage(dir.path, specimen, main.slice(0, end));
    assert(outcome.salvaged, `cut at ${end}`);
    if (end >= 2 * PAGE) assertGreater(outcome.saved, 0, `cut at ${end}`);
  }
});

Deno.test("a crashed spool whose database is empty or gone is read from its log", async () => {
  await using dir = await tempDir();
  const specimen = makeSpecimen(dir.path, "crashed");
  for (const main of [new Uint8Array(0), undefined]) {
    assertEquals(surviveDamage(dir.path, specimen, main), { saved: 15, lost: 0, salvaged: true });
  }
});

Deno.test("a log that was cut short while it was written is no damage", async () => {
  await using dir = await tempDir();
  const specimen = makeSpecimen(dir.path, "crashed");
  const wal = specimen.wal!;
  for (let end = wal.length; end > wal.length - 3 * 4120; end -= 511) {
    const outcome = surviveDamage(dir.path, specimen, specimen.main, wal.slice(0, end));
    assert(!outcome.salvaged, `cut at ${end}`);
  }
});

Deno.test("the log says when, how many were saved and lost, and where the damaged one is", async () => {
  await using dir = await tempDir();
  const path = `${dir.path}/spool`;
  const first = openDisk(path);
  put(first.storage, ...Array.from({ length: 100 }, (_, n) => record(n)));
  first.storage.close();
  const main = Deno.readFileSync(`${path}/spool.db`);
  const damaged = scrawl(main, main.length - PAGE, main.length);
  Deno.writeFileSync(`${path}/spool.db`, damaged);

  const { storage, log } = openDisk(path);
  const { length } = readAll(storage);
  assert(length > 20 && length < 100, `${length}`);
  storage.close();
  const aside = "spool-damaged-2026-01-01T00-00-00Z.db";
  assertEquals(namesIn(path), [aside, "spool.db", "spool.lock"]);
  assertEquals(Deno.readFileSync(`${path}/${aside}`), damaged);
  const line = log.lines.find((one) => one.includes("the spool was damaged"))!;
  assertStringIncludes(line, `"saved":${length},"lost":${100 - length}`);
  assertMatch(line, /^error .*spool-damaged-2026-01-01T00-00-00Z\.db/);
});

Deno.test("a salvage that a crash interrupted is finished at the next start", async () => {
  await using dir = await tempDir();
  const path = `${dir.path}/spool`;
  const first = openDisk(path);
  put(first.storage, record(1));
  first.storage.close();
  Deno.copyFileSync(`${path}/spool.db`, `${path}/spool-ready.db`);
  Deno.writeTextFileSync(`${path}/spool.db`, "ruins");
  Deno.writeTextFileSync(`${path}/spool-draft.db`, "half a draft");
  const { storage } = openDisk(path);
  assertEquals(topics(readAll(storage)), ["t/1"]);
  storage.close();
  assertEquals(Deno.readTextFileSync(`${path}/spool-damaged-2026-01-01T00-00-00Z.db`), "ruins");
});

Deno.test("damage that shows while the spool is in use is salvaged without stopping it", async () => {
  await using dir = await tempDir();
  const path = `${dir.path}/spool`;
  const { storage, clock } = openDisk(path);
  const { spool, add, turn } = spoolOn(storage, clock, 100_000_000);
  const payload = new Uint8Array(3_000);
  for (let n = 0; n < 3_000; n++) {
    spool.append({ topic: `t/${n}`, payload, qos: 1 }, (error) => assert(error === undefined));
  }
  turn();
  assertEquals(spool.stats().messages, 3_000);
  const taken = spool.take(10, Infinity);
  for (const { seq } of taken.slice(0, 5)) spool.settled(seq);
  turn();

  // Noise over pages that are not in the cache any more.
  const file = Deno.openSync(`${path}/spool.db`, { write: true });
  file.seekSync(1_000 * PAGE, Deno.SeekMode.Start);
  file.writeSync(crypto.getRandomValues(new Uint8Array(4 * PAGE)));
  file.close();

  const seen = new Set(topics(taken));
  let last = taken.at(-1)!.seq;
  for (let batch = spool.take(100, Infinity); batch.length > 0; batch = spool.take(100, Infinity)) {
    for (const one of batch) {
      assertGreater(one.seq, last);
      assert(!seen.has(one.topic), "nothing is handed out twice");
      assertEquals(one.payload.slice(), payload);
      last = one.seq;
      seen.add(one.topic);
      spool.settled(one.seq);
    }
    turn();
    clock.advance(5);
  }
  assert(seen.size >= 2_994 && seen.size < 3_000, `${seen.size} of 3000`);
  for (const { seq } of taken.slice(5)) spool.settled(seq);
  assertEquals(add(1), 0);
  assertEquals(topics(spool.take(9, Infinity)), ["t/1"]);
  assertEquals(spool.stats().messages, 1);
  await spool.close();
  assert(namesIn(path).some((name) => name.startsWith("spool-damaged-")));
});

Deno.test("messages that the tables do not show any more are missed, and found", async () => {
  await using dir = await tempDir();
  const path = `${dir.path}/spool`;
  const made = openDisk(path);
  put(
    made.storage,
    ...Array.from({ length: 5_000 }, (_, n) => record(n, 1, { payload: new Uint8Array(1_500) })),
  );
  made.storage.close();
  // A leaf page of the table that says that it has one cell less: SQLite reads on as if nothing were wrong.
  const main = Deno.readFileSync(`${path}/spool.db`);
  const view = new DataView(main.buffer);
  const leaf = 2_000 * PAGE;
  assertEquals(main[leaf], 13);
  view.setUint16(leaf + 3, view.getUint16(leaf + 3) - 1);
  Deno.writeFileSync(`${path}/spool.db`, main);

  const { storage, clock, log } = openDisk(path);
  const { spool } = spoolOn(storage, clock, 100_000_000);
  let count = 0;
  for (let batch = spool.take(500, Infinity); batch.length > 0; batch = spool.take(500, Infinity)) {
    count += batch.length;
  }
  assertStringIncludes(log.lines.join(), '"saved":5000,"lost":0');
  spool.rewind();
  assertEquals(spool.take(10_000, Infinity).length, 5_000);
  assert(count >= 4_999);
  await spool.close();
});

Deno.test("a record forged in a payload is never taken for a message", async () => {
  await using dir = await tempDir();
  const path = `${dir.path}/spool`;
  const { encodeRecord } = await import("../../src/spool/record.ts");
  const forged = encodeRecord(record(666), { spoolId: 1, seq: 9e9, prev: 0, floor: 8e9 });
  const made = openDisk(path);
  put(made.storage, record(1), record(2, 1, { payload: forged }), record(3));
  copySpool(path, `${dir.path}/copy`);
  made.storage.close();
  const main = Deno.readFileSync(`${path}/spool.db`);
  main[3] = 0;
  Deno.writeFileSync(`${path}/spool.db`, main);
  const { storage } = openDisk(path);
  assertEquals(topics(readAll(storage)), ["t/1", "t/2", "t/3"]);
  storage.close();
});
