import type { Bytes } from "../../../src/base/bytes.ts";
import { LineWriter, MAX_WAITING_BYTES, RETRY_MS } from "../../../src/process/log_writer.ts";
import { assertEquals, assertMatch, assertStringIncludes, pureTest } from "../../deps.ts";
import { FakeClock } from "../../support/fake_clock.ts";
import { turn } from "../config/fake_source.ts";

/** A pipe that takes at most so many bytes at a time. */
class Pipe {
  readonly clock = new FakeClock();
  readonly writer = new LineWriter((bytes) => this.#write(bytes), this.clock);
  text = "";
  writes = 0;
  takes = Infinity;
  error: Error | undefined;
  stuck: Promise<void> | undefined;

  async #write(bytes: Bytes): Promise<number> {
    this.writes++;
    await this.stuck;
    if (this.error !== undefined) throw this.error;
    const count = Math.min(this.takes, bytes.length);
    this.text += new TextDecoder().decode(bytes.subarray(0, count));
    return count;
  }
}

pureTest(
  "lines come out whole and in order, however little is taken at a time",
  async () => {
    const pipe = new Pipe();
    pipe.takes = 3;
    const lines = ["first\n", "second\n", "a third, longer one\n"];
    for (const line of lines) pipe.writer.line(line);
    await pipe.writer.flush(1_000);
    assertEquals(pipe.text, lines.join(""));
    assertEquals(pipe.clock.timers, 0);
  },
);

pureTest("lines that wait go out in one write", async () => {
  const pipe = new Pipe();
  for (let i = 0; i < 100; i++) pipe.writer.line(`${i}\n`);
  await pipe.writer.flush(1_000);
  assertEquals(pipe.writes, 2);
});

for (
  const [what, set] of [
    ["is full (EAGAIN)", (pipe: Pipe) => pipe.error = new Deno.errors.WouldBlock("EAGAIN")],
    ["takes nothing", (pipe: Pipe) => pipe.takes = 0],
  ] as const
) {
  pureTest(`a pipe that ${what} is tried again a little later`, async () => {
    const pipe = new Pipe();
    set(pipe);
    pipe.writer.line("kept\n");
    for (let i = 0; i < 5; i++) {
      await turn();
      pipe.clock.advance(RETRY_MS);
    }
    assertEquals([pipe.text, pipe.writes], ["", 5]);
    pipe.error = undefined;
    pipe.takes = Infinity;
    await turn();
    pipe.clock.advance(RETRY_MS);
    await turn();
    assertEquals(pipe.text, "kept\n");
  });
}

pureTest("a pipe whose reader is gone ends nothing, and is left alone", async () => {
  const pipe = new Pipe();
  pipe.error = new Deno.errors.BrokenPipe("EPIPE");
  pipe.writer.line("lost\n");
  await turn();
  pipe.writer.line("lost too\n");
  await pipe.writer.flush(1_000);
  assertEquals([pipe.text, pipe.writes, pipe.clock.timers], ["", 1, 0]);
});

pureTest("lines over the bound are dropped and counted, and the count is told", async () => {
  const pipe = new Pipe();
  const open = Promise.withResolvers<void>();
  pipe.stuck = open.promise;
  const line = "x".repeat(1_023) + "\n";
  for (let i = 0; i < MAX_WAITING_BYTES / 1_024 + 7; i++) pipe.writer.line(line);
  open.resolve();
  await pipe.writer.flush(1_000);
  assertEquals(pipe.text.split("\n").filter((one) => one === line.trim()).length, 256);
  assertMatch(pipe.text, /\n7 log lines are missing here[^\n]*\n$/);
  pipe.writer.line("again\n");
  await pipe.writer.flush(1_000);
  assertStringIncludes(pipe.text, "again\n");
});

pureTest("a reader that has stopped does not hold up the end of the program", async () => {
  const pipe = new Pipe();
  pipe.stuck = new Promise(() => {});
  pipe.writer.line("unread\n");
  const flushed = pipe.writer.flush(500);
  await turn();
  pipe.clock.advance(500);
  await flushed;
  assertEquals(pipe.text, "");
});
