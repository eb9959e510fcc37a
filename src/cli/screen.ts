import { utf8 } from "../base/bytes.ts";

/** What a screen needs of a terminal. */
export interface Terminal {
  writeSync(bytes: Uint8Array): number;
  size(): { readonly columns: number; readonly rows: number };
}

/** The other screen, without a cursor. */
const ENTER = "\x1b[?1049h\x1b[?25l\x1b[H\x1b[2J";
const LEAVE = "\x1b[?25h\x1b[?1049l";

/** A page that is refreshed in place: each line is written over the one before, so that nothing flickers. */
export class Screen implements Disposable {
  readonly #terminal: Terminal;

  /** @param paint Adds colours to a line that fits */
  constructor(terminal: Terminal, private readonly paint = (line: string): string => line) {
    this.#terminal = terminal;
    this.#write(ENTER);
  }

  /** Shows lines in place of those before; what does not fit is cut off. */
  show(lines: readonly string[]): void {
    const size = this.#terminal.size();
    // A terminal that nobody sized says 0.
    const [columns, rows] = [size.columns || 80, size.rows || 24];
    const fitting = lines.slice(0, rows).map((line) =>
      `${this.paint(line.slice(0, columns - 1))}\x1b[K`
    );
    this.#write(`\x1b[H${fitting.join("\r\n")}\x1b[J`);
  }

  /** Gives the terminal back as it was. */
  [Symbol.dispose](): void {
    this.#write(LEAVE);
  }

  #write(text: string): void {
    const bytes = utf8(text);
    for (let at = 0; at < bytes.length;) at += this.#terminal.writeSync(bytes.subarray(at));
  }
}
