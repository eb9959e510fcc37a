/** A long outage with the spool on disk. */

import { assertEquals, assertLess } from "../deps.ts";
import { memoryOf } from "../bench/support/proc.ts";
import { type AwsIotCore, startAwsIotCore } from "../support/aws_iot_core.ts";
import { listenToStatus } from "../support/daemon.ts";
import { Ledger } from "../support/ledger.ts";
import { publishMany, statusOf } from "../support/numbered.ts";
import { writePki } from "../support/pki.ts";
import { daemonArgs, startProgram } from "../support/program.ts";
import { tempDir } from "../support/temp.ts";
import { waitFor, within } from "../support/wait.ts";

const MESSAGES = 10_000;
const WARM_UP = 4_000;
const PAYLOAD_BYTES = 128;
const GROWTH_BYTES = 32_000_000;
/** With what the runtime lets pile up of garbage while all of it goes out at once: up to 35 MB were seen. */
const DRAINED_BYTES = 48_000_000;

function mb(bytes: number): string {
  return `${(bytes / 1_000_000).toFixed(1)} MB`;
}

async function untilDrained(core: AwsIotCore, ledger: Ledger, socket: string): Promise<void> {
  await waitFor("everything to arrive", () => {
    ledger.absorb(core);
    return ledger.tally().missing === 0;
  }, 60_000);
  await waitFor("the spool to be empty", async () => (await statusOf(socket)).spool.messages === 0);
}

Deno.test(`${MESSAGES} messages of an outage all arrive in order, and memory grows by less than ${mb(GROWTH_BYTES)} while they wait`, async (t) => {
  await using core = await startAwsIotCore({ behaviour: { publishesPerSecond: Infinity } });
  await using dir = await tempDir();
  const files = await writePki(dir.path, core.pki);
  core.register(files.device);
  const socket = `${dir.path}/bus/aws_iot_mqtt`;
  const spool = ["--spool", `${dir.path}/spool`, "--no-rate-limit"];
  await using program = await startProgram(daemonArgs(core, files, `${dir.path}/bus`, ...spool));
  await program.logged("serving the core bus");
  await using status = await listenToStatus(socket);
  await status.until(true);
  const ledger = new Ledger(PAYLOAD_BYTES);
  const topics = ["outage/a", "outage/b", "outage/c", "outage/d"];
  const fresh = memoryOf(program.pid);
  // In use as it is for days before an outage: the runtime has compiled what is hot, and its heap has its size.
  await publishMany(socket, ledger, topics, WARM_UP);
  await untilDrained(core, ledger, socket);
  const before = memoryOf(program.pid);

  await core.close();
  await status.until(false);
  await publishMany(socket, ledger, topics, MESSAGES);
  assertEquals(ledger.tally().accepted, WARM_UP + MESSAGES);
  assertEquals((await statusOf(socket)).spool.messages, MESSAGES);
  const full = memoryOf(program.pid);
  await core.reopen();
  await untilDrained(core, ledger, socket);
  const drained = memoryOf(program.pid);

  const { delivered, duplicates, disorder } = ledger.tally();
  // The figures are the name of a step, as `deno test -q` shows nothing else.
  const figures =
    `${delivered} delivered, ${duplicates} duplicates, ${disorder} out of order; resident: ` +
    `${mb(fresh.resident)} just connected, ${mb(before.resident)} in use, ` +
    `${mb(full.resident)} with the backlog, ${mb(drained.resident)} after it, ` +
    `${mb(drained.peak)} at most`;
  await t.step(figures, () => {
    assertEquals([delivered, duplicates, disorder], [WARM_UP + MESSAGES, 0, 0]);
    assertEquals(ledger.violations, []);
    assertLess(full.peak - before.resident, GROWTH_BYTES);
    assertLess(drained.peak - before.resident, DRAINED_BYTES);
  });
  program.signal("SIGTERM");
  assertEquals(await within("the program to end", program.exited), 0, program.log());
});
