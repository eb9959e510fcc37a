/** The daemon, killed before and after each step of a message on its way out. */

import { assertEquals, assertGreater, assertLessOrEqual } from "../deps.ts";
import { FAULT_POINTS, type FaultPoint } from "../../src/base/fault.ts";
import {
  ALL_KILLS,
  type CrashRig,
  kill,
  REPEATED,
  startCrashRig,
  stop,
} from "../support/crash_rig.ts";
import type { Ledger, Tally } from "../support/ledger.ts";
import { createPki, type Pki } from "../support/pki.ts";
import { FROM_SOURCE, type Program } from "../support/program.ts";
import { Random } from "../support/random.ts";
import { within } from "../support/wait.ts";

/** How often the process is killed at each point; `task test:crash` does all. */
const KILLS = ALL_KILLS ? 20 : 8;

/** Chains of kills that run at the same time. */
const LANES = 3;

/** What is handed over at these points leaves the process a little later: half of the kills wait for that. */
const LEAVES: readonly FaultPoint[] = ["after answer", "after send"];

const encoder = new TextEncoder();

/** Has the daemon die at a passing of a point. */
async function arm(daemon: Program, point: FaultPoint, random: Random, left: boolean) {
  const many = /append|answer|PUBACK/.test(point);
  const passings = 1 + random.int(many ? 60 : 15);
  await daemon.stdin.write(encoder.encode(`${point} ${passings}${left ? " left" : ""}\n`));
}

/** Publishes until the daemon has killed itself. */
async function untilDead(rig: CrashRig, daemon: Program, point: FaultPoint): Promise<void> {
  await within(`the daemon to die ${point}`, rig.publish(daemon), 20_000).catch(async (error) => {
    await kill(daemon);
    throw new Error(`${error.message}; it logged:\n${daemon.log()}`);
  });
  assertEquals(await daemon.exited, 128 + 9, daemon.log());
}

/**
 * One life of the daemon. In turn it drains what the one before left, and dies with the broker behind; or it dies while it
 * drains, with clients that publish from the first moment.
 */
async function live(rig: CrashRig, point: FaultPoint, turn: number, random: Random) {
  const { core } = rig;
  core.behaviour.ackPublish = "auto";
  await using daemon = await rig.start("crashing_main.ts");
  const left = LEAVES.includes(point) && turn % 4 > 1;
  if (turn % 2 === 0) {
    await daemon.logged("serving the core bus");
    await rig.drained(daemon);
    // Acknowledged late, so that a backlog is there for the next life.
    core.behaviour.ackPublish = 50;
  }
  await arm(daemon, point, random, left);
  await untilDead(rig, daemon, point);
}

async function killAt(point: FaultPoint, pki: Pki, seed: number): Promise<Ledger> {
  await using rig = await startCrashRig(pki);
  const random = new Random(seed);
  for (let turn = 0; turn < KILLS; turn++) await live(rig, point, turn, random);
  rig.core.behaviour.ackPublish = "auto";
  await using daemon = await rig.start();
  await daemon.logged("serving the core bus");
  await rig.drained(daemon);
  await stop(daemon);
  rig.ledger.absorb(rig.core);
  return rig.ledger;
}

function line(point: FaultPoint, tally: Tally): string {
  const { accepted, delivered, missing, disorder, duplicates, mostDuplicates } = tally;
  return `${point}, ${KILLS} kills: ${accepted} accepted, ${delivered} delivered, ${missing} lost, ` +
    `${disorder} out of order, ${duplicates} duplicates, at most ${mostDuplicates} after one crash (bound ${REPEATED})`;
}

// The figures are names of steps, as `deno test -q` shows nothing else.
Deno.test(
  `nothing accepted is lost when the process is killed before and after each step, ${KILLS} times at each`,
  FROM_SOURCE,
  async (t) => {
    const pki = await createPki();
    const seed = crypto.getRandomValues(new Uint32Array(1))[0]!;
    const ledgers = new Map<FaultPoint, Ledger>();
    await t.step(`${FAULT_POINTS.length} points, seed ${seed}`, async () => {
      const queue = [...FAULT_POINTS];
      await Promise.all(Array.from({ length: LANES }, async () => {
        for (let point = queue.shift(); point !== undefined; point = queue.shift()) {
          ledgers.set(point, await killAt(point, pki, seed));
        }
      }));
    });
    for (const [point, ledger] of ledgers) {
      const tally = ledger.tally();
      await t.step(line(point, tally), () => {
        assertEquals([tally.missing, tally.disorder, ledger.violations], [0, 0, []]);
        assertLessOrEqual(tally.mostDuplicates, REPEATED);
        assertGreater(tally.accepted, 0);
      });
    }
  },
);
