// What the disk spool costs, alone and with a backlog: `deno run -A tests/bench/spool_scale.ts [DIR]`.
import { systemClock as clock } from "../../src/base/clock.ts";
import { openDiskStorage } from "../../src/spool/sqlite_storage.ts";
import { Spool } from "../../src/spool/spool.ts";
import type { NewRecord, SpoolStorage } from "../../src/spool/storage.ts";
import { linesLog } from "../support/spool_contract.ts";

const BACKLOGS = [0, 1_000, 10_000, 100_000, 1_000_000];
const GROUP = 1_000;
const dir = Deno.makeTempDirSync({
  prefix: "iotc-scale-",
  ...(Deno.args[0] && { dir: Deno.args[0] }),
});
const log = linesLog();
const encoder = new TextEncoder();

function print(line: string): void {
  Deno.stdout.writeSync(encoder.encode(line + "\n"));
}

function record(qos: 0 | 1 = 1): NewRecord {
  return { topic: "bench/device/telemetry", payload: new Uint8Array(128), qos, acceptedAt: 1 };
}

function group(size: number): NewRecord[] {
  return Array.from({ length: size }, () => record());
}

/** Milliseconds that `run` took. */
function timed(run: () => void): number {
  const started = performance.now();
  run();
  return performance.now() - started;
}

/** The median of the milliseconds that each of `times` calls took. */
function median(times: number, run: () => void): number {
  const all = Array.from({ length: times }, () => timed(run)).sort((a, b) => a - b);
  return all[times >> 1]!;
}

function open(): SpoolStorage {
  return openDiskStorage({ dir: `${dir}/scale`, clock, log });
}

function fill(storage: SpoolStorage, to: number): void {
  while (storage.usage.messages < to) {
    storage.commit({ append: group(Math.min(GROUP, to - storage.usage.messages)), remove: [] });
  }
}

function row(backlog: number): string {
  let storage = open();
  fill(storage, backlog);
  storage.close();
  const opening = timed(() => storage = open());
  const append = median(200, () => storage.commit({ append: [record()], remove: [] }));
  const grouped = median(20, () => storage.commit({ append: group(GROUP), remove: [] }));
  let taken: number[] = [];
  const take = median(50, () => taken = storage.read(0, 100, Infinity).map(({ seq }) => seq));
  const remove = median(50, () => {
    storage.commit({ append: [], remove: taken.slice(0, 10) });
    taken = storage.read(0, 100, Infinity).map(({ seq }) => seq);
  });
  storage.commit({ append: [record(0)], remove: [] });
  const evict = median(50, () => storage.readQos0(0, 64));
  const stats = median(50, () => storage.oldestAcceptedAt());
  const file = Deno.statSync(`${dir}/scale/spool.db`).size / 1e6;
  const resident = Deno.memoryUsage().rss / 1e6;
  storage.close();
  const cells = [opening, append, grouped, take, remove, evict, stats].map((ms) => ms.toFixed(2));
  return [backlog, ...cells, file.toFixed(0), resident.toFixed(0)].map((cell) =>
    String(cell).padStart(9)
  ).join(" ");
}

function rates(): void {
  const storage = openDiskStorage({ dir: `${dir}/rates`, clock, log });
  let commits = 0;
  const lone = timed(() => {
    for (const end = performance.now() + 2_000; performance.now() < end; commits++) {
      storage.commit({ append: [record()], remove: [] });
    }
  });
  print(`one by one: ${Math.round(commits / lone * 1000)} synced commits/s`);
  for (const size of [10, 100, 1_000]) {
    let rows = 0;
    const ms = timed(() => {
      for (const end = performance.now() + 1_000; performance.now() < end; rows += size) {
        storage.commit({ append: group(size), remove: [] });
      }
    });
    print(`groups of ${size}: ${Math.round(rows / ms * 1000)} rows/s`);
  }
  storage.close();
}

/** Clients that publish, each waiting for its answer, while everything is taken and settled. */
async function driver(clients: number): Promise<void> {
  const storage = openDiskStorage({ dir: `${dir}/driver-${clients}`, clock, log });
  const spool = new Spool({ storage, maxBytes: 1e9, clock, log });
  spool.onAvailable = () => {
    for (const { seq } of spool.take(100, 1e6)) spool.settled(seq);
  };
  const { topic, payload } = record();
  const end = performance.now() + 2_000;
  let stored = 0;
  const client = async (): Promise<void> => {
    for (; performance.now() < end; stored++) await spool.appended({ topic, payload, qos: 1 });
  };
  await Promise.all(Array.from({ length: clients }, client));
  await spool.close();
  print(`driver, ${clients} clients in lockstep: ${Math.round(stored / 2)} stored and removed/s`);
}

try {
  rates();
  for (const clients of [1, 4, 32]) await driver(clients);
  const heads = ["open", "append", `+${GROUP}`, "take 100", "remove10", "qos0 64", "oldest"];
  print("ms (median) by backlog; file and resident memory in MB");
  print(["backlog", ...heads, "file", "rss"].map((head) => head.padStart(9)).join(" "));
  for (const backlog of BACKLOGS) print(row(backlog));
} finally {
  Deno.removeSync(dir, { recursive: true });
}
