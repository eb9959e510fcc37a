import { DatabaseSync } from "node:sqlite";
import { systemClock } from "../../src/base/clock.ts";
import { createLog, type Log } from "../../src/base/log.ts";
import { MemoryStorage } from "../../src/spool/memory_storage.ts";
import { Spool } from "../../src/spool/spool.ts";
import { openDiskStorage } from "../../src/spool/sqlite_storage.ts";
import type { SpoolStorage } from "../../src/spool/storage.ts";
import { tempDir } from "../support/temp.ts";
import { PAYLOAD } from "./support/frames.ts";
import { rounds } from "./support/measure.ts";
import { type Bench, row } from "./support/report.ts";

const TOPIC = "bench/device/telemetry";

/** The size of a row of the bare statements: payload, topic and what a record needs beside them, as the spool has it. */
const BLOB = new Uint8Array(PAYLOAD.length + TOPIC.length + 64);

const MAX_BYTES = 1 << 30;

interface Case {
  readonly kind: "memory" | "disk";
  /** Messages that share a transaction. */
  readonly group: number;
  readonly messages: number;
}

interface Figures {
  readonly append: number;
  readonly drain: number;
}

/** Messages per second into the spool and out of it, beside the same work by bare statements. */
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
    const path = kind === "memory" ? ":memory:" : `${dir.path}/bare.db`;
    let storage = 0;
    const figures = await rounds<"bare" | "ours", Figures>({
      runs: bench.runs,
      warm: !bench.short,
    }, {
      bare: () => bare(path, one),
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
        baselineIs: `bare SQLite statements${kind === "memory" ? " in :memory:" : ""}`,
        ...goal,
      }));
    }
  }
}

async function ours(dir: string, { kind, group, messages }: Case): Promise<Figures> {
  const storage = open(kind, dir);
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

function drainGroup(spool: Spool, group: number): Promise<number> {
  return new Promise((resolve) => {
    const records = spool.take(group, MAX_BYTES);
    expect("taken", records.length, group);
    let left = records.length;
    for (const { seq } of records) {
      spool.settled(seq, () => {
        if (--left === 0) resolve(records.length);
      });
    }
  });
}

function open(kind: "memory" | "disk", dir: string): SpoolStorage {
  if (kind === "memory") return new MemoryStorage();
  return openDiskStorage({ dir, clock: systemClock, log: quiet() });
}

/** The statements that the storage cannot do without, in the same transactions: insert; select, then delete. */
async function bare(path: string, { group, messages }: Case): Promise<Figures> {
  const db = new DatabaseSync(path);
  try {
    db.exec(`PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA locking_mode = EXCLUSIVE;
      CREATE TABLE message (seq INTEGER PRIMARY KEY, qos INTEGER NOT NULL, record BLOB NOT NULL)`);
    const [begin, commit] = [db.prepare("BEGIN IMMEDIATE"), db.prepare("COMMIT")];
    const insert = db.prepare("INSERT INTO message (seq, qos, record) VALUES (?, ?, ?)");
    const read = db.prepare("SELECT seq, record FROM message ORDER BY seq LIMIT ?");
    const remove = db.prepare("DELETE FROM message WHERE seq = ?");
    let seq = 0;
    const append = await perSecond(messages, () => {
      while (seq < messages) {
        begin.run();
        for (let i = 0; i < group; i++) insert.run(++seq, 1, BLOB);
        commit.run();
      }
    });
    let drained = 0;
    const drain = await perSecond(messages, () => {
      while (drained < messages) {
        const rows = read.all(group);
        begin.run();
        for (const row of rows) remove.run(row.seq!);
        commit.run();
        drained += rows.length;
      }
    });
    expect("left", Number(db.prepare("SELECT count(*) AS n FROM message").get()?.n), 0);
    return { append, drain };
  } finally {
    db.close();
    if (path !== ":memory:") Deno.removeSync(path);
  }
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
