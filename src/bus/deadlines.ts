import {
  FRAME_DEADLINE_MS,
  IDLE_AFTER_REQUEST_MS,
  IDLE_BEFORE_REQUEST_MS,
  UNREAD_DEADLINE_MS,
} from "./limits.ts";

/** What a client is at, at one look. */
export interface Standing {
  /** Whole frames that came so far. */
  readonly requests: number;
  /** Bytes that the kernel took for it so far. */
  readonly written: number;
  /** Whether bytes wait for it. */
  readonly unread: boolean;
  /** Whether it is waited for in the middle of a frame. */
  readonly partial: boolean;
  /** Whether nothing but its next request is waited for. */
  readonly idle: boolean;
}

/** Which deadline a client missed. */
export type Missed = "unread" | "frame" | "idle";

/** The deadlines of one client, from looks at it now and then: no timer and no time stamp per message. */
export class Deadlines {
  readonly #unread = new Stall();
  readonly #frame = new Stall();
  readonly #idle = new Stall();

  /** What was missed, if anything; `now` is monotonic, in ms. */
  look(now: number, { requests, written, unread, partial, idle }: Standing): Missed | undefined {
    const idleLimit = requests === 0 ? IDLE_BEFORE_REQUEST_MS : IDLE_AFTER_REQUEST_MS;
    const unreadFor = this.#unread.for(unread ? written : undefined, now);
    const frameFor = this.#frame.for(partial ? requests : undefined, now);
    const idleFor = this.#idle.for(idle ? requests : undefined, now);
    if (unreadFor >= UNREAD_DEADLINE_MS) return "unread";
    if (frameFor >= FRAME_DEADLINE_MS) return "frame";
    return idleFor >= idleLimit ? "idle" : undefined;
  }
}

/** Tells how long a figure has stood still. */
class Stall {
  #mark: number | undefined;
  #since = 0;

  /** How long, in ms, the figure has been `mark` at each look; `undefined` when there is nothing to look at. */
  for(mark: number | undefined, now: number): number {
    if (mark === undefined || mark !== this.#mark) {
      this.#mark = mark;
      this.#since = now;
    }
    return now - this.#since;
  }
}
