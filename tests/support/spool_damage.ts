import { type Bytes, utf8 } from "../../src/base/bytes.ts";
import type { NewRecord, SpoolRecord } from "../../src/spool/storage.ts";
import { assert, assertEquals, assertGreater } from "../deps.ts";
import { hold, put, readAll, record, remove } from "./spool_contract.ts";
import { copySpool, openDisk, segmentsIn } from "./spool_disk.ts";

/** The files of a spool, by name, and what is in it. */
export interface Specimen {
  readonly files: ReadonlyMap<string, Bytes>;
  readonly records: readonly NewRecord[];
  /** Topic of the one in quarantine. */
  readonly quarantined: string;
  /** Topics of messages that were removed: they may come back. */
  readonly removed: readonly string[];
}

/** How a damaged spool fared. */
export interface Outcome {
  readonly saved: number;
  readonly lost: number;
  /** Removed messages that are there again. */
  readonly repeated: number;
  /** Whether it was said that something is damaged, or was cut off. */
  readonly said: boolean;
}

const QUARANTINED = 3;
const GONE = [90, 91];

function contents(): NewRecord[] {
  const large = (n: number, bytes: number): NewRecord =>
    record(n, 1, { payload: new Uint8Array(bytes).map((_, i) => (i * 7 + n) % 251) });
  return [
    ...Array.from({ length: 8 }, (_, n) => record(n)),
    large(8, 6_000),
    record(9, 0),
    record(10, 1, { expiresAt: 4e12 }),
    large(11, 9_000),
    record(12, 0),
    record(13, 1, { payload: utf8("\xf5IOR looks like a record") }),
    record(14),
  ];
}

/** Makes a small spool as a crash leaves it: in one segment, or in several. */
export async function makeSpecimen(dir: string, segments: "one" | "several"): Promise<Specimen> {
  const path = `${dir}/made`;
  const records = contents();
  const removed = [...GONE];
  {
    await using disk = await openDisk(path);
    const { storage } = disk;
    const seqs: number[] = [];
    for (const one of records) seqs.push(...await put(storage, one));
    await remove(storage, ...await put(storage, record(GONE[0]!), record(GONE[1]!)));
    await hold(storage, seqs[QUARANTINED]!, "poison");
    if (segments === "several") {
      for (let n = 100; n < 109; n++) {
        removed.push(n);
        const payload = new Uint8Array(120_000);
        await remove(storage, ...await put(storage, record(n, 1, { payload })));
        records.push(record(n + 100));
        await put(storage, records.at(-1)!);
      }
    }
    copySpool(path, `${dir}/crashed`);
  }
  const files = new Map(
    segmentsIn(`${dir}/crashed`).map((name) => {
      const bytes = Deno.readFileSync(`${dir}/crashed/${name}`);
      let end = bytes.length;
      while (end > 0 && bytes[end - 1] === 0) end--;
      return [name, bytes.slice(0, Math.min(bytes.length, end + 64))];
    }),
  );
  assertEquals(files.size > 1, segments === "several");
  Deno.removeSync(path, { recursive: true });
  Deno.removeSync(`${dir}/crashed`, { recursive: true });
  return {
    files,
    records: records.filter((_, n) => n !== QUARANTINED),
    quarantined: `t/${QUARANTINED}`,
    removed: removed.map((n) => `t/${n}`),
  };
}

/**
 * Opens a damaged spool in a fresh folder below `dir` and uses it. Fails when anything is delivered that is not as it was
 * stored, or when the spool does not work afterwards.
 */
export async function surviveDamage(
  dir: string,
  specimen: Specimen,
  damaged: ReadonlyMap<string, Bytes | undefined>,
): Promise<Outcome> {
  const folder = `${dir}/damaged`;
  Deno.mkdirSync(folder, { mode: 0o700 });
  for (const [name, bytes] of new Map([...specimen.files, ...damaged])) {
    if (bytes !== undefined) Deno.writeFileSync(`${folder}/${name}`, bytes, { mode: 0o600 });
  }
  try {
    const outcome = await openAndUse(folder, specimen);
    // What was done to the damaged spool holds: another start finds the same.
    await using disk = await openDisk(folder);
    const left = (await readAll(disk.storage)).map(({ topic }) => topic);
    assertEquals(left, ["t/78"]);
    return outcome;
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
}

async function openAndUse(folder: string, specimen: Specimen): Promise<Outcome> {
  await using disk = await openDisk(folder);
  const { storage, log } = disk;
  // Accepted at once, behind what is still being read.
  const [seq] = await put(storage, record(77));
  const all = await readAll(storage);
  assertEquals([all.at(-1)!.topic, all.at(-1)!.seq], ["t/77", seq]);
  const { found, repeated } = checkDelivered(specimen, all.slice(0, -1));
  const kept = storage.quarantined();
  for (const { topic } of kept) assertEquals(topic, specimen.quarantined);
  await remove(storage, ...all.map((one) => one.seq));
  assertEquals(await readAll(storage), []);
  assertEquals(storage.usage.messages, kept.length);
  await remove(storage, ...kept.map((one) => one.seq));
  assertEquals(storage.usage, { messages: 0, bytes: 0, qos0Bytes: 0 });
  await put(storage, record(78));
  return {
    saved: found + kept.length,
    lost: specimen.records.length + 1 - found - kept.length,
    repeated,
    said: log.lines.length > 0,
  };
}

/** How many of the specimen's messages were delivered; each as it was stored, in order. */
function checkDelivered(specimen: Specimen, delivered: readonly SpoolRecord[]) {
  let found = 0;
  let repeated = 0;
  let last = 0;
  for (const { seq, size: _size, payload, ...rest } of delivered) {
    assertGreater(seq, last);
    last = seq;
    if (specimen.removed.includes(rest.topic)) repeated++;
    if (specimen.removed.includes(rest.topic) || rest.topic === specimen.quarantined) continue;
    const original = specimen.records.find(({ topic }) => topic === rest.topic);
    assert(original !== undefined, `nobody stored ${rest.topic}`);
    assertEquals({ ...rest, payload: payload.slice() }, { ...original });
    found++;
  }
  return { found, repeated };
}

/** A copy with one bit turned over. */
export function flipBit(bytes: Bytes, bit: number): Bytes {
  const copy = bytes.slice();
  copy[bit >> 3]! ^= 1 << (bit & 7);
  return copy;
}

/** A copy with a part overwritten by noise. */
export function scrawl(bytes: Bytes, from: number, to: number): Bytes {
  const copy = bytes.slice();
  crypto.getRandomValues(copy.subarray(from, to));
  return copy;
}
