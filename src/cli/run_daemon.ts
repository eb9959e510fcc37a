import { systemClock } from "../base/clock.ts";
import { Exit, type Exit as ExitCode } from "../base/errors.ts";
import { createLog, type Log } from "../base/log.ts";
import { type Config, type Environment, resolveConfig } from "../daemon/config.ts";
import { startDaemon } from "../daemon/daemon.ts";
import type { RunArgs } from "./run.ts";

/** The environment variables that are read, and no others. */
const VARIABLES = [
  "https_proxy",
  "HTTPS_PROXY",
  "no_proxy",
  "NO_PROXY",
  "STATE_DIRECTORY",
  "JOURNAL_STREAM",
];

/** Runs the daemon until it is told to stop, or until it cannot go on. */
export async function runDaemon({ given, ceiling }: RunArgs): Promise<ExitCode> {
  const environment = readEnvironment();
  const config = resolveConfig(given, environment, new Map(), ceiling);
  const log = stderrLog(config, environment);
  const daemon = await startDaemon(config, { clock: systemClock, log, random: Math.random });
  let asked = false;
  const stop = (): void => {
    if (asked) {
      log.warn("stopped at once, on the second signal");
      Deno.exit(Exit.OK);
    }
    asked = true;
    log.info("stopping, as asked by a signal");
    void daemon.stop();
  };
  const reconnect = (): void => daemon.reconnect("SIGHUP");
  Deno.addSignalListener("SIGTERM", stop);
  Deno.addSignalListener("SIGINT", stop);
  Deno.addSignalListener("SIGHUP", reconnect);
  try {
    await daemon.finished;
  } finally {
    Deno.removeSignalListener("SIGTERM", stop);
    Deno.removeSignalListener("SIGINT", stop);
    Deno.removeSignalListener("SIGHUP", reconnect);
  }
  return Exit.OK;
}

function readEnvironment(): Environment {
  return Object.fromEntries(VARIABLES.map((name) => [name, Deno.env.get(name)]));
}

function stderrLog(config: Config, environment: Environment): Log {
  const encoder = new TextEncoder();
  return createLog({
    level: config.logLevel,
    format: config.logFormat,
    write: (line) => void Deno.stderr.writeSync(encoder.encode(line)),
    wallNow: systemClock.wallNow,
    journal: environment.JOURNAL_STREAM !== undefined,
  });
}
