import type { Clock, Timer } from "./clock.ts";
import type { Fields, Level, Log } from "./log.ts";

/** How many lines of one text are logged before the rest is only counted. */
export const LOG_BURST = 20;

/** How long the rest is counted before it is summed up, in ms; twice as long after each sum, while the flood goes on. */
export const LOG_WINDOW_MS = 10_000;

/** The longest time between two sums, in ms. */
export const MAX_LOG_WINDOW_MS = 600_000;

/** Texts that are told apart; further ones count as one text. */
export const MAX_LOG_TEXTS = 500;

/** What stands for the texts that are too many. */
export const OTHER_LINES = "lines of other kinds";

/** One text within its window. */
interface Count {
  readonly level: Level;
  readonly windowMs: number;
  readonly until: number;
  /** Lines that may still be written. */
  left: number;
  held: number;
}

/**
 * A log that nothing can flood, over another one: of each text the first lines of a window are written, the rest is counted and
 * summed up in one line. Texts must be constants; what varies belongs into the fields. Debug lines pass: who asked for the details
 * of single requests wants all of them.
 */
export class RateLimitedLog implements Log {
  readonly #log: Log;
  readonly #clock: Clock;
  readonly #counts = new Map<string, Count>();
  /** Runs only while something is held back. */
  #timer: Timer | undefined;

  constructor(log: Log, clock: Clock) {
    this.#log = log;
    this.#clock = clock;
  }

  debug(text: string, fields?: Fields): void {
    this.#log.debug(text, fields);
  }

  info(text: string, fields?: Fields): void {
    this.#write("info", text, fields);
  }

  warn(text: string, fields?: Fields): void {
    this.#write("warn", text, fields);
  }

  error(text: string, fields?: Fields): void {
    this.#write("error", text, fields);
  }

  /** Sums up everything that is held back, for the end; the log goes on afterwards. */
  flush(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    for (const [text, count] of this.#counts) this.#summarise(text, count);
    this.#counts.clear();
  }

  #write(level: Level, text: string, fields: Fields | undefined): void {
    const count = this.#countOf(level, text);
    if (count.left > 0) {
      count.left--;
      this.#log[level](text, fields);
      return;
    }
    count.held++;
    this.#timer ??= this.#sumUpAt(count.until);
  }

  #countOf(level: Level, text: string): Count {
    const now = this.#clock.now();
    const count = this.#counts.get(text);
    if (count === undefined) {
      this.#forget(now);
      const isOneTooMany = this.#counts.size >= MAX_LOG_TEXTS && text !== OTHER_LINES;
      if (isOneTooMany) return this.#countOf(level, OTHER_LINES);
    } else if (now < count.until) return count;
    else if (count.held > 0) return this.#goOn(text, count, now);
    return this.#begin(text, { level, windowMs: LOG_WINDOW_MS, left: LOG_BURST }, now);
  }

  /** Sums up a window that is over; a flood that may go on gets one line in a window of twice the length. */
  #goOn(text: string, count: Count, now: number): Count {
    this.#summarise(text, count);
    const windowMs = Math.min(2 * count.windowMs, MAX_LOG_WINDOW_MS);
    return this.#begin(text, { level: count.level, windowMs, left: 1 }, now);
  }

  #begin(text: string, count: Pick<Count, "level" | "windowMs" | "left">, now: number): Count {
    const begun = { ...count, until: now + count.windowMs, held: 0 };
    this.#counts.set(text, begun);
    return begun;
  }

  /** Makes room when there are many texts: those whose window is over without anything to tell are not needed. */
  #forget(now: number): void {
    if (this.#counts.size < MAX_LOG_TEXTS) return;
    for (const [text, { until, held }] of this.#counts) {
      if (held === 0 && now >= until) this.#counts.delete(text);
    }
  }

  #sumUpAt(until: number): Timer {
    return this.#clock.after(until - this.#clock.now(), () => {
      this.#timer = undefined;
      this.#sumUp();
    });
  }

  #sumUp(): void {
    const now = this.#clock.now();
    let next = Infinity;
    for (const [text, count] of this.#counts) {
      if (count.held === 0) continue;
      if (now >= count.until) this.#goOn(text, count, now);
      else next = Math.min(next, count.until);
    }
    if (next < Infinity) this.#timer = this.#sumUpAt(next);
  }

  #summarise(text: string, { level, held, windowMs }: Count): void {
    if (held > 0) this.#log[level](text, { more: held, seconds: Math.round(windowMs / 1_000) });
  }
}
