// What the disk spool costs with a backlog: `deno run -A tests/bench/spool_scale.ts [DIR] [MESSAGES...]`. Each backlog is opened by a
// process of its own (`--open DIR`), so that its memory is that of a start.
import { systemClock as clock } from "../../src/base/clock.ts";
import { openLog } from "../../src/spool/log/log_storage.ts";
import { Spool } from "../../src/spool/spool.ts";
import type { NewRecord } from "../../src/spool/storage.ts";
import { importMapFlags } from "../../src/build/deno.ts";
import { linesLog } from "../support/spool_contract.ts";

const BACKLOGS = [0, 1_000, 10_000, 100_000, 1_000_000];
const GROUP = 1_000;
const MAX_BYTES = 1 << 30;
const log = linesLog();

function print(line: string): void {
  Deno.stdout.writeSync(new TextEncoder().encode(line + "\n"));
}

function group(from: number, size: number): NewRecord[] {
  return Array.from({ length: size }, (_, n) => {
    const payload = new Uint8Array(128);
    new DataView(payload.buffer).setUint32(0, from + n);
    return { topic: "bench/device/telemetry", payload, qos: 1, acceptedAt: 1 };
  });
}

async function fill(dir: string, messages: number): Promise<void> {
  await using storage = await openLog({ dir, maxBytes: MAX_BYTES, clock, log });
  for (let n = 0; n < messages; n += GROUP) {
    await storage.commit({ append: group(n, Math.min(GROUP, messages - n)), remove: [] });
  }
}

/** The most that this process had in memory, and has, in MB. */
function memory(): { readonly now: number; readonly peak: number } {
  const status = Deno.readTextFileSync("/proc/self/status");
  const of = (name: string) => Number(new RegExp(`${name}:\\s+(\\d+)`).exec(status)![1]) / 1024;
  return { now: of("VmRSS"), peak: of("VmHWM") };
}

/** Opens a spool as a daemon does, and drains it in order; the figures as a line. */
async function open(dir: string, messages: number): Promise<void> {
  const started = performance.now();
  let longest = 0;
  let turn = started;
  const watch = setInterval(() => {
    longest = Math.max(longest, performance.now() - turn - 1);
    turn = performance.now();
  }, 1);
  const storage = await openLog({ dir, maxBytes: MAX_BYTES, clock, log });
  const spool = new Spool({ storage, maxBytes: MAX_BYTES, clock, log });
  const usable = performance.now() - started;
  await spool.appended({ topic: "new", payload: new Uint8Array(1), qos: 1 });
  const accepted = performance.now() - started;
  // Resolves when everything is known.
  await storage.read(Number.MAX_SAFE_INTEGER, 1, 1);
  const opened = performance.now() - started;
  const { now } = memory();
  let first = 0;
  let taken = 0;
  const { promise, resolve } = Promise.withResolvers<void>();
  const take = (): void => {
    for (let some = spool.take(100, 1e6); some.length > 0; some = spool.take(100, 1e6)) {
      first ||= performance.now() - started;
      for (const { payload, seq } of some) {
        spool.settled(seq);
        const isNew = payload.length === 1;
        const number = isNew
          ? messages
          : new DataView(payload.buffer, payload.byteOffset).getUint32(0);
        if (number !== taken++) throw new Error(`message ${number} came as number ${taken - 1}`);
        if (isNew) resolve();
      }
    }
  };
  spool.onAvailable = take;
  take();
  await promise;
  const all = performance.now() - started;
  clearInterval(watch);
  const { peak } = memory();
  if (log.lines.length > 0) throw new Error(log.lines.join());
  print(JSON.stringify([usable, accepted, opened, first, all, longest, now, peak]));
  Deno.exit(0);
}

async function row(dir: string, backlog: number): Promise<string> {
  const path = `${dir}/${backlog}`;
  const started = performance.now();
  await fill(path, backlog);
  const filling = performance.now() - started;
  const script = ["run", "-q", "-A", ...await importMapFlags(), import.meta.filename!];
  const args = [...script, "--open", path, `${backlog}`];
  const { success, stdout } = await new Deno.Command(Deno.execPath(), { args, stderr: "inherit" })
    .output();
  if (!success) throw new Error(`the spool of ${backlog} could not be read`);
  const figures = JSON.parse(new TextDecoder().decode(stdout)) as number[];
  const disk = [...Deno.readDirSync(path)].reduce(
    (sum, { name }) => sum + Deno.statSync(`${path}/${name}`).size,
    0,
  ) / 1e6;
  return [backlog, filling, ...figures, disk].map((cell) => cell.toFixed(0).padStart(9)).join(" ");
}

if (Deno.args[0] === "--open") await open(Deno.args[1]!, Number(Deno.args[2]));
const [parent, ...backlogs] = Deno.args;
const dir = Deno.makeTempDirSync({ prefix: "iotc-scale-", ...(parent && { dir: parent }) });
try {
  const heads = [
    "filled",
    "usable",
    "accepted",
    "opened",
    "first",
    "all",
    "longest",
    "rss",
    "peak",
    "disk",
  ];
  print(
    "ms to fill; ms until a start is usable, has accepted, knows all, has taken the first and all; the longest turn; MB",
  );
  print(["backlog", ...heads].map((head) => head.padStart(9)).join(" "));
  for (const backlog of backlogs.length > 0 ? backlogs.map(Number) : BACKLOGS) {
    print(await row(dir, backlog));
  }
} finally {
  Deno.removeSync(dir, { recursive: true });
}
