import {
  assert,
  assertEquals,
  assertLessOrEqual,
  assertStrictEquals,
  assertThrows,
  pureTest,
} from "../../deps.ts";
import { type Bytes, concat } from "../../../src/base/bytes.ts";
import { BusError, codeName } from "../../../src/base/errors.ts";
import { encodeFrame, type Frame } from "../../../src/wire/frame.ts";
import { FrameReader } from "../../../src/wire/frame_reader.ts";
import { prelude, WHOLE } from "./damage.ts";
import { Random } from "../../support/random.ts";

const IDLE_BYTES = 4_096;

function frameOf(payloadLength: number, fill: number): Bytes {
  return encodeFrame(new Map([["n", fill]]), new Uint8Array(payloadLength).fill(fill));
}

/** The frames of a stream that is read in pieces of at most `most` bytes, copied out of their views. */
function readAll(reader: FrameReader, stream: Bytes, most: () => number): Frame[] {
  const frames: Frame[] = [];
  for (let at = 0; at < stream.length;) {
    const space = reader.space();
    const part = stream.subarray(at, at + Math.min(space.length, most()));
    space.set(part);
    reader.filled(part.length);
    at += part.length;
    for (let frame = reader.next(); frame !== undefined; frame = reader.next()) {
      frames.push({ headers: frame.headers, payload: frame.payload.slice() });
    }
  }
  return frames;
}

pureTest("five frames in one read are five frames", () => {
  const reader = new FrameReader();
  reader.push(concat([1, 2, 3, 4, 5].map((i) => frameOf(i * 10, i))));
  for (const i of [1, 2, 3, 4, 5]) {
    assertEquals(reader.next(), {
      headers: new Map([["n", i]]),
      payload: new Uint8Array(i * 10).fill(i),
    });
  }
  assertStrictEquals(reader.next(), undefined);
  assertEquals(reader.pending, 0);
});

pureTest("frames of all sizes come through reads of all sizes", () => {
  const random = new Random(5);
  for (let round = 0; round < 30; round++) {
    const sizes = Array.from({ length: 12 }, () => random.int(10 ** random.int(6)));
    const stream = concat(sizes.map((size, i) => frameOf(size, i)));
    const reader = new FrameReader();
    const frames = readAll(reader, stream, () => 1 + random.int(10 ** (1 + random.int(5))));
    assertEquals(frames.map((frame) => frame.payload.length), sizes);
    for (const [i, { headers, payload }] of frames.entries()) {
      assertEquals(headers, new Map([["n", i]]));
      assert(payload.every((byte) => byte === i));
    }
    assertEquals(reader.pending, 0);
  }
});

pureTest("a frame that came in one read is not copied", () => {
  const reader = new FrameReader();
  const space = reader.space();
  space.set(WHOLE);
  reader.filled(WHOLE.length);
  assertStrictEquals(reader.next()!.payload.buffer, space.buffer);
});

pureTest("frames that were read ahead stay whole until space is asked for", () => {
  const reader = new FrameReader();
  reader.push(concat([frameOf(100, 1), frameOf(100, 2), WHOLE.subarray(0, 20)]));
  const [first, second] = [reader.next()!, reader.next()!];
  assertStrictEquals(reader.next(), undefined);
  assertEquals(first.payload, new Uint8Array(100).fill(1));
  assertEquals(second.payload, new Uint8Array(100).fill(2));
  assertEquals(reader.pending, 20);
});

pureTest("the buffer grows to a large frame and shrinks after it", () => {
  const reader = new FrameReader();
  const large = frameOf(200_000, 7);
  assertEquals(reader.space().length, IDLE_BYTES);
  reader.push(large.subarray(0, 12));
  assertStrictEquals(reader.next(), undefined);
  assertEquals(reader.space().length, IDLE_BYTES - 12);
  reader.push(large.subarray(12, 150_000));
  assertEquals(reader.space().length, large.length - 150_000);
  reader.push(large.subarray(150_000));
  assertEquals(reader.next()!.payload.length, 200_000);
  assertEquals(reader.space().length, IDLE_BYTES);
});

pureTest(
  "the buffer does not grow for a length whose CRC is wrong",
  () => {
    const reader = new FrameReader();
    const lie = prelude(1_000_000, 0);
    lie[11]! ^= 1;
    reader.push(lie);
    assertEquals(codeName(assertThrows(() => reader.next(), BusError).code), "PARSE");
    assertEquals(reader.space().length, IDLE_BYTES - lie.length);
  },
);

pureTest(
  "what a prelude announces is given room only as it comes, a few times what has come",
  () => {
    const frame = encodeFrame(new Map(), new Uint8Array(1_000_000));
    const reader = new FrameReader();
    for (let at = 0; at < frame.length;) {
      const room = reader.pending + reader.space().length;
      assertLessOrEqual(room, Math.max(IDLE_BYTES, 8 * at));
      const part = frame.subarray(at, at + Math.min(2_000, reader.space().length));
      reader.space().set(part);
      reader.filled(part.length);
      at += part.length;
      const whole = reader.next();
      assertEquals(whole?.payload.length, at < frame.length ? undefined : 1_000_000);
    }
  },
);

pureTest("a prelude that contradicts itself is refused before the rest comes", () => {
  const refusal = (total: number, headersLength: number) => {
    const reader = new FrameReader();
    reader.push(prelude(total, headersLength));
    return assertThrows(() => reader.next(), BusError).message;
  };
  assertEquals(refusal(15, 0), "Cannot read a frame: its length must be at least 16, got 15");
  assertEquals(refusal(0, 0), "Cannot read a frame: its length must be at least 16, got 0");
  assertEquals(
    refusal(20, 5),
    "Cannot read a frame: its headers length must be at most 4, got 5",
  );
});

pureTest("the limit of a reader is its own", () => {
  const reader = new FrameReader(100);
  reader.push(encodeFrame(new Map(), new Uint8Array(84)));
  assertEquals(reader.next()!.payload.length, 84);
  reader.push(encodeFrame(new Map(), new Uint8Array(85)).subarray(0, 12));
  assertEquals(codeName(assertThrows(() => reader.next(), BusError).code), "NOMEM");
});

pureTest("after damage nothing more is read", () => {
  for (const offset of [0, WHOLE.length - 1]) {
    const reader = new FrameReader();
    const damaged = WHOLE.slice();
    damaged[offset]! ^= 1;
    reader.push(concat([damaged, WHOLE]));
    assertThrows(() => reader.next(), BusError);
    reader.push(WHOLE);
    assertThrows(() => reader.next(), BusError);
  }
});

pureTest("a caller that only pushes loses nothing", () => {
  const reader = new FrameReader();
  for (let i = 0; i < 1_000; i++) reader.push(WHOLE);
  assertEquals(reader.pending, 1_000 * WHOLE.length);
  let frames = 0;
  while (reader.next() !== undefined) frames++;
  assertEquals(frames, 1_000);
});

pureTest(
  "a reader is never told of more bytes than it had space for",
  () => {
    const reader = new FrameReader();
    for (const count of [-1, NaN, reader.space().length + 1]) {
      assertThrows(() => reader.filled(count), RangeError);
    }
    assertEquals(reader.pending, 0);
  },
);
