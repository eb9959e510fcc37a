/**
 * The process: configuration, log, signals and systemd around a daemon.
 *
 * @module
 */

import { type Clock, sleep, systemClock } from "../base/clock.ts";
import { Exit, type Exit as ExitCode, ExitError, messageOf, stackOf } from "../base/errors.ts";
import { createLog, type Log } from "../base/log.ts";
import { RateLimitedLog } from "../base/rate_limited_log.ts";
import { onUncaught } from "../base/uncaught.ts";
import {
  checkCliSettings,
  type CliSettings,
  type Config,
  type Environment,
  type LocalConfig,
  resolveLocal,
} from "../config/resolve.ts";
import { loadConfig, needsConfigService } from "../config/load.ts";
import { CONFIG_INTERFACE, ConfigService } from "../config/service.ts";
import { endpointWarning } from "../config/warnings.ts";
import { ConfigWatch, type WatchOptions } from "../config/watch.ts";
import {
  type Daemon,
  type DaemonDependencies,
  serveClients,
  startDaemon,
} from "../daemon/daemon.ts";
import { SETTINGS } from "../config/settings.ts";
import { forgetFailures } from "./failures.ts";
import { LineWriter } from "./log_writer.ts";
import { checkPermissions } from "./permitted.ts";
import { Signals } from "./signals.ts";
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

/** How long the config service may take before clients are served without it, in ms: one that is there answers sooner. */
const SERVE_WITHOUT_CONFIG_MS = 1_000;

const WORLD = { clock: systemClock, random: Math.random };

/** How long the last lines of the log may take to be read, in ms. */
const FLUSH_MS = 500;

/** How long the stop after an error that nothing caught may take, in ms; what is accepted is stored then all the same. */
const FAULT_LIMIT_MS = 4_000;

/** What the command line asks of the daemon. */
export interface RunOptions {
  readonly given: CliSettings;
  /** The most connections that may be used (iotcored-6), 1-999. */
  readonly ceiling: number;
}

/** What a run of the daemon has around it. */
interface Surroundings {
  readonly environment: Environment;
  readonly log: Log;
  readonly signals: Signals;
  readonly notifier: Notifier;
  /** Rejects with the first error that nothing caught. */
  readonly fault: Promise<never>;
}

/**
 * Runs the daemon until it is told to stop, or until it cannot go on.
 *
 * @throws {ExitError} 64, 69, 73, 77 and 78
 */
export async function runDaemon(options: RunOptions): Promise<ExitCode> {
  checkCliSettings(options.given, options.ceiling);
  const environment = readEnvironment();
  const writer = new LineWriter((bytes) => Deno.stderr.write(bytes), systemClock);
  const log = new RateLimitedLog(stderrLog(options.given, environment, writer), systemClock);
  const signals = new Signals({
    clock: systemClock,
    log,
    exit: (code) => void writer.flush(FLUSH_MS).finally(() => Deno.exit(code)),
  });
  const notifier = new Notifier(environment, log);
  const fault = Promise.withResolvers<never>();
  const unwatch = onUncaught(fault.reject);
  try {
    await run(options, { environment, log, signals, notifier, fault: fault.promise });
    return Exit.OK;
  } finally {
    unwatch();
    signals.close();
    log.flush();
    await notifier.close();
    await writer.flush(FLUSH_MS);
  }
}

async function run(options: RunOptions, around: Surroundings): Promise<void> {
  const { environment, log, signals, notifier, fault } = around;
  const { given, ceiling } = options;
  const source = configService(given, systemClock);
  const inputs = { given, environment, ceiling, source, ...WORLD, log };
  notifier.status("waiting for the configuration");
  const loading = loadConfig({ ...inputs, signal: signals.stopped });
  const started = await Promise.race([start(loading, options, around), fault]);
  if (started === undefined) return log.info("stopped before the config was there");
  const { daemon, config } = started;
  const warning = endpointWarning(config.host);
  if (warning !== undefined) log.warn(warning);
  const watch = needsConfigService(given)
    ? new ConfigWatch({ ...inputs, current: config, ...applyTo(daemon, around) })
    : undefined;
  attend(daemon, watch, around);
  try {
    await Promise.race([daemon.finished, fault]);
  } catch (error) {
    if (!(error instanceof ExitError)) await stopAfterFault(daemon, error, log);
    throw error;
  } finally {
    await watch?.stop();
  }
}

/**
 * Starts the daemon. A config service that is not there yet is not waited for with serving: messages are accepted into the spool
 * meanwhile, which is then the one that command line and environment say. `undefined` when a signal came first.
 */
async function start(
  loading: Promise<Config | undefined>,
  { given, ceiling }: RunOptions,
  around: Surroundings,
): Promise<{ readonly daemon: Daemon; readonly config: Config } | undefined> {
  const late = sleep(systemClock, SERVE_WITHOUT_CONFIG_MS).then(() => "late" as const);
  const soon = await Promise.race([loading, late]);
  if (soon === undefined) return undefined;
  if (soon !== "late") {
    const fd = activated(soon, around);
    checkPermissions(soon, fd !== undefined);
    const daemon = await startDaemon(soon, dependencies(around, fd));
    ready(around, "not connected yet");
    return { daemon, config: soon };
  }
  const local = resolveLocal(given, around.environment, new Map(), ceiling);
  const fd = activated(local, around);
  const daemon = await serveClients(local, dependencies(around, fd));
  ready(around, "waiting for the configuration");
  try {
    const config = await loading;
    if (config !== undefined) {
      checkPermissions(config, fd !== undefined);
      await daemon.connect(config);
      return { daemon, config };
    }
  } catch (error) {
    await daemon.stop();
    throw error;
  }
  await daemon.stop();
  return undefined;
}

function activated(config: LocalConfig, { environment }: Surroundings): number | undefined {
  return activatedFd(environment, Deno.pid, config.interfaceName);
}

function dependencies(
  { environment, log, notifier }: Surroundings,
  fd: number | undefined,
): DaemonDependencies {
  const onConnected = (connected: boolean): void => {
    notifier.status(connected ? "connected" : "not connected");
    if (connected) forgetFailures(environment);
  };
  return { ...WORLD, log, fd, onConnected };
}

/** Tells systemd that clients are served, and how the daemon is from then on. */
function ready({ environment, notifier }: Surroundings, status: string): void {
  notifier.ready(status);
  notifier.watch(watchdogMs(environment, Deno.pid), systemClock);
}

/** How a watch of the config reaches the daemon. */
function applyTo(
  daemon: Daemon,
  { environment }: Surroundings,
): Pick<WatchOptions, "apply" | "onWaiting"> {
  return {
    apply: async (next, signal) => {
      checkPermissions(next, activatedFd(environment, Deno.pid, next.interfaceName) !== undefined);
      await daemon.update(next, signal);
    },
    onWaiting: (why) => daemon.showWaiting(why),
  };
}

/** Lets the daemon hear of signals. */
function attend(
  daemon: Daemon,
  watch: ConfigWatch | undefined,
  { signals, notifier }: Surroundings,
): void {
  const stop = (): void => {
    notifier.stopping();
    // How it went is what `finished` says.
    void daemon.stop();
  };
  signals.stopped.addEventListener("abort", stop);
  if (signals.stopped.aborted) stop();
  signals.onReload = () => {
    notifier.reloading();
    // Credentials are read for each connect, and a config that could not be used may be used now.
    daemon.reconnect("SIGHUP");
    watch?.retry();
    notifier.ready("connecting anew");
  };
}

/** What is in flight or in memory still gets its time to reach the broker; nothing else of the program is relied on. */
async function stopAfterFault(daemon: Daemon, error: unknown, log: Log): Promise<void> {
  log.error("stopping because of an error that nothing caught", {
    error: messageOf(error),
    stack: stackOf(error),
  });
  const stopped = daemon.stop().then(() => true);
  const late = sleep(systemClock, FAULT_LIMIT_MS).then(() => false);
  try {
    if (await Promise.race([stopped, late])) return;
  } catch (failure) {
    log.error("cannot stop in order", { error: messageOf(failure) });
  }
  await daemon.abandon();
}

/** The config service of the Greengrass nucleus on this device. */
export function configService(given: CliSettings, clock: Clock): ConfigService {
  const busDir: Config["busDir"] = SETTINGS.busDir.parse(given.busDir ?? SETTINGS.busDir.fallback);
  return new ConfigService(`${busDir}/${CONFIG_INTERFACE}`, clock);
}

/** The variables that the program may read. */
export function readEnvironment(): Environment {
  return Object.fromEntries(VARIABLES.map((name) => [name, Deno.env.get(name)]));
}

/** The log is needed before the rest of the configuration is there: the config service has no say in it. */
function stderrLog(given: CliSettings, environment: Environment, writer: LineWriter): Log {
  return createLog({
    level: SETTINGS.logLevel.parse(given.logLevel ?? SETTINGS.logLevel.fallback),
    format: SETTINGS.logFormat.parse(given.logFormat ?? SETTINGS.logFormat.fallback),
    journal: environment.JOURNAL_STREAM !== undefined,
    write: (line) => writer.line(line),
    wallNow: systemClock.wallNow,
  });
}
