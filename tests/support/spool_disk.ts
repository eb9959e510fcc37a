import { openDiskStorage } from "../../src/spool/sqlite_storage.ts";
import type { SpoolStorage } from "../../src/spool/storage.ts";
import { FakeClock } from "./fake_clock.ts";
import { type LinesLog, linesLog } from "./spool_contract.ts";

/** A disk spool with its log. */
export interface OpenDisk {
  readonly storage: SpoolStorage;
  readonly clock: FakeClock;
  readonly log: LinesLog;
}

/** Opens the spool of a folder; without a reserve unless the test is about a full disk. */
export function openDisk(dir: string, clock = new FakeClock(), reserveBytes = 0): OpenDisk {
  const log = linesLog();
  return {
    storage: openDiskStorage({ dir, clock, log, random: () => 0, reserveBytes }),
    clock,
    log,
  };
}

/** The file names of a folder, sorted. */
export function namesIn(dir: string): string[] {
  return [...Deno.readDirSync(dir)].map(({ name }) => name).sort();
}

/** Copies the files of a spool, which may be open: what a crash at this moment would leave. */
export function copySpool(from: string, to: string): void {
  Deno.mkdirSync(to, { recursive: true, mode: 0o700 });
  for (const name of ["spool.db", "spool.db-wal"]) {
    try {
      Deno.writeFileSync(`${to}/${name}`, Deno.readFileSync(`${from}/${name}`), { mode: 0o600 });
    } catch (error) {
      if (!(error instanceof Deno.errors.NotFound)) throw error;
    }
  }
}
