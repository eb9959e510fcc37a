import { utf8 } from "../base/bytes.ts";

/** How often a progress is drawn, in ms. */
const EVERY_MS = 500;

/** What is under way. */
export interface Figures {
  /** Messages that were answered. */
  readonly done: number;
  /** Messages that wait for their answer. */
  readonly waiting: number;
}

/** Where a progress is drawn. */
export interface ProgressTerminal {
  isTerminal(): boolean;
  writeSync(bytes: Uint8Array): number;
}

/** Messages, their rate and what waits, in one line of a terminal; nothing anywhere else. */
export class Progress implements Disposable {
  readonly #terminal: ProgressTerminal;
  #timer: ReturnType<typeof setInterval> | undefined;

  constructor(terminal: ProgressTerminal, figures: () => Figures) {
    this.#terminal = terminal;
    if (!terminal.isTerminal()) return;
    const started = performance.now();
    this.#timer = setInterval(() => {
      this.#draw(progressText(figures(), performance.now() - started));
    }, EVERY_MS);
  }

  /** Takes the line away. */
  [Symbol.dispose](): void {
    if (this.#timer === undefined) return;
    clearInterval(this.#timer);
    this.#draw("");
  }

  /** The cursor goes back to the left, so that a line of another kind begins there. */
  #draw(text: string): void {
    this.#terminal.writeSync(utf8(`${text}\x1b[K\r`));
  }
}

/** The line after `ms`. */
export function progressText({ done, waiting }: Figures, ms: number): string {
  const rate = ms <= 0 ? 0 : Math.round(done / ms * 1_000);
  return `${done} messages, ${rate}/s, ${waiting} waiting`;
}
