import { type Bytes, concat, fromUtf8, utf8 } from "../../../src/base/bytes.ts";
import { jsonLine, Output, plainLine, verboseLine } from "../../../src/cli/output.ts";
import { assert, assertEquals, pureTest } from "../../deps.ts";

const BINARY = new Uint8Array([0xff, 0x00, 0x0a, 0x80]);

function text(bytes: Bytes): string {
  return fromUtf8(bytes)!;
}

pureTest("plain output is the bytes of the payload and a newline", () => {
  assertEquals(plainLine({ topic: "t", payload: BINARY }), concat([BINARY, utf8("\n")]));
  assertEquals(text(plainLine({ topic: "t", payload: utf8("") })), "\n");
});

pureTest("verbose output has the topic before the payload, and says (null) for none", () => {
  assertEquals(text(verboseLine({ topic: "a/b", payload: utf8("x y") })), "a/b x y\n");
  assertEquals(text(verboseLine({ topic: "a/b", payload: utf8("") })), "a/b (null)\n");
});

pureTest("JSON output is one line, with base64 for what is not UTF-8", () => {
  const line = text(jsonLine({ topic: 'a"\n', payload: utf8("l1\nl2 ü") }, 0));
  assertEquals(line.indexOf("\n"), line.length - 1);
  assertEquals(JSON.parse(line), {
    time: "1970-01-01T00:00:00.000Z",
    topic: 'a"\n',
    payload: "l1\nl2 ü",
  });
  assertEquals(JSON.parse(text(jsonLine({ topic: "t", payload: BINARY }, 0))), {
    time: "1970-01-01T00:00:00.000Z",
    topic: "t",
    payload_base64: "/wAKgA==",
  });
});

/** Takes `most` bytes at once, and fails when told. */
class FakeSink {
  readonly writes: number[] = [];
  taken = "";
  failures: Error[] = [];

  constructor(readonly most = Infinity) {}

  write(bytes: Uint8Array): Promise<number> {
    const failure = this.failures.shift();
    if (failure !== undefined) return Promise.reject(failure);
    const count = Math.min(bytes.length, this.most);
    this.writes.push(count);
    this.taken += fromUtf8(bytes.subarray(0, count));
    return Promise.resolve(count);
  }
}

pureTest("what is put in one turn is written at once", async () => {
  const sink = new FakeSink();
  const output = new Output(sink, () => {});
  for (const part of ["a", "b", "c"]) assertEquals(output.put(utf8(part)), undefined);
  await output.flush();
  assertEquals([sink.taken, sink.writes], ["abc", [3]]);
});

pureTest("what is put is written without a flush", async () => {
  const written = Promise.withResolvers<void>();
  const sink = new FakeSink();
  const output = new Output({
    write: (bytes) => {
      written.resolve();
      return sink.write(bytes);
    },
  }, () => {});
  output.put(utf8("x"));
  await written.promise;
  await output.flush();
  assertEquals(sink.taken, "x");
});

pureTest(
  "partial writes are continued, and a pipe that is full for a while is tried again",
  async () => {
    const sink = new FakeSink(2);
    sink.failures.push(new Deno.errors.WouldBlock("full"));
    const output = new Output(sink, (error) => {
      throw error;
    });
    output.put(utf8("abcde"));
    await output.flush();
    assertEquals([sink.taken, sink.writes], ["abcde", [2, 2, 1]]);
  },
);

pureTest("much that waits makes the writer wait", async () => {
  const output = new Output(new FakeSink(), () => {});
  const room = output.put(utf8("x".repeat(65_536)));
  assert(room instanceof Promise);
  await room;
});

pureTest("an error is told once, and what is put after it is dropped", async () => {
  const sink = new FakeSink();
  sink.failures.push(new Deno.errors.BrokenPipe("gone"));
  const errors: unknown[] = [];
  const output = new Output(sink, (error) => errors.push(error));
  output.put(utf8("a"));
  await output.flush();
  output.put(utf8("b"));
  await output.flush();
  assertEquals([errors.length, sink.taken], [1, ""]);
});
