import { sleep, systemClock } from "../base/clock.ts";
import { Exit, type Exit as ExitCode, type Failure, failureOf, messageOf } from "../base/errors.ts";
import { createLog, type Log, type LogFormat } from "../base/log.ts";
import type { Environment } from "../config/resolve.ts";
import { Signals } from "./signals.ts";
import { Notifier, runtimeFolder, watchdogMs } from "./systemd.ts";

/** The longest wait before a failure ends the program, in ms; with `RestartSec=` of the unit a start comes every 2 minutes. */
export const MAX_HOLD_MS = 110_000;

/** The wait before the second failure in a row ends the program, in ms; each further one is twice as long. */
export const FIRST_HOLD_MS = 10_000;

/** The file in `RuntimeDirectory=` by which a start knows of the failures before it. */
const FILE = "failures.json";

/** Failures in a row for one reason, without a connection to the broker between them. */
export interface Failures {
  /** 1 or more. */
  readonly count: number;
  /** What was wrong, as it was logged. */
  readonly text: string;
}

/** The failures with one more; another reason begins a new row. */
export function nextFailures(before: Failures | undefined, text: string): Failures {
  return { count: before?.text === text ? before.count + 1 : 1, text };
}

/** How long the program waits before it ends, in ms: 0, then 10 s, 20 s, 40 s, 80 s, and 110 s from then on. */
export function holdMs({ count }: Failures): number {
  return count === 1 ? 0 : Math.min(MAX_HOLD_MS, FIRST_HOLD_MS * 2 ** (count - 2));
}

/** What is logged: the reason at the 1st, 2nd, 4th, 8th, ... failure, at the others their number alone. */
export function sentenceOf({ count, text }: Failures): string {
  if (count === 1) return text;
  const times = `${count} times in a row`;
  return Number.isInteger(Math.log2(count)) ? `${text} (${times})` : `failed as before, ${times}`;
}

/**
 * Runs the daemon. Under systemd, which starts it anew 10 s after each end, a failure that repeats is held back before it ends the
 * program: starts that cannot succeed then cost the device next to nothing, and the log counts them.
 *
 * What ends it is the last line of the log, in its format and with the exit code.
 */
export async function holdingFailures(
  format: LogFormat,
  run: () => Promise<ExitCode>,
): Promise<ExitCode> {
  const environment = Object.fromEntries(
    ["NOTIFY_SOCKET", "RUNTIME_DIRECTORY", "WATCHDOG_USEC", "WATCHDOG_PID", "JOURNAL_STREAM"]
      .map((name) => [name, Deno.env.get(name)]),
  );
  const folder = runtimeFolder(environment);
  try {
    return await run();
  } catch (error) {
    const failure = failureOf(error);
    const log = stderrLog(environment, format);
    if (environment.NOTIFY_SOCKET && folder !== undefined) {
      return await hold(failure, folder, environment, log);
    }
    log.error(failure.text, { exit: failure.exit, stack: lineOf(failure.stack) });
    return failure.exit;
  }
}

/** Logs a failure, and says with what code the program ends, after a while if it is not the first of its kind. */
async function hold(
  { exit, text, stack }: Failure,
  folder: string,
  environment: Environment,
  log: Log,
): Promise<ExitCode> {
  const failures = nextFailures(readFailures(folder), text);
  log.error(sentenceOf(failures), {
    exit,
    ...failures.count === 1 ? { stack: lineOf(stack) } : {},
  });
  if (!remember(folder, failures, log) || await waited(failures, environment, log)) return exit;
  forgetFailures(environment);
  return Exit.OK;
}

/** Ends the row of failures: the broker has taken a connection. */
export function forgetFailures(environment: Environment): void {
  const folder = runtimeFolder(environment);
  if (folder === undefined) return;
  try {
    Deno.removeSync(`${folder}/${FILE}`);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
}

/** Whether the wait came to its end; a stop that is asked for ends it early. */
async function waited(failures: Failures, environment: Environment, log: Log): Promise<boolean> {
  const signals = new Signals({ clock: systemClock, log, exit: Deno.exit });
  const notifier = new Notifier(environment, log);
  try {
    notifier.status(`failed ${failures.count} times in a row: ${failures.text}`);
    notifier.watch(watchdogMs(environment, Deno.pid), systemClock);
    await sleep(systemClock, holdMs(failures), signals.stopped);
    return !signals.stopped.aborted;
  } finally {
    signals.close();
    await notifier.close();
  }
}

/** Nothing when there are none, or none that can be read: the row then begins anew. */
function readFailures(folder: string): Failures | undefined {
  try {
    const { count, text } = JSON.parse(Deno.readTextFileSync(`${folder}/${FILE}`)) as Failures;
    return Number.isSafeInteger(count) && count > 0 && typeof text === "string"
      ? { count, text }
      : undefined;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound || error instanceof SyntaxError) return undefined;
    throw error;
  }
}

/** Whether the next start will know. */
function remember(folder: string, failures: Failures, log: Log): boolean {
  try {
    Deno.writeTextFileSync(`${folder}/${FILE}`, JSON.stringify(failures), { mode: 0o600 });
    return true;
  } catch (error) {
    log.warn("failures cannot be counted", { why: messageOf(error) });
    return false;
  }
}

function lineOf(stack: string | undefined): string | undefined {
  return stack?.replaceAll(/\s*\n\s*/g, " | ");
}

function stderrLog({ JOURNAL_STREAM }: Environment, format: LogFormat): Log {
  return createLog({
    level: "info",
    format,
    journal: JOURNAL_STREAM !== undefined,
    write: (line) => void Deno.stderr.writeSync(new TextEncoder().encode(line)),
    wallNow: systemClock.wallNow,
  });
}
