import { type Bytes, utf8 } from "../../src/base/bytes.ts";
import type { NewRecord } from "../../src/spool/storage.ts";
import { assert, assertEquals, assertGreater } from "../deps.ts";
import { put, readAll, record } from "./spool_contract.ts";
import { copySpool, namesIn, openDisk } from "./spool_disk.ts";

/** The files of a spool and what is in it. */
export interface Specimen {
  readonly main: Bytes;
  /** What a crash left in the write-ahead log. */
  readonly wal: Bytes | undefined;
  readonly records: readonly NewRecord[];
  /** Topic of the one in quarantine. */
  readonly quarantined: string;
}

/** How a damaged spool fared. */
export interface Outcome {
  readonly saved: number;
  readonly lost: number;
  /** Whether it was moved aside. */
  readonly salvaged: boolean;
}

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
    record(13, 1, { payload: utf8("\xf5SR1 looks like a record") }),
    record(14),
  ];
}

/** Makes a small spool: closed in good order, or as it lies on the disk after a crash. */
export function makeSpecimen(dir: string, how: "closed" | "crashed"): Specimen {
  const { storage } = openDisk(`${dir}/made-${how}`);
  const records = contents();
  const seqs: number[] = [];
  for (const one of records) seqs.push(...put(storage, one));
  const gone = put(storage, record(90), record(91));
  storage.commit({ append: [], remove: gone });
  storage.quarantine(seqs[3]!, "poison");
  copySpool(`${dir}/made-${how}`, `${dir}/crashed`);
  storage.close();
  const from = how === "closed" ? `${dir}/made-${how}` : `${dir}/crashed`;
  const names = namesIn(from);
  const specimen = {
    main: Deno.readFileSync(`${from}/spool.db`),
    wal: names.includes("spool.db-wal") ? Deno.readFileSync(`${from}/spool.db-wal`) : undefined,
    records: records.filter((_, n) => n !== 3),
    quarantined: "t/3",
  };
  Deno.removeSync(`${dir}/made-${how}`, { recursive: true });
  Deno.removeSync(`${dir}/crashed`, { recursive: true });
  return specimen;
}

/**
 * Opens a damaged spool in a fresh folder below `dir` and uses it. Fails when anything is delivered that is not as it was
 * stored, or when the spool does not work afterwards.
 */
export function surviveDamage(
  dir: string,
  specimen: Specimen,
  main: Bytes | undefined,
  wal: Bytes | undefined = specimen.wal,
): Outcome {
  const folder = `${dir}/damaged`;
  Deno.mkdirSync(folder, { mode: 0o700 });
  if (main !== undefined) Deno.writeFileSync(`${folder}/spool.db`, main, { mode: 0o600 });
  if (wal !== undefined) Deno.writeFileSync(`${folder}/spool.db-wal`, wal, { mode: 0o600 });
  const { storage, log } = openDisk(folder);
  try {
    const found = checkDelivered(specimen, readAll(storage));
    for (const { topic } of storage.quarantined()) assertEquals(topic, specimen.quarantined);
    const [seq] = put(storage, record(77));
    assertEquals(readAll(storage).at(-1)!.topic, "t/77");
    assertGreater(seq!, storage.read(0, 1, 0)[0]!.seq - 1);
    storage.commit({ append: [], remove: readAll(storage).map((one) => one.seq) });
    assertEquals(readAll(storage), []);
    assertEquals(storage.usage.messages, storage.quarantined().length);
    const kept = storage.quarantined().length;
    const salvaged = log.lines.some((line) => line.startsWith("error the spool was damaged"));
    const aside = namesIn(folder).some((name) => name.startsWith("spool-damaged-"));
    assertEquals(aside, salvaged, "what was damaged is kept, and said");
    return { saved: found + kept, lost: specimen.records.length + 1 - found - kept, salvaged };
  } finally {
    storage.close();
    Deno.removeSync(folder, { recursive: true });
  }
}

/** How many of the specimen's messages were delivered; each as it was stored, in order. */
function checkDelivered(specimen: Specimen, delivered: ReturnType<typeof readAll>): number {
  let found = 0;
  let last = 0;
  for (const { seq, size: _size, payload, ...rest } of delivered) {
    assertGreater(seq, last);
    last = seq;
    if (["t/90", "t/91", "t/3"].includes(rest.topic)) continue;
    const original = specimen.records.find(({ topic }) => topic === rest.topic);
    assert(original !== undefined, `nobody stored ${rest.topic}`);
    assertEquals({ ...rest, payload: payload.slice() }, { ...original });
    found++;
  }
  return found;
}

/** A copy with one bit turned over. */
export function flipBit(bytes: Bytes, bit: number): Bytes {
  const copy = bytes.slice();
  copy[bit >> 3]! ^= 1 << (bit & 7);
  return copy;
}
