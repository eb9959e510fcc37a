/** How waits grow: each is a random part of a longest wait, which doubles from one attempt to the next. */
export interface Backoff {
  /** Longest wait of the first attempt, in ms. */
  readonly baseMs: number;
  /** Longest wait of any attempt, in ms. */
  readonly capMs: number;
}

/** Between attempts that fail ("exponential with jitter": AWS IoT Core). */
export const RETRY: Backoff = { baseMs: 1_000, capMs: 128_000 };

/** Between CONNECTs that a busy account refuses: 500 a second are shared by all of its devices ("AWS IoT Core quotas"). */
export const BUSY: Backoff = { baseMs: 64_000, capMs: 600_000 };

/** Between links that are renewed because the broker acknowledges too little on them: it may be overloaded. */
export const RENEWAL: Backoff = { baseMs: 60_000, capMs: 900_000 };

/**
 * How long to wait before an attempt, in ms, with full jitter: a random part of 1 s, 2 s, 4 s ... 128 s with {@linkcode RETRY}.
 *
 * @param attempt 0 for the first try after a failure.
 * @param random A number in [0, 1).
 */
export function backoffDelay(
  attempt: number,
  random: number,
  { baseMs, capMs }: Backoff = RETRY,
): number {
  return Math.floor(Math.min(capMs, baseMs * 2 ** attempt) * random);
}

/** The first wait for a daemon that is gone, in ms; each further one is twice as long. */
const LOCAL_FIRST_MS = 50;

/** The longest wait for it, in ms: a socket on this machine costs little to try. */
const LOCAL_CAP_MS = 2_000;

/** How long to wait before attempt `attempt` (from 0) at a daemon on this machine, in ms: half of it by chance. */
export function reconnectDelay(attempt: number, random: number): number {
  return Math.min(LOCAL_CAP_MS, LOCAL_FIRST_MS * 2 ** attempt) * (1 + random) / 2;
}
