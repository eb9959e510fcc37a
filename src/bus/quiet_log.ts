import type { Clock } from "../base/clock.ts";
import type { Fields, Level, Log } from "../base/log.ts";
import { LOG_BURST, LOG_WINDOW_MS } from "./limits.ts";

interface Count {
  readonly level: Level;
  readonly since: number;
  logged: number;
  held: number;
}

/**
 * A log that no client can flood: of each text only the first few lines in a window are written, the rest is counted and
 * summed up in one line. Texts must be constants; what varies belongs into the fields.
 */
export class QuietLog {
  readonly #counts = new Map<string, Count>();

  constructor(
    private readonly log: Log,
    private readonly clock: Clock,
    private readonly burst: number = LOG_BURST,
    private readonly windowMs: number = LOG_WINDOW_MS,
  ) {}

  /** Logs a line, or only counts it. */
  write(level: Level, text: string, fields: Fields): void {
    const now = this.clock.now();
    let count = this.#counts.get(text);
    if (count !== undefined && now - count.since >= this.windowMs) {
      this.#summarise(text, count);
      count = undefined;
    }
    if (count === undefined) {
      count = { level, since: now, logged: 0, held: 0 };
      this.#counts.set(text, count);
    }
    if (count.logged >= this.burst) {
      count.held++;
      return;
    }
    count.logged++;
    this.log[level](text, fields);
  }

  /** Whether there are windows that {@linkcode sweep} has to close. */
  get pending(): boolean {
    return this.#counts.size > 0;
  }

  /** Sums up what was held back in windows that are over; call it now and then. */
  sweep(): void {
    const now = this.clock.now();
    for (const [text, count] of this.#counts) {
      if (now - count.since >= this.windowMs) this.#summarise(text, count);
    }
  }

  /** Sums up everything, for the end. */
  flush(): void {
    for (const [text, count] of this.#counts) this.#summarise(text, count);
  }

  #summarise(text: string, count: Count): void {
    this.#counts.delete(text);
    if (count.held === 0) return;
    this.log[count.level](text, { more: count.held, seconds: Math.round(this.windowMs / 1000) });
  }
}
