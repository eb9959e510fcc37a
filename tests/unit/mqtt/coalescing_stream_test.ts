import { Buffer } from "node:buffer";
import { Duplex } from "node:stream";
import { setImmediate } from "node:timers";
import { assertEquals, assertStrictEquals } from "../../deps.ts";
import {
  COALESCE_BYTES,
  COALESCE_MS,
  CoalescingStream,
} from "../../../src/mqtt/coalescing_stream.ts";
import { FakeClock } from "../../support/fake_clock.ts";
import { Random } from "../../support/random.ts";

/** A stream that keeps what it was given until it is told to take it. */
class Wire extends Duplex {
  readonly taken: Buffer[] = [];
  #waiting: (() => void)[] = [];

  constructor(private readonly slow = false) {
    super();
  }

  override _read(): void {}

  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    const take = (): void => {
      this.taken.push(Buffer.from(chunk));
      done();
    };
    if (this.slow) this.#waiting.push(take);
    else take();
  }

  override _writev(chunks: { chunk: Buffer }[], done: () => void): void {
    this._write(Buffer.concat(chunks.map(({ chunk }) => chunk)), "", done);
  }

  /** Takes what it was given; whether that was something. */
  takeAll(): boolean {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const take of waiting) take();
    return waiting.length > 0;
  }

  get text(): string {
    return Buffer.concat(this.taken).toString();
  }
}

/** Resolves when the streams have done what they do at the end of a turn. */
function turn(): Promise<void> {
  return new Promise((resolve) => void setImmediate(resolve));
}

Deno.test("what is written in one turn goes out at its end, as one write", async () => {
  const wire = new Wire();
  const coalesced = new CoalescingStream(wire, new FakeClock());
  coalesced.write(new Uint8Array([0x61]));
  coalesced.write("temp ☀");
  coalesced.write(new Uint8Array([0x62]));
  assertEquals(wire.taken.length, 0);
  assertStrictEquals(coalesced.unwritten, 1 + 8 + 1);
  await turn();
  assertEquals(wire.taken.map(String), ["atemp ☀b"]);
  assertStrictEquals(coalesced.unwritten, 0);
});

Deno.test("what follows within a millisecond waits for the end of it, and goes out together", async () => {
  const clock = new FakeClock();
  const wire = new Wire();
  const coalesced = new CoalescingStream(wire, clock);
  coalesced.write("first ");
  await turn();
  for (const text of ["second ", "third "]) {
    coalesced.write(text);
    await turn();
  }
  assertStrictEquals(wire.text, "first ");
  clock.advance(COALESCE_MS);
  await turn();
  assertEquals(wire.taken.map(String), ["first ", "second third "]);
  clock.advance(COALESCE_MS);
  coalesced.write("after a pause");
  await turn();
  assertStrictEquals(wire.taken.length, 3);
  assertStrictEquals(clock.timers, 0);
});

Deno.test("a full chunk does not wait, and large data is not joined but keeps its place", async () => {
  const clock = new FakeClock();
  const wire = new Wire();
  const coalesced = new CoalescingStream(wire, clock);
  coalesced.write("x");
  await turn();
  coalesced.write("a".repeat(COALESCE_BYTES / 4));
  coalesced.write(new Uint8Array(COALESCE_BYTES).fill(0x62));
  coalesced.write(new Uint8Array(COALESCE_BYTES + 1).fill(0x63));
  coalesced.write("d");
  coalesced.end(new Uint8Array([0x65]));
  await turn();
  const runs = wire.text.replaceAll(/(.)\1*/g, (run, letter) => `${letter}${run.length} `);
  assertStrictEquals(
    runs,
    `x1 a${COALESCE_BYTES / 4} b${COALESCE_BYTES} c${COALESCE_BYTES + 1} d1 e1 `,
  );
  assertStrictEquals(clock.timers, 0);
});

Deno.test("bytes are kept until a slow stream has taken them, however they come", async () => {
  const random = new Random(7);
  const clock = new FakeClock();
  const wire = new Wire(true);
  const coalesced = new CoalescingStream(wire, clock);
  const expected: Buffer[] = [];
  for (let i = 0; i < 3_000; i++) {
    const length = random.int(20) === 0 ? random.int(2 * COALESCE_BYTES) : random.int(60);
    const data = new Uint8Array(length).fill(i);
    expected.push(Buffer.from(data));
    coalesced.write(data);
    // Small data was copied: its owner uses its buffer again.
    if (length <= COALESCE_BYTES) data.fill(0xff);
    if (random.int(3) === 0) await turn();
    if (random.int(5) === 0) clock.advance(random.int(3));
    if (random.int(4) === 0) wire.takeAll();
  }
  clock.advance(COALESCE_MS);
  do await turn(); while (wire.takeAll());
  assertStrictEquals(Buffer.compare(Buffer.concat(wire.taken), Buffer.concat(expected)), 0);
  assertStrictEquals(coalesced.unwritten, 0);
});

Deno.test("the end and the failure of the stream are passed on, and no timer outlives it", async () => {
  const clock = new FakeClock();
  const wire = new Wire();
  const coalesced = new CoalescingStream(wire, clock);
  const seen: string[] = [];
  coalesced.on("error", (error: Error) => seen.push(error.message)).on(
    "close",
    () => seen.push("close"),
  );
  coalesced.write("a");
  await turn();
  coalesced.write("b");
  assertStrictEquals(clock.timers, 1);
  coalesced.destroy(new Error("reset"));
  await turn();
  assertEquals(seen, ["reset", "close"]);
  assertStrictEquals(clock.timers, 0);
});
