/** Levels, least urgent first, with the priority that systemd's journal reads from a `<N>` prefix. */
const LEVELS = { debug: 7, info: 6, warn: 4, error: 3 } as const;

/** Bytes of lines that wait while nobody reads them; further lines are dropped and counted. */
export const MAX_WAITING_LOG_BYTES = 262_144;

/** How urgent a line is. */
export type Level = keyof typeof LEVELS;

/** How a line looks: for a person, one JSON object, or with the priority that systemd's journal reads in place of the time. */
export type LogFormat = "text" | "json" | "journald";

/** What a line says beside its text. Never a payload, a key or a password. */
export type Fields = Readonly<Record<string, string | number | boolean | undefined>>;

/** The log: one line per event. */
export interface Log {
  /** Details of single requests. */
  debug(text: string, fields?: Fields): void;
  /** What an operator expects to see: state changes. */
  info(text: string, fields?: Fields): void;
  /** What someone should look at, though the daemon goes on. */
  warn(text: string, fields?: Fields): void;
  /** What was lost or ends the program. */
  error(text: string, fields?: Fields): void;
}

/** What {@linkcode createLog} needs. */
export interface LogOptions {
  readonly level: Level;
  readonly format: LogFormat;
  /** Gets each whole line, with its newline. */
  readonly write: (line: string) => void;
  /** Milliseconds since the epoch, for the time stamp. */
  readonly wallNow: () => number;
  /** Writes text as for `journald`, whose stderr this is: `<6>`-like prefixes in place of time stamps [sd-daemon(3)]. */
  readonly journal?: boolean;
}

/** The names of all levels, least urgent first. */
export const LEVEL_NAMES = Object.keys(LEVELS) as readonly Level[];

/** A log that writes lines of at least the given level. */
export function createLog(options: LogOptions): Log {
  const { format, write, wallNow, journal = false } = options;
  const hasPriority = format === "journald" || journal;
  const threshold = LEVELS[options.level];
  const at = (level: Level) => (text: string, fields: Fields = {}): void => {
    if (LEVELS[level] > threshold) return;
    const time = new Date(wallNow()).toISOString();
    const prefix = hasPriority ? `<${LEVELS[level]}>` : `${time} ${level} `;
    const line = format === "json"
      ? JSON.stringify({ time, level, message: text, ...fields })
      : prefix + textLine(text, fields);
    write(`${line}\n`);
  };
  return { debug: at("debug"), info: at("info"), warn: at("warn"), error: at("error") };
}

function textLine(text: string, fields: Fields): string {
  let line = oneLine(text);
  for (const [name, value] of Object.entries(fields)) {
    if (value === undefined) continue;
    const shown = oneLine(String(value));
    line += ` ${name}=${/[\s"=]/.test(shown) || shown === "" ? JSON.stringify(shown) : shown}`;
  }
  return line;
}

/** A client may choose topics and names: none of them may start a line of its own in the log. */
function oneLine(text: string): string {
  return text.replace(
    /[\p{Cc}\u2028\u2029]/gu,
    (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}
