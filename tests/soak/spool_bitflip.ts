// Turns over each bit of a small spool, one at a time: `deno run -A tests/soak/spool_bitflip.ts [closed|crashed-db|crashed-wal] [EVERY] [FIRST]`.
import { flipBit, makeSpecimen, surviveDamage } from "../support/spool_damage.ts";

const [what = "closed", every = "1", first = "0"] = Deno.args;
const dir = await Deno.makeTempDir({ dir: "/dev/shm", prefix: "iotc-bits-" });
const started = performance.now();
let runs = 0;
let salvages = 0;
const lost = new Map<number, number>();
try {
  const specimen = makeSpecimen(dir, what === "closed" ? "closed" : "crashed");
  const inLog = what === "crashed-wal";
  const bytes = inLog ? specimen.wal! : specimen.main;
  for (let bit = Number(first); bit < bytes.length * 8; bit += Number(every)) {
    const damaged = flipBit(bytes, bit);
    try {
      const outcome = inLog
        ? surviveDamage(dir, specimen, specimen.main, damaged)
        : surviveDamage(dir, specimen, damaged);
      if (outcome.lost > 1) throw new Error(`lost ${outcome.lost} messages for one bit`);
      lost.set(outcome.lost, (lost.get(outcome.lost) ?? 0) + 1);
      if (outcome.salvaged) salvages++;
    } catch (error) {
      throw new Error(`bit ${bit} (byte ${bit >> 3}) of ${what}`, { cause: error });
    }
    runs++;
  }
  report(bytes.length);
} finally {
  await Deno.remove(dir, { recursive: true });
}

function report(bytes: number): void {
  const seconds = ((performance.now() - started) / 1000).toFixed(1);
  const counts = [...lost].sort().map(([n, times]) => `${times} times ${n} lost`).join(", ");
  const text = `${what}: ${runs} of ${
    bytes * 8
  } bits, ${salvages} salvages, ${counts}, 0 wrong, ${seconds} s\n`;
  Deno.stdout.writeSync(new TextEncoder().encode(text));
}
