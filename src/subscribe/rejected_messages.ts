import type { Clock } from "../base/clock.ts";
import type { Log } from "../base/log.ts";

/** How long nothing more is said of such messages after a line in the log, in ms. */
const LOG_EVERY_MS = 60_000;

/** Messages that were acknowledged and not handed out, as their publisher broke MQTT: counted, and told once a minute. */
export class RejectedMessages {
  readonly #clock: Clock;
  readonly #log: Log;
  #count = 0;
  #untold = 0;
  #quietUntil = -Infinity;

  constructor(clock: Clock, log: Log) {
    this.#clock = clock;
    this.#log = log;
  }

  /** Messages since the start. */
  get count(): number {
    return this.#count;
  }

  /** Another one; `fault` says what is wrong with it: `its topic holds a wildcard`. */
  readonly add = (fault: string): void => {
    this.#count++;
    this.#untold++;
    const now = this.#clock.now();
    if (now < this.#quietUntil) return;
    this.#quietUntil = now + LOG_EVERY_MS;
    this.#log.warn("messages that MQTT forbids came from the broker and are not handed out", {
      fault,
      messages: this.#untold,
    });
    this.#untold = 0;
  };
}
