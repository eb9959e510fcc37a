import type { Clock, Timer } from "../base/clock.ts";
import { Exit, type Exit as ExitCode } from "../base/errors.ts";
import type { Log } from "../base/log.ts";

/** How long a stop may take before the program ends all the same, in ms: a second less than a supervisor is promised. */
export const STOP_LIMIT_MS = 4_500;

/** What {@linkcode Signals} needs. */
export interface SignalsOptions {
  readonly clock: Clock;
  readonly log: Log;
  /** Ends the program as it is. */
  readonly exit: (code: ExitCode) => void;
}

/**
 * SIGTERM and SIGINT ask for a stop. A supervisor and a process group may both send one, so the second means nothing; a third ends
 * the program at once. SIGHUP asks for fresh credentials.
 */
export class Signals {
  /** Called at each SIGHUP; before there is anything to reload it means nothing. */
  onReload: (() => void) | undefined;
  readonly #options: SignalsOptions;
  readonly #stop = new AbortController();
  #limit: Timer | undefined;
  #asked = 0;

  /** Listens from now on. */
  constructor(options: SignalsOptions) {
    this.#options = options;
    Deno.addSignalListener("SIGTERM", this.#onStop);
    Deno.addSignalListener("SIGINT", this.#onStop);
    Deno.addSignalListener("SIGHUP", this.#onReload);
  }

  /** Aborted when a stop is asked for. */
  get stopped(): AbortSignal {
    return this.#stop.signal;
  }

  /** Listens no more. */
  close(): void {
    this.#limit?.cancel();
    Deno.removeSignalListener("SIGTERM", this.#onStop);
    Deno.removeSignalListener("SIGINT", this.#onStop);
    Deno.removeSignalListener("SIGHUP", this.#onReload);
  }

  readonly #onStop = (): void => {
    const { clock, log, exit } = this.#options;
    this.#asked++;
    if (this.#asked === 2) return log.info("asked to stop again: the stop goes on");
    if (this.#asked > 2) {
      log.warn("stopped at once, on the third signal");
      return exit(Exit.OK);
    }
    log.info("stopping, as asked by a signal");
    this.#limit = clock.after(STOP_LIMIT_MS, () => {
      log.error("stopped before everything was closed, which took too long");
      exit(Exit.OK);
    });
    this.#stop.abort();
  };

  readonly #onReload = (): void => this.onReload?.();
}
