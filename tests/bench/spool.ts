import { systemClock } from "../../src/base/clock.ts";
import { createLog, type Log } from "../../src/base/log.ts";
import { MemoryStorage } from "../../src/spool/memory_storage.ts";
import { Spool } from "../../src/spool/spool.ts";
import { openLog } from "../../src/spool/log/log_storage.ts";
import type { SpoolStorage } from "../../src/spool/storage.ts";
import { tempDir } from "../support/temp.ts";
import { PAYLOAD } from "./support/frames.ts";
import { rounds } from "./support/measure.ts";
import { type Bench, row } from "./support/report.ts";

const TOPIC = "bench/device/telemetry";

/** What a record takes on disk. */
const RECORD = new Uint8Array(PAYLOAD.length + TOPIC.length + 46);

const MAX_BYTES = 1 << 30;

interface Case {
  readonly kind: "memory" | "disk";
  /** Messages that share a sync. */
  readonly group: number;
  readonly messages: number;
}

interface Figures {
  readonly append: number;
  readonly drain: number;
}

/** Messages per second into the spool and out of it, beside the bare writes and syncs of the same bytes. */
export async function spool(bench: Bench): Promise<void> {
  const many = bench.short ? 1_000 : 20_000;
  const cases: readonly Case[] = [
    { kind: "memory", group: 100, messages: many },
    { kind: "disk", group: 100, messages: many },
    { kind: "disk", group: 1, messages: bench.short ? 50 : 2_000 },
  ];
  for (const one of cases) {
    const { kind, group } = one;
    bench.progress(`${kind}, groups of ${group}`);
    await using dir = await tempDir();
    let storage = 0;
    const figures = await rounds<"bare" | "ours", Figures>({
      runs: bench.runs,
      warm: !bench.short,
    }, {
      bare: () => bare(`${dir.path}/bare`, one),
      ours: () => ours(`${dir.path}/${++storage}`, one),
    });
    for (const what of ["append", "drain"] as const) {
      const goal = kind === "disk" && group > 1 ? { goal: { atLeast: 0.5 } } : {};
      bench.add(row({
        family: "spool",
        what: `${kind}, groups of ${group}, ${what}`,
        unit: "messages/s",
        ours: figures.ours.map((each) => each[what]),
        baseline: figures.bare.map((each) => each[what]),
        baselineIs: kind === "memory" ? "bare arrays" : "bare writes and syncs",
        ...goal,
      }));
    }
  }
}

async function ours(dir: string, { kind, group, messages }: Case): Promise<Figures> {
  const storage = await open(kind, dir);
  const spool = new Spool({ storage, maxBytes: MAX_BYTES, clock: systemClock, log: quiet() });
  try {
    const append = await perSecond(messages, async () => {
      for (let done = 0; done < messages; done += group) await appendGroup(spool, group);
    });
    expect("appended", spool.stats().messages, messages);
    let drained = 0;
    const drain = await perSecond(messages, async () => {
      while (drained < messages) drained += await drainGroup(spool, group);
    });
    expect("left", spool.stats().messages, 0);
    return { append, drain };
  } finally {
    await spool.close();
  }
}

function appendGroup(spool: Spool, group: number): Promise<void> {
  return new Promise((resolve, reject) => {
    let left = group;
    for (let i = 0; i < group; i++) {
      spool.append({ topic: TOPIC, payload: PAYLOAD, qos: 1 }, (error) => {
        if (error !== undefined) reject(error);
        else if (--left === 0) resolve();
      });
    }
  });
}

async function drainGroup(spool: Spool, group: number): Promise<number> {
  const { promise, resolve } = Promise.withResolvers<void>();
  spool.onAvailable = resolve;
  let records = spool.take(group, MAX_BYTES);
  if (records.length === 0) {
    await promise;
    records = spool.take(group, MAX_BYTES);
  }
  for (const { seq } of records) spool.settled(seq);
  await spool.flush();
  return records.length;
}

async function open(kind: "memory" | "disk", dir: string): Promise<SpoolStorage> {
  if (kind === "memory") return new MemoryStorage();
  return await openLog({ dir, maxBytes: MAX_BYTES, clock: systemClock, log: quiet() });
}

/** What the storage cannot do without: the same bytes by the same calls, preallocated; for a removal one small record a group. */
async function bare(path: string, { kind, group, messages }: Case): Promise<Figures> {
  if (kind === "memory") return await bareMemory(messages);
  using file = await Deno.open(path, { read: true, write: true, create: true });
  const bytes = new Uint8Array(group * RECORD.length);
  const removal = new Uint8Array(40);
  const room = new Uint8Array(messages * (RECORD.length + removal.length));
  for (let at = 0; at < room.length;) at += await file.write(room.subarray(at));
  await file.sync();
  await file.seek(0, Deno.SeekMode.Start);
  const put = async (what: Uint8Array<ArrayBuffer>): Promise<void> => {
    for (let at = 0; at < what.length;) at += file.writeSync(what.subarray(at));
    await file.syncData();
  };
  const append = await perSecond(messages, async () => {
    for (let done = 0; done < messages; done += group) await put(bytes);
  });
  const drain = await perSecond(messages, async () => {
    for (let done = 0; done < messages; done += group) await put(removal);
  });
  return { append, drain };
}

async function bareMemory(messages: number): Promise<Figures> {
  const kept: { topic: string; payload: Uint8Array }[] = [];
  const append = await perSecond(messages, () => {
    for (let n = 0; n < messages; n++) kept.push({ topic: TOPIC, payload: PAYLOAD.slice() });
  });
  const drain = await perSecond(messages, () => {
    while (kept.length > 0) kept.pop();
  });
  return { append, drain };
}

async function perSecond(messages: number, run: () => void | Promise<void>): Promise<number> {
  const start = performance.now();
  await run();
  return messages * 1e3 / (performance.now() - start);
}

function expect(what: string, got: number, wanted: number): void {
  if (got !== wanted) throw new Error(`${got} messages were ${what} instead of ${wanted}`);
}

/** What goes wrong with a spool is an error here, not a line. */
function quiet(): Log {
  return createLog({
    format: "text",
    level: "warn",
    wallNow: Date.now,
    write: (line: string) => {
      throw new Error(`The spool logged: ${line}`);
    },
  });
}
