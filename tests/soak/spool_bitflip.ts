// Turns over each bit of the files of a small spool, one at a time: `deno task soak:bitflip [closed|crashed-db|crashed-wal]`, all
// of them without a name. It spreads over the cores: each process takes every so many bits (`NAME EVERY FIRST`).
import { flipBit, makeSpecimen, surviveDamage } from "../support/spool_damage.ts";
import { importMapFlags } from "../../src/build/deno.ts";

const FILES = ["closed", "crashed-db", "crashed-wal"] as const;

/** What became of the bits of one file. */
interface Count {
  bits: number;
  salvages: number;
  /** How often a bit cost one message. */
  lost: number;
}

const [what, every, first] = Deno.args;
if (every === undefined) {
  for (const file of what === undefined ? FILES : [what]) await spread(file);
} else say(JSON.stringify(await turnOver(what!, Number(every), Number(first))));

function say(text: string): void {
  Deno.stdout.writeSync(new TextEncoder().encode(`${text}\n`));
}

/** Turns over all bits of a file, with a process for each core. */
async function spread(file: string): Promise<void> {
  const started = performance.now();
  const cores = navigator.hardwareConcurrency;
  const flags = ["run", "-q", "-A", ...importMapFlags(), import.meta.filename!];
  const parts = await Promise.all(Array.from({ length: cores }, async (_, index) => {
    const args = [...flags, file, String(cores), String(index)];
    const { success, stdout } = await new Deno.Command(Deno.execPath(), {
      args,
      stderr: "inherit",
    }).output();
    if (!success) Deno.exit(1);
    return JSON.parse(new TextDecoder().decode(stdout)) as Count;
  }));
  const sum = (of: (count: Count) => number): number => parts.reduce((n, part) => n + of(part), 0);
  const seconds = ((performance.now() - started) / 1000).toFixed(0);
  say(
    `${file}: ${sum(({ bits }) => bits)} bits, ${sum(({ salvages }) => salvages)} salvages, ` +
      `${sum(({ lost }) => lost)} bits cost one message, none more, 0 wrong, ${seconds} s`,
  );
}

async function turnOver(file: string, every: number, first: number): Promise<Count> {
  const parent = await Deno.stat("/dev/shm").then(() => ({ dir: "/dev/shm" }), () => ({}));
  const dir = await Deno.makeTempDir({ ...parent, prefix: "iotc-bits-" });
  try {
    const specimen = makeSpecimen(dir, file === "closed" ? "closed" : "crashed");
    const inLog = file === "crashed-wal";
    const bytes = inLog ? specimen.wal! : specimen.main;
    const count: Count = { bits: 0, salvages: 0, lost: 0 };
    for (let bit = first; bit < bytes.length * 8; bit += every) {
      const damaged = flipBit(bytes, bit);
      try {
        const { lost, salvaged } = inLog
          ? surviveDamage(dir, specimen, specimen.main, damaged)
          : surviveDamage(dir, specimen, damaged);
        if (lost > 1) throw new Error(`lost ${lost} messages for one bit`);
        count.bits++;
        count.lost += lost;
        if (salvaged) count.salvages++;
      } catch (error) {
        throw new Error(`bit ${bit} (byte ${bit >> 3}) of ${file}`, { cause: error });
      }
    }
    return count;
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}
