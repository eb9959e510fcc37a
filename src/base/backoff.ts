/** Longest wait of the first attempt, in ms ("exponential with jitter": AWS IoT Core). */
export const BACKOFF_BASE_MS = 1_000;

/** Longest wait of any attempt, in ms. */
export const BACKOFF_CAP_MS = 128_000;

/**
 * How long to wait before an attempt, in ms, with full jitter: a random part of 1 s, 2 s, 4 s ... 128 s.
 *
 * @param attempt 0 for the first try after a failure.
 * @param random A number in [0, 1).
 */
export function backoffDelay(attempt: number, random: number): number {
  return Math.floor(Math.min(BACKOFF_CAP_MS, BACKOFF_BASE_MS * 2 ** attempt) * random);
}

/** The first wait for a daemon that is gone, in ms; each further one is twice as long. */
const LOCAL_FIRST_MS = 50;

/** The longest wait for it, in ms: a socket on this machine costs little to try. */
const LOCAL_CAP_MS = 2_000;

/** How long to wait before attempt `attempt` (from 0) at a daemon on this machine, in ms: half of it by chance. */
export function reconnectDelay(attempt: number, random: number): number {
  return Math.min(LOCAL_CAP_MS, LOCAL_FIRST_MS * 2 ** attempt) * (1 + random) / 2;
}
