import type { Fields, Level, Log } from "../../src/base/log.ts";

/** A log that keeps its lines. */
export interface FakeLog extends Log {
  readonly lines: { readonly level: Level; readonly text: string; readonly fields: Fields }[];
}

/** Makes a {@linkcode FakeLog}. */
export function fakeLog(): FakeLog {
  const lines: FakeLog["lines"] = [];
  const at = (level: Level) => (text: string, fields: Fields = {}): void =>
    void lines.push({ level, text, fields });
  return { lines, debug: at("debug"), info: at("info"), warn: at("warn"), error: at("error") };
}
