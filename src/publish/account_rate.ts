/** The slowest sending, in messages a second: one a minute still tells when the broker takes messages again. */
export const SLOWEST = 1 / 60;

/** Acknowledgements that are remembered, to know how many came a second. */
const REMEMBERED = 128;

/** How many acknowledgements say what the rate was, at least, when they came slowly. */
const TELLING = 16;

/** The stretch that they say it of, in ms, at least, when they came fast: a broker may count by the second. */
const TELLING_MS = 1_000;

/** The climb from half of the last good rate back to it, in ms. */
const BACK_MS = 30_000;

/** The climb from there to another half more, or to {@linkcode STEP} more if that is more, in ms. */
const BEYOND_MS = 60_000;

/** Messages a second that even the slowest goes beyond its last good rate: those with a small share catch up with the others. */
const STEP = 0.1;

/** The part of the climb that one PUBACK may account for: who sends nothing learns nothing. */
const CLIMB_STEP = 1 / 8;

/** How late a timer may be, in ms. */
const LATE_MS = 20;

/** Slowed down since a message was lost. */
interface Slowed {
  /** When slowing began, in ms of the clock. */
  readonly since: number;
  /** Messages a second that were acknowledged before the loss. */
  readonly peak: number;
  /** Messages a second right after it. */
  readonly low: number;
  /** How far the climb has come, in ms. */
  climbed: number;
  /** Messages a second now. */
  rate: number;
  /** When the next message may go, in ms of the clock. */
  nextAt: number;
}

/**
 * The rate that an account, shared with other devices, takes from this one: unlimited until a message is lost, then learned.
 *
 * A loss halves it. It climbs back along the curve of CUBIC (RFC 9438, 4.2): fast at first, slowly near the rate that was good before,
 * and ever faster beyond it. The climb takes the same time at every rate: of two devices that share an account, the faster loses
 * messages more often, and their shares draw level. Only PUBACKs move it on, not time alone.
 */
export class AccountRate {
  readonly #top: number;
  /** A ring of when the last messages were acknowledged, in ms of the clock. */
  readonly #acks = new Float64Array(REMEMBERED);
  #count = 0;
  #newest = -1;
  #slowed: Slowed | undefined;

  /** @param top Messages a second that other limits allow anyway: slowing ends there. */
  constructor(top: number) {
    this.#top = top;
  }

  /** Since when sending is slowed down, in ms of the clock. */
  get since(): number | undefined {
    return this.#slowed?.since;
  }

  /** Messages a second that may go; `undefined`: not slowed down. */
  get perSecond(): number | undefined {
    return this.#slowed?.rate;
  }

  /** After how many ms the next message may go; 0 is now. */
  delay(now: number): number {
    return this.#slowed === undefined ? 0 : Math.max(0, Math.ceil(this.#slowed.nextAt - now));
  }

  /** A message goes. */
  sent(now: number): void {
    const slowed = this.#slowed;
    if (slowed === undefined) return;
    const intervalMs = 1_000 / slowed.rate;
    // A timer that fires late does not slow sending down: the next messages may follow so much sooner.
    slowed.nextAt = Math.max(slowed.nextAt, now - Math.max(intervalMs, LATE_MS)) + intervalMs;
  }

  /** The broker has a message. */
  acknowledged(now: number): void {
    const before = this.#acks[this.#newest] ?? now;
    this.#newest = (this.#newest + 1) % REMEMBERED;
    this.#acks[this.#newest] = now;
    this.#count = Math.min(REMEMBERED, this.#count + 1);
    if (this.#slowed !== undefined) this.#climb(this.#slowed, now - before);
  }

  /** A message was lost: halves the rate. What is returned takes that back, should it turn out not to be true. */
  lost(now: number): () => void {
    const before = this.#slowed;
    const current = this.#slowed?.rate ?? this.#top;
    const good = Math.min(current, this.#acknowledgedPerSecond());
    const low = Math.max(SLOWEST, good / 2);
    const peak = Math.max(good, 2 * low);
    this.#slowed = {
      since: this.#slowed?.since ?? now,
      peak,
      low,
      climbed: 0,
      rate: low,
      nextAt: now + 1_000 / low,
    };
    return () => this.#slowed = before;
  }

  #climb(slowed: Slowed, elapsedMs: number): void {
    slowed.climbed += Math.min(elapsedMs, BACK_MS * CLIMB_STEP);
    const past = slowed.climbed - BACK_MS;
    const { peak, low } = slowed;
    slowed.rate = past < 0
      ? peak + (peak - low) * (past / BACK_MS) ** 3
      : peak + Math.max(STEP, peak - low) * (past / BEYOND_MS) ** 3;
    if (slowed.rate >= this.#top) this.#slowed = undefined;
  }

  /** Over the last second, or as long as the last 16 took; what never acknowledged anything is taken for one a second. */
  #acknowledgedPerSecond(): number {
    if (this.#count < 2) return 1;
    const newest = this.#acks[this.#newest]!;
    let number = 1;
    let spanMs = 0;
    while (number < this.#count && (number < TELLING || spanMs < TELLING_MS)) {
      spanMs = newest - this.#acks[(this.#newest - number + REMEMBERED) % REMEMBERED]!;
      number++;
    }
    const shortest = number === REMEMBERED ? 1 : TELLING_MS;
    return (number - 1) * 1_000 / Math.max(shortest, spanMs);
  }
}
