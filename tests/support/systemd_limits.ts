/**
 * What systemd does with a socket and its service as far as limits go, without systemd: which starts follow which ends, while a
 * client waits at the socket at every moment. After systemd.unit(5), systemd.service(5), systemd.socket(5), and its source of
 * version 252 (`socket_trigger_notify`, `service_enter_dead`, `unit_test_start_limit`).
 *
 * @module
 */

/** A rate limit; none when the interval or the burst is 0. */
export interface Limit {
  readonly intervalMs: number;
  readonly burst: number;
}

/** What the units say about starts. */
export interface UnitSettings {
  /** `Restart=`. */
  readonly restart: "no" | "on-failure" | "always";
  /** `RestartSec=`, in ms. */
  readonly restartMs: number;
  /** `RestartPreventExitStatus=`. */
  readonly prevented: readonly number[];
  /** `StartLimitIntervalSec=` and `StartLimitBurst=` of the service. */
  readonly start: Limit;
  /** `TriggerLimitIntervalSec=` and `TriggerLimitBurst=` of the socket. */
  readonly trigger: Limit;
}

/** How one run of the service ended. */
export interface Ended {
  readonly exit: number;
  /** How long it ran, in ms. */
  readonly ranMs: number;
}

/** What became of the units. */
export interface Outcome {
  /** When each start took place, in ms. */
  readonly starts: readonly number[];
  /** The limit that was reached, after which both units stay failed. */
  readonly reached: "start" | "trigger" | undefined;
}

/** The starts that a series of ends leads to. */
export function startsOf(settings: UnitSettings, ends: Iterable<Ended>): Outcome {
  const starts: number[] = [];
  const [start, trigger] = [new RateLimit(settings.start), new RateLimit(settings.trigger)];
  let now = 0;
  for (const { exit, ranMs } of ends) {
    if (!start.take(now)) return { starts, reached: "start" };
    starts.push(now);
    now += ranMs;
    // The socket is listened on again as soon as the service has ended, and the waiting client triggers it at once.
    if (!trigger.take(now)) return { starts, reached: "trigger" };
    // A trigger starts the service, unless a restart is due already: then that one serves the client.
    if (restarts(settings, exit)) now += settings.restartMs;
  }
  return { starts, reached: undefined };
}

function restarts({ restart, prevented }: UnitSettings, exit: number): boolean {
  if (prevented.includes(exit)) return false;
  return restart === "always" || (restart === "on-failure" && exit !== 0);
}

/** As systemd counts: a window begins with the first event after the last window, and takes so many. */
class RateLimit {
  readonly #limit: Limit;
  #begin = -Infinity;
  #count = 0;

  constructor(limit: Limit) {
    this.#limit = limit;
  }

  take(now: number): boolean {
    const { intervalMs, burst } = this.#limit;
    if (intervalMs === 0 || burst === 0) return true;
    if (now - this.#begin > intervalMs) [this.#begin, this.#count] = [now, 0];
    return ++this.#count <= burst;
  }
}
