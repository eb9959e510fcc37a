import {
  createLog,
  type Fields,
  type Level,
  LEVEL_NAMES,
  type LogFormat,
} from "../../../src/base/log.ts";
import { assertEquals, pureTest } from "../../deps.ts";

function lines(
  options: { level?: Level; format?: LogFormat; journal?: boolean },
  text: string,
  fields?: Fields,
  levels: readonly Level[] = ["info"],
): string[] {
  const written: string[] = [];
  const log = createLog({
    level: "info",
    format: "text",
    write: (line) => written.push(line),
    wallNow: () => 0,
    ...options,
  });
  for (const level of levels) log[level](text, fields);
  return written;
}

pureTest("a line of text has a time, a level, the text and the fields that are there", () => {
  assertEquals(lines({}, "it happened", { seq: 1, why: "a b", gone: undefined, empty: "" }), [
    '1970-01-01T00:00:00.000Z info it happened seq=1 why="a b" empty=""\n',
  ]);
});

pureTest("for the journal a priority stands in place of the time", () => {
  assertEquals(lines({ journal: true, level: "debug" }, "x", {}, LEVEL_NAMES), [
    "<7>x\n",
    "<6>x\n",
    "<4>x\n",
    "<3>x\n",
  ]);
});

pureTest("a line of JSON is one object", () => {
  const [line, ...rest] = lines({ format: "json", journal: true }, "two\nlines", { seq: 1 });
  assertEquals(rest, []);
  assertEquals(line!.indexOf("\n"), line!.length - 1);
  assertEquals(JSON.parse(line!), {
    time: "1970-01-01T00:00:00.000Z",
    level: "info",
    message: "two\nlines",
    seq: 1,
  });
});

pureTest("a log writes what is at least as urgent as its level", () => {
  const counts = LEVEL_NAMES.map((level) => lines({ level }, "x", {}, LEVEL_NAMES).length);
  assertEquals(counts, [4, 3, 2, 1]);
});

pureTest(
  "nothing that a client chose begins a line of its own or moves a terminal's cursor",
  () => {
    assertEquals(lines({ journal: true }, "topic", { topic: "a\n<3>forged\x1b[2J\u2028" }), [
      "<6>topic topic=a\\u000a<3>forged\\u001b[2J\\u2028\n",
    ]);
  },
);
