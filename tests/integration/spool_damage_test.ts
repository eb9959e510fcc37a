import { assert, assertEquals, assertGreater, assertStringIncludes } from "../deps.ts";
import { Random } from "../support/random.ts";
import { put, readAll, record, remove, topics } from "../support/spool_contract.ts";
import {
  flipBit,
  makeSpecimen,
  scrawl,
  type Specimen,
  surviveDamage,
} from "../support/spool_damage.ts";
import { copySpool, namesIn, openDisk, segmentsIn } from "../support/spool_disk.ts";
import { tempDir } from "../support/temp.ts";
import { waitFor } from "../support/wait.ts";

/** The last segment of a specimen. */
function lastOf({ files }: Specimen) {
  const [name, bytes] = [...files].at(-1)!;
  return { name, bytes };
}

for (const segments of ["one", "several"] as const) {
  Deno.test(`each sampled bit of a spool of ${segments}, turned over, costs one message at most`, async (t) => {
    await using dir = await tempDir();
    const specimen = await makeSpecimen(dir.path, segments);
    const seed = crypto.getRandomValues(new Uint32Array(1))[0]!;
    await t.step(`seed ${seed}`, async () => {
      const random = new Random(seed);
      for (const [name, bytes] of specimen.files) {
        for (let n = 0; n < 60; n++) {
          // Half of them in the first bytes, where a spool is most vulnerable.
          const bit = random.int(n % 2 ? bytes.length * 8 : 200 * 8);
          const { lost } = await surviveDamage(
            dir.path,
            specimen,
            new Map([[name, flipBit(bytes, bit)]]),
          );
          assert(lost <= 1, `bit ${bit} of ${name}: ${lost} lost`);
        }
      }
    });
  });
}

Deno.test("no bit of a segment's head costs a message", async () => {
  await using dir = await tempDir();
  const specimen = await makeSpecimen(dir.path, "one");
  const { name, bytes } = lastOf(specimen);
  for (let bit = 0; bit < 32 * 8; bit += 3) {
    const outcome = await surviveDamage(
      dir.path,
      specimen,
      new Map([[name, flipBit(bytes, bit)]]),
    );
    assertEquals([bit, outcome.lost, outcome.said], [bit, 0, true]);
  }
});

Deno.test("noise in any part of a segment costs what is in that part, and nothing else", async () => {
  await using dir = await tempDir();
  const specimen = await makeSpecimen(dir.path, "one");
  const { name, bytes } = lastOf(specimen);
  for (let from = 0; from + 512 < bytes.length; from += 512) {
    const damaged = new Map([[name, scrawl(bytes, from, from + 512)]]);
    const { lost, said } = await surviveDamage(dir.path, specimen, damaged);
    // The shortest message of the specimen has 58 bytes.
    assert(lost <= 512 / 58 + 2, `from ${from}: ${lost} lost`);
    assert(said || lost === 0, `from ${from}`);
  }
});

Deno.test("a last segment that was cut short anywhere opens with what is left of it", async () => {
  await using dir = await tempDir();
  const specimen = await makeSpecimen(dir.path, "one");
  const { name, bytes } = lastOf(specimen);
  const random = new Random(4711);
  const ends = [
    ...Array(140).keys(),
    ...Array.from({ length: 120 }, () => random.int(bytes.length)),
  ];
  let before = 0;
  for (const end of ends.sort((a, b) => a - b)) {
    const { saved } = await surviveDamage(
      dir.path,
      specimen,
      new Map([[name, bytes.slice(0, end)]]),
    );
    assertGreater(saved, before - 1, `cut at ${end}`);
    before = saved;
  }
  assertGreater(before, 10);
});

Deno.test("a segment that is missing in the middle costs what lived in it, and is counted", async () => {
  await using dir = await tempDir();
  const path = `${dir.path}/spool`;
  {
    await using disk = await openDisk(path);
    for (let n = 0; n < 16; n++) {
      await put(disk.storage, record(n, 1, { payload: new Uint8Array(100_000) }));
    }
  }
  const [, second] = segmentsIn(path);
  Deno.removeSync(`${path}/${second}`);
  await using disk = await openDisk(path);
  const { length } = await readAll(disk.storage);
  assert(length >= 8 && length < 14, `${length} left`);
  const line = disk.log.lines.find((one) => one.includes("the spool was damaged"))!;
  assertStringIncludes(line, `"read":${length},"lost":${16 - length},"repeated":0`);
});

Deno.test("one line says how many messages were read, lost and repeated, and where the file is", async () => {
  await using dir = await tempDir();
  const path = `${dir.path}/spool`;
  {
    await using disk = await openDisk(path);
    const seqs = await put(disk.storage, ...Array.from({ length: 100 }, (_, n) => record(n)));
    await remove(disk.storage, ...seqs.slice(0, 10));
    await put(disk.storage, record(100));
    await remove(disk.storage, seqs[20]!);
    await put(disk.storage, record(101));
    await remove(disk.storage, seqs[30]!);
  }
  const [name] = segmentsIn(path);
  const bytes = Deno.readFileSync(`${path}/${name}`);
  const text = new TextDecoder("latin1").decode(bytes);
  // The record of message 50, and the removal behind message 100.
  bytes[text.indexOf("payload 50")]! ^= 1;
  bytes[text.indexOf("payload 100") + 11 + 30]! ^= 1;
  Deno.writeFileSync(`${path}/${name}`, bytes);
  await using disk = await openDisk(path);
  const read = await readAll(disk.storage);
  const line = disk.log.lines.find((one) => one.includes("the spool was damaged"))!;
  assertStringIncludes(line, `error the spool was damaged {"read":90,"lost":1,"repeated":1`);
  assertEquals(read.length, 90);
  assertEquals(namesIn(`${path}/damaged`), [name]);
  assertEquals(Deno.readFileSync(`${path}/damaged/${name}`).subarray(0, bytes.length), bytes);
});

Deno.test("at most three damaged files are kept", async () => {
  await using dir = await tempDir();
  const path = `${dir.path}/spool`;
  for (let round = 0; round < 5; round++) {
    await using disk = await openDisk(path);
    await put(disk.storage, record(round), record(round));
    const name = segmentsIn(path).at(-1)!;
    const bytes = Deno.readFileSync(`${path}/${name}`);
    const at = new TextDecoder("latin1").decode(bytes).lastIndexOf(`payload ${round}`) - 100;
    bytes[at]! ^= 1;
    await disk[Symbol.asyncDispose]();
    Deno.writeFileSync(`${path}/${name}`, bytes);
  }
  await using disk = await openDisk(path);
  await readAll(disk.storage);
  await put(disk.storage, record(1));
  const kept = () => namesIn(path).includes("damaged") ? namesIn(`${path}/damaged`) : [];
  await waitFor("three of them", () => kept().length === 3);
  assertEquals(kept().length, 3);
});

Deno.test("damage that shows while the spool is in use costs the message, and is said", async () => {
  await using dir = await tempDir();
  const path = `${dir.path}/spool`;
  await using disk = await openDisk(path);
  const seqs = await put(disk.storage, ...Array.from({ length: 10 }, (_, n) => record(n)));
  const [name] = segmentsIn(path);
  const bytes = Deno.readFileSync(`${path}/${name}`);
  bytes[new TextDecoder("latin1").decode(bytes).indexOf("payload 4")]! ^= 1;
  Deno.writeFileSync(`${path}/${name}`, bytes);
  const read = await readAll(disk.storage);
  assertEquals(read.map(({ seq }) => seq), seqs.filter((_, n) => n !== 4));
  assertEquals(disk.storage.usage.messages, 9);
  assertEquals(disk.log.lines, [
    `error a message in the spool is damaged and lost {"seq":${seqs[4]}}`,
  ]);
});

Deno.test("a record of another spool, in a payload, is never taken for a message", async () => {
  await using dir = await tempDir();
  const other = `${dir.path}/other`;
  {
    await using disk = await openDisk(other);
    await put(disk.storage, record(666));
  }
  const forged = Deno.readFileSync(`${other}/${segmentsIn(other)[0]}`).slice(32, 400);
  const path = `${dir.path}/spool`;
  {
    await using disk = await openDisk(path);
    await put(disk.storage, record(1), record(2, 1, { payload: forged }), record(3));
    copySpool(path, `${dir.path}/copy`);
  }
  const [name] = segmentsIn(`${dir.path}/copy`);
  const bytes = Deno.readFileSync(`${dir.path}/copy/${name}`);
  bytes[new TextDecoder("latin1").decode(bytes).indexOf("t/2")]! ^= 1;
  Deno.writeFileSync(`${dir.path}/copy/${name}`, bytes);
  await using disk = await openDisk(`${dir.path}/copy`);
  assertEquals(topics(await readAll(disk.storage)), ["t/1", "t/3"]);
});
