import { setImmediate } from "node:timers";

/** How long work may go on in turns that follow each other at once, in ms. */
export const STREAK_MS = 5;

let streakFrom = -Infinity;
let lastTurn = -Infinity;

/**
 * Calls `fn` after others had their turn. Immediates alone do not let the runtime look at its sockets, which it then does only once in
 * 61 of them: so after {@linkcode STREAK_MS} of work, whoever did it, a timer is waited for.
 */
export function nextTurn(fn: () => void): void {
  const now = performance.now();
  if (now - lastTurn >= STREAK_MS) streakFrom = now;
  lastTurn = now;
  if (now - streakFrom < STREAK_MS) return void setImmediate(fn);
  streakFrom = now;
  setTimeout(fn, 0);
}
