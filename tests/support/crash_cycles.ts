import { type CrashRig, kill, REPEATED, startCrashRig, stop } from "./crash_rig.ts";
import type { Tally } from "./ledger.ts";
import { createPki, type Pki } from "./pki.ts";
import type { Program } from "./program.ts";
import { Random } from "./random.ts";

/** Folders in which a daemon lives and dies at the same time. */
const LANES = 2;

/** After so many kills everything accepted must have arrived before the next one. */
const DRAIN_EVERY = 10;

/** Longest life after the start of the process, or after it serves clients, in ms. */
const LIFE_MS = 700;

/** What came of the cycles. */
export interface CrashReport extends Tally {
  readonly kills: number;
  readonly violations: readonly string[];
}

/**
 * Kills the program (kill -9) at random moments, again and again on the same spool: while it starts, while four clients publish,
 * while it drains, with the broker there, away, or coming and going. Throws when something accepted does not arrive.
 *
 * @param onDrained Called with what was done so far, each time that everything accepted has arrived.
 */
export async function crashAgainAndAgain(
  cycles: number,
  seed: number,
  onDrained: (kills: number) => void = () => {},
): Promise<CrashReport> {
  const pki = await createPki();
  let kills = 0;
  let left = cycles;
  const next = (): boolean => left-- > 0;
  const reports = await Promise.all(
    Array.from({ length: LANES }, (_, lane) =>
      runLane(pki, new Random(seed + lane), next, () => {
        kills += DRAIN_EVERY;
        onDrained(Math.min(kills, cycles));
      })),
  );
  return reports.reduce(add);
}

/** The figures in a line. */
export function crashLine(seed: number, report: CrashReport): string {
  const { kills, accepted, delivered, missing, duplicates, mostDuplicates, disorder } = report;
  return `seed ${seed}: ${kills} kills, ${accepted} accepted, ${delivered} delivered, ${missing} lost, ` +
    `${duplicates} duplicates, at most ${mostDuplicates} over one of ${report.connections} connections ` +
    `(bound ${REPEATED}), ${disorder} out of order`;
}

function add(a: CrashReport, b: CrashReport): CrashReport {
  return {
    kills: a.kills + b.kills,
    violations: [...a.violations, ...b.violations],
    accepted: a.accepted + b.accepted,
    delivered: a.delivered + b.delivered,
    missing: a.missing + b.missing,
    duplicates: a.duplicates + b.duplicates,
    mostDuplicates: Math.max(a.mostDuplicates, b.mostDuplicates),
    disorder: a.disorder + b.disorder,
    connections: a.connections + b.connections,
  };
}

async function runLane(
  pki: Pki,
  random: Random,
  next: () => boolean,
  onDrained: () => void,
): Promise<CrashReport> {
  await using rig = await startCrashRig(pki);
  let kills = 0;
  while (next()) {
    await live(rig, random);
    rig.ledger.absorb(rig.core);
    if (++kills % DRAIN_EVERY > 0) continue;
    await drain(rig);
    onDrained();
  }
  await drain(rig);
  return { ...rig.ledger.tally(), kills, violations: rig.ledger.violations };
}

/** One life, from the start to the kill. */
async function live(rig: CrashRig, random: Random): Promise<void> {
  await setBroker(rig, random.float() < 0.7);
  rig.core.behaviour.ackPublish = random.pick(["auto", "auto", 5, 50]);
  await using daemon = await rig.start();
  const publishing = random.float() < 0.7 ? rig.publish(daemon) : Promise.resolve();
  if (random.float() < 0.7) await daemon.logged("serving the core bus");
  const moments = [random.float() * LIFE_MS, random.float() * LIFE_MS].sort((a, b) => a - b);
  await pause(moments[0]!);
  if (random.float() < 0.3) {
    await setBroker(rig, rig.away);
    await pause(moments[1]! - moments[0]!);
  }
  await kill(daemon);
  await publishing;
}

async function setBroker(rig: CrashRig, there: boolean): Promise<void> {
  if (there && rig.away) await rig.core.reopen();
  if (!there && !rig.away) await rig.core.close();
  rig.away = !there;
}

/** A life in which everything that was accepted has to arrive. */
async function drain(rig: CrashRig): Promise<void> {
  await setBroker(rig, true);
  rig.core.behaviour.ackPublish = "auto";
  await using daemon: Program = await rig.start();
  await daemon.logged("serving the core bus");
  await rig.drained(daemon);
  await stop(daemon);
  rig.ledger.absorb(rig.core);
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
