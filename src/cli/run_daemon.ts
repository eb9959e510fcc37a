import { type Clock, systemClock } from "../base/clock.ts";
import { Exit, type Exit as ExitCode } from "../base/errors.ts";
import { createLog, type Log } from "../base/log.ts";
import { checkGiven, type Config, type Environment, type Given } from "../daemon/config.ts";
import { loadConfig, needsConfigService } from "../daemon/config_load.ts";
import { CONFIG_INTERFACE, ConfigService } from "../daemon/config_service.ts";
import { ConfigWatch } from "../daemon/config_watch.ts";
import { type Daemon, startDaemon } from "../daemon/daemon.ts";
import { BUS_DIR, SETTINGS } from "../daemon/settings.ts";
import { LineWriter } from "./line_writer.ts";
import type { RunArgs } from "./run.ts";
import { Signals } from "./signals.ts";

/** The environment variables that are read, and no others. */
const VARIABLES = [
  "https_proxy",
  "HTTPS_PROXY",
  "no_proxy",
  "NO_PROXY",
  "STATE_DIRECTORY",
  "JOURNAL_STREAM",
];

/** How long the last lines of the log may take to be read, in ms. */
const FLUSH_MS = 500;

/**
 * Runs the daemon until it is told to stop, or until it cannot go on.
 *
 * @throws {ExitError} 64, 69, 73, 77 and 78
 */
export async function runDaemon(args: RunArgs): Promise<ExitCode> {
  checkGiven(args.given, args.ceiling);
  const environment = readEnvironment();
  const writer = new LineWriter(
    (bytes) => Promise.resolve(Deno.stderr.writeSync(bytes)),
    systemClock,
  );
  const log = stderrLog(args.given, environment, writer);
  const signals = new Signals({
    clock: systemClock,
    log,
    exit: (code) => void writer.flush(FLUSH_MS).finally(() => Deno.exit(code)),
  });
  try {
    await run(args, environment, signals, log);
    return Exit.OK;
  } finally {
    signals.close();
    await writer.flush(FLUSH_MS);
  }
}

async function run(
  { given, ceiling }: RunArgs,
  environment: Environment,
  signals: Signals,
  log: Log,
): Promise<void> {
  const world = { clock: systemClock, log, random: Math.random };
  const source = configService(given, systemClock);
  const inputs = { given, environment, ceiling, source, ...world };
  const config = await loadConfig({ ...inputs, signal: signals.stopped });
  if (config === undefined) return log.info("stopped before the config was there");
  const daemon = await startDaemon(config, world);
  const watch = needsConfigService(given)
    ? new ConfigWatch({ ...inputs, current: config, apply: (next) => daemon.update(next) })
    : undefined;
  const stop = (): void => void daemon.stop();
  signals.stopped.addEventListener("abort", stop);
  if (signals.stopped.aborted) stop();
  signals.onReload = () => reload(daemon, watch);
  try {
    await daemon.finished;
  } finally {
    await watch?.stop();
  }
}

/** Credentials are read for each connect, and a config that named them too early is looked at again. */
function reload(daemon: Daemon, watch: ConfigWatch | undefined): void {
  daemon.reconnect("SIGHUP");
  watch?.refresh();
}

function configService(given: Given, clock: Clock): ConfigService {
  const busDir: Config["busDir"] = SETTINGS.busDir.parse(given.busDir ?? BUS_DIR);
  return new ConfigService(`${busDir}/${CONFIG_INTERFACE}`, clock);
}

function readEnvironment(): Environment {
  return Object.fromEntries(VARIABLES.map((name) => [name, Deno.env.get(name)]));
}

/** The log is needed before the rest of the configuration is there: the config service has no say in it. */
function stderrLog(given: Given, environment: Environment, writer: LineWriter): Log {
  return createLog({
    level: SETTINGS.logLevel.parse(given.logLevel ?? "info"),
    format: SETTINGS.logFormat.parse(given.logFormat ?? "text"),
    write: (line) => writer.line(line),
    wallNow: systemClock.wallNow,
    journal: environment.JOURNAL_STREAM !== undefined,
  });
}
