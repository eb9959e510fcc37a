// Turns over each bit of the files of a small spool, one at a time: `deno task soak:bitflip`. It spreads over the cores: each process
// takes every so many bits (`EVERY FIRST`).
import { flipBit, makeSpecimen, surviveDamage } from "../support/spool_damage.ts";
import { importMapFlags } from "../../src/build/deno.ts";

/** What became of the bits. */
interface Count {
  bits: number;
  /** How often a bit cost one message, and how often one was sent again for it. */
  lost: number;
  repeated: number;
  /** How often the log says something. */
  said: number;
}

const [every, first] = Deno.args;
if (every === undefined) await spread();
else say(JSON.stringify(await turnOver(Number(every), Number(first))));

function say(text: string): void {
  Deno.stdout.writeSync(new TextEncoder().encode(`${text}\n`));
}

/** Turns over all bits, with a process for each core. */
async function spread(): Promise<void> {
  const started = performance.now();
  const cores = navigator.hardwareConcurrency;
  const flags = ["run", "-q", "-A", ...importMapFlags(), import.meta.filename!];
  const parts = await Promise.all(Array.from({ length: cores }, async (_, index) => {
    const args = [...flags, String(cores), String(index)];
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
    `${sum(({ bits }) => bits)} bits: ${sum(({ lost }) => lost)} cost one message, none more, ` +
      `${sum(({ repeated }) => repeated)} had some sent again, 0 wrong, 0 out of order, ` +
      `${sum((count) => count.said)} are in the log, ${seconds} s`,
  );
}

async function turnOver(every: number, first: number): Promise<Count> {
  const parent = await Deno.stat("/dev/shm").then(() => ({ dir: "/dev/shm" }), () => ({}));
  const dir = await Deno.makeTempDir({ ...parent, prefix: "iotc-bits-" });
  try {
    const specimen = await makeSpecimen(dir, "one");
    const [name, bytes] = [...specimen.files][0]!;
    const count: Count = { bits: 0, lost: 0, repeated: 0, said: 0 };
    for (let bit = first; bit < bytes.length * 8; bit += every) {
      const outcome = await surviveDamage(dir, specimen, new Map([[name, flipBit(bytes, bit)]]))
        .catch((cause) => {
          throw new Error(`bit ${bit} (byte ${bit >> 3})`, { cause });
        });
      if (outcome.lost > 1) throw new Error(`bit ${bit}: lost ${outcome.lost} messages`);
      count.bits++;
      count.lost += outcome.lost;
      if (outcome.repeated > 0) count.repeated++;
      if (outcome.said) count.said++;
    }
    return count;
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}
