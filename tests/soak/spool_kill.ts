// Kills a process that fills and drains a disk spool, again and again: `deno run -A tests/soak/spool_kill.ts [CYCLES]`.
import { openDisk } from "../support/spool_disk.ts";
import { readAll } from "../support/spool_contract.ts";

const cycles = Number(Deno.args[0] ?? 100);
const dir = Deno.makeTempDirSync({ prefix: "iotc-kill-" });
const src = new URL("../../src/", import.meta.url);
const child = `${dir}/child.ts`;
const decoder = new TextDecoder();

/** Says `+N` when N is stored, and `-N` before N may be removed. */
Deno.writeTextFileSync(
  child,
  `import { openLog } from "${new URL("spool/log/log_storage.ts", src)}";
import { systemClock as clock } from "${new URL("base/clock.ts", src)}";
const log = { debug() {}, info() {}, warn() {}, error() {} };
const storage = await openLog({ dir: Deno.args[0], maxBytes: 4_000_000, clock, log });
const say = (text) => Deno.stdout.writeSync(new TextEncoder().encode(text));
let n = Number(Deno.args[1]);
while (true) {
  const size = 1 + Math.floor(Math.random() * 20);
  const append = Array.from({ length: size }, () => ({
    topic: "n/" + n++, payload: new Uint8Array(Math.random() < 0.1 ? 9000 : 100), qos: 1, acceptedAt: 1,
  }));
  const drained = await storage.read(0, Math.floor(Math.random() * 25), 1e9);
  if (drained.length > 0) say(drained.map(({ topic }) => "-" + topic.slice(2) + "\\n").join(""));
  await storage.commit({ append, remove: drained.map(({ seq }) => seq) });
  say(append.map(({ topic }) => "+" + topic.slice(2) + "\\n").join(""));
}`,
);

let next = 0;
let stored = 0;
let expected = new Set<number>();
try {
  for (let cycle = 0; cycle < cycles; cycle++) {
    const said = await runAndKill(40 + Math.random() * 160);
    const maybe = new Set<number>();
    for (const line of said.split("\n").slice(0, -1)) {
      const n = Number(line.slice(1));
      if (line[0] === "+") stored++;
      if (line[0] === "+") next = Math.max(next, n + 1);
      if (line[0] === "+" && !maybe.has(n)) expected.add(n);
      else if (line[0] === "-") {
        expected.delete(n);
        maybe.add(n);
      }
    }
    await check(cycle);
    next += 1_000;
  }
  const text = `${cycles} kills, ${stored} stored, 0 lost, order kept\n`;
  Deno.stdout.writeSync(new TextEncoder().encode(text));
} finally {
  Deno.removeSync(dir, { recursive: true });
}

async function runAndKill(ms: number): Promise<string> {
  const process = new Deno.Command(Deno.execPath(), {
    args: ["run", "--no-config", "-A", child, `${dir}/spool`, String(next)],
    stdout: "piped",
  }).spawn();
  const [first, all] = process.stdout.tee();
  const output = new Response(all).arrayBuffer();
  // Its life begins when it has stored something.
  const reader = first.getReader();
  await reader.read();
  await new Promise((resolve) => setTimeout(resolve, ms));
  process.kill("SIGKILL");
  await Promise.all([process.status, reader.cancel()]);
  return decoder.decode(await output);
}

/** Everything that was said to be stored, and not about to be removed, has to be there, in order. */
async function check(cycle: number): Promise<void> {
  await using disk = await openDisk(`${dir}/spool`);
  const found = (await readAll(disk.storage)).map(({ topic }) => Number(topic.slice(2)));
  const lost = [...expected].filter((n) => !found.includes(n));
  if (lost.length > 0) throw new Error(`cycle ${cycle}: lost ${lost}`);
  if (found.some((n, i) => i > 0 && n <= found[i - 1]!)) {
    throw new Error(`cycle ${cycle}: disorder`);
  }
  if (disk.log.lines.length > 0) throw new Error(`cycle ${cycle}: ${disk.log.lines}`);
  expected = new Set(found);
}
