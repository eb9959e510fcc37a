/** The first wait for a daemon that is gone, in ms; each further one is twice as long. */
const FIRST_MS = 50;

/** The longest wait, in ms: a socket on this machine costs little to try. */
const LONGEST_MS = 2_000;

/** How long to wait before attempt `attempt` (from 0), in ms: half of it by chance, so that clients come back apart. */
export function reconnectDelay(attempt: number, random: number): number {
  return Math.min(LONGEST_MS, FIRST_MS * 2 ** attempt) * (1 + random) / 2;
}

/** A wait that can be ended early. */
export class Pause {
  #end: (() => void) | undefined;

  /** Resolves after `ms`, or when {@linkcode Pause.end} is called. */
  wait(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(() => this.end(), ms);
      this.#end = () => {
        clearTimeout(timer);
        this.#end = undefined;
        resolve();
      };
    });
  }

  /** Ends the wait; does nothing when there is none. */
  end(): void {
    this.#end?.();
  }
}
