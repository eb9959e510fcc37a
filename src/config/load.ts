import { backoffDelay } from "../base/backoff.ts";
import type { Clock } from "../base/clock.ts";
import { BusError, Exit, ExitError } from "../base/errors.ts";
import type { Log } from "../base/log.ts";
import {
  checkCliSettings,
  type CliSettings,
  type Config,
  type Environment,
  missingSettings,
  nameOf,
  resolveConfig,
} from "./resolve.ts";
import type { ConfigSource } from "./service.ts";
import { textsOf, wantedKeys } from "./service.ts";

/** How long the config service may take to appear when something required is only there, in ms. */
export const CONFIG_TIMEOUT_MS = 60_000;

/** The longest wait between two tries, in ms: the service is on this device, and asking it is cheap. */
const LONGEST_WAIT_MS = 5_000;

/** Where a configuration comes from, beside the config service. */
export interface ConfigInputs {
  readonly given: CliSettings;
  readonly environment: Environment;
  /** The most connections that this program may use (iotcored-6). */
  readonly ceiling: number;
}

/** What {@linkcode loadConfig} needs. */
export interface LoadOptions extends ConfigInputs {
  readonly source: ConfigSource;
  readonly clock: Clock;
  readonly log: Log;
  /** A number in [0, 1). */
  readonly random: () => number;
  /** {@linkcode CONFIG_TIMEOUT_MS} but in tests. */
  readonly timeoutMs?: number;
  /** Ends the waiting. */
  readonly signal?: AbortSignal;
}

/**
 * Whether the config service is asked at all: not when the command line gives everything that is required; what is optional
 * has its default then, so that the daemon runs where there is no Greengrass nucleus.
 */
export function needsConfigService(given: CliSettings): boolean {
  return missingSettings(given).length > 0;
}

/**
 * Resolves the configuration at the start (iotcored-7); waits for the config service when it is needed. `undefined` when the
 * signal ended the waiting.
 *
 * @throws {ExitError} 64 and 78 for values, 69 when the service is needed and did not answer in time
 */
export async function loadConfig(options: LoadOptions): Promise<Config | undefined> {
  const { given, environment, ceiling, clock, signal, timeoutMs = CONFIG_TIMEOUT_MS } = options;
  checkCliSettings(given, ceiling);
  if (!needsConfigService(given)) return resolveConfig(given, environment, new Map(), ceiling);
  const over = new AbortController();
  const end = (): void => over.abort();
  const timer = clock.after(timeoutMs, end);
  signal?.addEventListener("abort", end);
  if (signal?.aborted) end();
  try {
    return await tryUntil(over.signal, options);
  } finally {
    timer.cancel();
    signal?.removeEventListener("abort", end);
  }
}

/** Reads what the command line and the environment leave open, and resolves everything. @throws {BusError | ExitError} */
export async function readConfig(
  source: ConfigSource,
  { given, environment, ceiling }: ConfigInputs,
  signal?: AbortSignal,
): Promise<Config> {
  const wanted = wantedKeys(given, environment);
  const values = await source.read(wanted.map(({ key }) => key), signal);
  return resolveConfig(given, environment, textsOf(values, wanted), ceiling);
}

/** Waits on a clock, or until the signal says otherwise. */
export function pause(clock: Clock, ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) return resolve();
    const end = (): void => {
      timer.cancel();
      signal.removeEventListener("abort", end);
      resolve();
    };
    const timer = clock.after(ms, end);
    signal.addEventListener("abort", end);
  });
}

async function tryUntil(over: AbortSignal, options: LoadOptions): Promise<Config | undefined> {
  const { source, clock, random, log, signal } = options;
  let failure: BusError | undefined;
  for (let attempt = 0; !over.aborted; attempt++) {
    try {
      return await readConfig(source, options, over);
    } catch (error) {
      if (!(error instanceof BusError)) throw error;
      // What was given up at the end says less than what went wrong before.
      if (!over.aborted || failure === undefined) failure = error;
    }
    if (attempt === 0 && !over.aborted) {
      log.warn("waiting for the config service", {
        socket: source.where,
        error: failure.message,
      });
    }
    await pause(clock, Math.min(LONGEST_WAIT_MS, backoffDelay(attempt, random())), over);
  }
  if (signal?.aborted) return undefined;
  throw unavailable(options, failure);
}

function unavailable(options: LoadOptions, failure: BusError | undefined): ExitError {
  const { source, given, timeoutMs = CONFIG_TIMEOUT_MS } = options;
  const missing = missingSettings(given).map(nameOf).join(", ");
  const why = failure === undefined ? "" : ` (${failure.message})`;
  return new ExitError(
    Exit.UNAVAILABLE,
    `Cannot start: the config service at ${source.where} gave no answer within ${
      timeoutMs / 1_000
    } s${why}, and it alone can give ${missing}`,
  );
}
