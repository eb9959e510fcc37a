import { type Clock, systemClock } from "../../src/base/clock.ts";

/** The clock of the machine, so many times as fast: a minute of waiting is over in seconds, and everything else takes longer. */
export function fastClock(times: number): Clock {
  const start = systemClock.now();
  const wallStart = systemClock.wallNow();
  const now = (): number => start + (systemClock.now() - start) * times;
  return {
    now,
    wallNow: () => wallStart + (now() - start),
    after: (ms, fn) => systemClock.after(ms / times, fn),
  };
}
