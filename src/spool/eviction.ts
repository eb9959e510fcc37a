import type { SpoolStorage } from "./storage.ts";

/** How many messages are looked at in one step. */
const STEP = 64;

/**
 * The oldest QoS 0 messages that together free `needed` bytes, by `seq` with their sizes; `undefined` when there are not
 * enough beside those that are `spared`. Throws `StorageError`.
 */
export function chooseEvictions(
  storage: SpoolStorage,
  needed: number,
  spared: (seq: number) => boolean,
): Map<number, number> | undefined {
  const chosen = new Map<number, number>();
  let freed = 0;
  let after = 0;
  while (true) {
    const step = storage.readQos0(after, STEP);
    if (step.length === 0) return undefined;
    for (const { seq, size } of step) {
      after = seq;
      if (spared(seq)) continue;
      chosen.set(seq, size);
      freed += size;
      if (freed >= needed) return chosen;
    }
  }
}
