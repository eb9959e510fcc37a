/**
 * Stands in the place of `src/process/signals.ts` in a program that `startFaultyProgram` starts: SIGHUP is a bug outside of
 * any request.
 */

import { Signals as RealSignals, type SignalsOptions } from "../../src/process/signals.ts";

export { STOP_LIMIT_MS } from "../../src/process/signals.ts";
export type { SignalsOptions } from "../../src/process/signals.ts";

/** The signals of the program, one of which is faulty. */
export class Signals extends RealSignals {
  constructor(options: SignalsOptions) {
    super(options);
    Deno.addSignalListener("SIGHUP", () => {
      throw new TypeError("a bug at a signal");
    });
  }
}
