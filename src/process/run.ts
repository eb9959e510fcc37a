import { type Clock, systemClock } from "../base/clock.ts";
import { Exit, type Exit as ExitCode } from "../base/errors.ts";
import { createLog, type Log } from "../base/log.ts";
import { RateLimitedLog } from "../base/rate_limited_log.ts";
import { onUncaught } from "../base/uncaught.ts";
import { checkGiven, type Config, type Environment, type Given } from "../config/resolve.ts";
import { loadConfig, needsConfigService } from "../config/load.ts";
import { CONFIG_INTERFACE, ConfigService } from "../config/service.ts";
import { ConfigWatch } from "../config/watch.ts";
import { BUS_DIR, SETTINGS } from "../config/settings.ts";
import type { LogSetup } from "../daemon/worker_messages.ts";
import { LineWriter } from "./log_writer.ts";
import { Signals } from "./signals.ts";
import { startSupervised, type Supervised } from "./supervisor.ts";
import { activatedFd, Notifier, SYSTEMD_VARIABLES, watchdogMs } from "./systemd.ts";

/** The environment variables that are read, and no others. */
const VARIABLES = [
  "https_proxy",
  "HTTPS_PROXY",
  "no_proxy",
  "NO_PROXY",
  "STATE_DIRECTORY",
  "JOURNAL_STREAM",
  ...SYSTEMD_VARIABLES,
];

/** How long the last lines of the log may take to be read, in ms. */
const FLUSH_MS = 500;

/** What the command line asks of the daemon. */
export interface RunOptions {
  readonly given: Given;
  /** The most connections that may be used (iotcored-6), 1-999. */
  readonly ceiling: number;
}

/**
 * Runs the daemon until it is told to stop, or until it cannot go on.
 *
 * @throws {ExitError} 64, 69, 73, 75, 77 and 78
 */
export async function runDaemon(args: RunOptions): Promise<ExitCode> {
  checkGiven(args.given, args.ceiling);
  const environment = readEnvironment();
  const writer = new LineWriter((bytes) => Deno.stderr.write(bytes), systemClock);
  const log = new RateLimitedLog(stderrLog(args.given, environment, writer), systemClock);
  const signals = new Signals({
    clock: systemClock,
    log,
    exit: (code) => void writer.flush(FLUSH_MS).finally(() => Deno.exit(code)),
  });
  const notifier = new Notifier(environment, log);
  const unexpected = Promise.withResolvers<never>();
  const unwatch = onUncaught(unexpected.reject);
  try {
    await Promise.race([
      run(args, { environment, writer, log, signals, notifier }),
      unexpected.promise,
    ]);
    return Exit.OK;
  } finally {
    unwatch();
    signals.close();
    log.flush();
    await notifier.close();
    await writer.flush(FLUSH_MS);
  }
}

/** What a run of the daemon has around it. */
interface Surroundings {
  readonly environment: Environment;
  readonly writer: LineWriter;
  readonly log: Log;
  readonly signals: Signals;
  readonly notifier: Notifier;
}

async function run({ given, ceiling }: RunOptions, around: Surroundings): Promise<void> {
  const { environment, log, signals, notifier } = around;
  const world = { clock: systemClock, log, random: Math.random };
  const source = configService(given, systemClock);
  const inputs = { given, environment, ceiling, source, ...world };
  notifier.status("waiting for the configuration");
  const config = await loadConfig({ ...inputs, signal: signals.stopped });
  if (config === undefined) return log.info("stopped before the config was there");
  const daemon = await supervise(config, given, around);
  const watch = needsConfigService(given)
    ? new ConfigWatch({ ...inputs, current: config, apply: (next) => daemon.update(next) })
    : undefined;
  const stop = (): void => {
    notifier.stopping();
    void daemon.stop();
  };
  signals.stopped.addEventListener("abort", stop);
  if (signals.stopped.aborted) stop();
  signals.onReload = () => {
    notifier.reloading();
    reload(daemon, watch);
    notifier.ready("connecting anew");
  };
  try {
    await daemon.finished;
  } finally {
    await watch?.stop();
  }
}

/** Starts the daemon in its thread, and tells systemd how it is from then on. */
async function supervise(
  config: Config,
  given: Given,
  { environment, writer, log, notifier }: Surroundings,
): Promise<Supervised> {
  const daemon = await startSupervised(config, {
    log,
    logSetup: logSetup(given, environment),
    onLine: (line) => writer.line(line),
    onConnected: (connected) => notifier.status(connected ? "connected" : "not connected"),
    fd: activatedFd(environment, Deno.pid, config.interfaceName),
  });
  notifier.ready("not connected yet");
  notifier.watch(watchdogMs(environment, Deno.pid), systemClock, () => daemon.ping());
  return daemon;
}

/** Credentials are read for each connect, and a config that named them too early is looked at again. */
function reload(daemon: Supervised, watch: ConfigWatch | undefined): void {
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
    ...logSetup(given, environment),
    write: (line) => writer.line(line),
    wallNow: systemClock.wallNow,
  });
}

function logSetup(given: Given, environment: Environment): LogSetup {
  return {
    level: SETTINGS.logLevel.parse(given.logLevel ?? "info"),
    format: SETTINGS.logFormat.parse(given.logFormat ?? "text"),
    journal: environment.JOURNAL_STREAM !== undefined,
  };
}
