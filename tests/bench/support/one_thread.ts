/**
 * The daemon in one thread, without its inner box: for profiles, which see the main thread alone. Any line on stdin stops it.
 *
 * `one_thread.ts ENDPOINT CA CERT KEY BUS_DIR memory|SPOOL_DIR`
 *
 * @module
 */

import { systemClock } from "../../../src/base/clock.ts";
import { createLog } from "../../../src/base/log.ts";
import { resolveConfig } from "../../../src/config/resolve.ts";
import { startDaemon } from "../../../src/daemon/daemon.ts";

const [endpoint, rootca, cert, key, busDir, spool] = Deno.args as [
  ...[string, string, string, string, string, string],
];
const given = {
  ...{ endpoint, rootca, cert, key, busDir, spool },
  ...{ id: "one-thread", noRateLimit: "true", spoolMaxBytes: "268435456" },
};
const log = createLog({
  ...{ level: "warn", format: "text", wallNow: Date.now },
  write: (line) => void Deno.stderr.writeSync(new TextEncoder().encode(line)),
});
const config = resolveConfig(given, {}, new Map(), 1);
const daemon = await startDaemon(config, { clock: systemClock, log, random: Math.random });
await Deno.stdout.write(new TextEncoder().encode("ready\n"));
await Deno.stdin.read(new Uint8Array(16));
await daemon.stop();
await Deno.stdout.write(new TextEncoder().encode("stopped\n"));
