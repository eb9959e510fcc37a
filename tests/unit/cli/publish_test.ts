import { type Bytes, fromUtf8, utf8 } from "../../../src/base/bytes.ts";
import { LineSplitter, LookAhead } from "../../../src/cli/publish_lines.ts";
import { assert, assertEquals, pureTest } from "../../deps.ts";

function split(text: string, pieceBytes: number, maxBytes = 1_000): (string | undefined)[] {
  const splitter = new LineSplitter(maxBytes);
  const bytes = utf8(text);
  const lines: (Bytes | undefined)[] = [];
  for (let at = 0; at < bytes.length; at += pieceBytes) {
    lines.push(...splitter.push(bytes.subarray(at, at + pieceBytes)));
  }
  lines.push(...splitter.finish());
  return lines.map((line) => line && fromUtf8(line));
}

pureTest("lines come out the same whatever the size of the pieces they come in", () => {
  const text = "one\n\nthree \r\nlä\u0000st";
  for (let pieceBytes = 1; pieceBytes <= text.length + 2; pieceBytes++) {
    assertEquals(split(text, pieceBytes), ["one", "", "three \r", "lä\u0000st"], `${pieceBytes}`);
  }
});

pureTest("a newline at the end begins no further line, and nothing is no line", () => {
  assertEquals(split("a\n", 1), ["a"]);
  assertEquals(split("\n", 1), [""]);
  assertEquals(split("", 1), []);
});

pureTest("a line that is too long is reported in its place, and the next one is whole", () => {
  for (const pieceBytes of [1, 3, 100]) {
    assertEquals(split("1234\n12345\nok\n123456", pieceBytes, 4), [
      "1234",
      undefined,
      "ok",
      undefined,
    ]);
  }
});

pureTest("a line is a copy: the piece it came in may be used again", () => {
  const splitter = new LineSplitter(10);
  const piece = utf8("ab\n");
  const [line] = [...splitter.push(piece)];
  piece.fill(0);
  assertEquals(fromUtf8(line!), "ab");
});

pureTest("no more lines are under way than allowed, by count and by bytes", async () => {
  const ahead = new LookAhead({ count: 2, bytes: 100 });
  ahead.start(10);
  assertEquals(ahead.room(10), undefined);
  ahead.start(10);
  let free = false;
  const room = ahead.room(10)!.then(() => free = true);
  await Promise.resolve();
  assertEquals(free, false);
  ahead.done(10);
  await room;
  assert(ahead.room(91) instanceof Promise, "91 bytes beside 10 are too many");
});

pureTest("one line that is larger than the allowance may go alone", () => {
  const ahead = new LookAhead({ count: 2, bytes: 100 });
  assertEquals(ahead.room(1_000), undefined);
});

pureTest("the end waits until nothing is under way", async () => {
  const ahead = new LookAhead({ count: 9, bytes: 9 });
  assertEquals(ahead.empty(), undefined);
  ahead.start(1);
  ahead.start(1);
  const empty = ahead.empty();
  ahead.done(1);
  ahead.done(1);
  await empty;
});
