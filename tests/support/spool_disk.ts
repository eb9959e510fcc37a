import { openLog } from "../../src/spool/log/log_storage.ts";
import type { SpoolStorage } from "../../src/spool/storage.ts";
import { FakeClock } from "./fake_clock.ts";
import { type LinesLog, linesLog } from "./spool_contract.ts";

/** A disk spool with its log. */
export interface OpenDisk extends AsyncDisposable {
  readonly storage: SpoolStorage;
  readonly clock: FakeClock;
  readonly log: LinesLog;
}

/** Opens the spool of a folder. */
export async function openDisk(
  dir: string,
  clock = new FakeClock(),
  maxBytes = 4_000_000,
): Promise<OpenDisk> {
  const log = linesLog();
  const storage = await openLog({ dir, maxBytes, clock, log });
  return { storage, clock, log, [Symbol.asyncDispose]: () => storage[Symbol.asyncDispose]() };
}

/** The file names of a folder, sorted. */
export function namesIn(dir: string): string[] {
  return [...Deno.readDirSync(dir)].map(({ name }) => name).sort();
}

/** The names of the segments in a folder, in order. */
export function segmentsIn(dir: string): string[] {
  return namesIn(dir).filter((name) => /^\d{16}\.log$/.test(name));
}

/** Copies the segments of a spool, which may be open: what a crash at this moment would leave. */
export function copySpool(from: string, to: string): void {
  Deno.mkdirSync(to, { recursive: true, mode: 0o700 });
  for (const name of segmentsIn(from)) {
    Deno.writeFileSync(`${to}/${name}`, Deno.readFileSync(`${from}/${name}`), { mode: 0o600 });
  }
}
