/**
 * The daemon as `iotcored run` starts it, except that it kills itself where it is told to: a line `before send 7` on its standard
 * input means at the 7th passing of that point from then on; `after send 7 left`, once what was handed over then has left.
 */

import { systemClock } from "../../src/base/clock.ts";
import type { FaultPoint } from "../../src/base/fault.ts";
import { createLog } from "../../src/base/log.ts";
import { parseRunArgs } from "../../src/cli/run.ts";
import { resolveConfig } from "../../src/config/resolve.ts";
import { startDaemon } from "../../src/daemon/daemon.ts";
import { setImmediate } from "node:timers";

let armed: { point: string; passings: number; readonly left: boolean } | undefined;

function die(): void {
  Deno.kill(Deno.pid, "SIGKILL");
}

function fault(point: FaultPoint): void {
  if (armed?.point !== point || --armed.passings > 0) return;
  if (!armed.left) return die();
  armed = undefined;
  setImmediate(() => setImmediate(die));
}

async function takeOrders(): Promise<void> {
  const lines = Deno.stdin.readable.pipeThrough(new TextDecoderStream());
  for await (const line of lines) {
    const found = /^((?:before|after) \w+) (\d+)( left)?\n$/.exec(line);
    if (found === null) throw new Error(`no order: ${JSON.stringify(line)}`);
    armed = { point: found[1]!, passings: Number(found[2]), left: found[3] !== undefined };
  }
}

const { given, ceiling } = parseRunArgs(Deno.args);
const config = resolveConfig(given, {}, new Map(), ceiling);
const log = createLog({
  level: config.logLevel,
  format: config.logFormat,
  write: (line) => void Deno.stderr.writeSync(new TextEncoder().encode(line)),
  wallNow: systemClock.wallNow,
  journal: false,
});
void takeOrders();
const daemon = await startDaemon(config, { clock: systemClock, log, random: Math.random, fault });
Deno.addSignalListener("SIGTERM", () => void daemon.stop());
await daemon.finished;
Deno.exit(0);
