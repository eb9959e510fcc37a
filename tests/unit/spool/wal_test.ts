import { FRAME_BYTES, inspectWal, PAGE_BYTES, WAL_HEADER_BYTES } from "../../../src/spool/wal.ts";
import { assertEquals } from "../../deps.ts";

type Bytes = Uint8Array<ArrayBuffer>;

function checksum(bytes: Bytes, [a, b]: [number, number]): [number, number] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (let i = 0; i < bytes.length; i += 8) {
    a = (a + view.getUint32(i, true) + b) >>> 0;
    b = (b + view.getUint32(i + 4, true) + a) >>> 0;
  }
  return [a, b];
}

/** A log as SQLite writes it (file format, 4.1); each number is the commit field of a frame. */
function makeLog(commits: number[], salt = 7): Bytes {
  const bytes = new Uint8Array(WAL_HEADER_BYTES + commits.length * FRAME_BYTES);
  const view = new DataView(bytes.buffer);
  [0x377f0682, 3007000, PAGE_BYTES, 0, salt, 99].forEach((v, i) => view.setUint32(i * 4, v));
  let sum = checksum(bytes.subarray(0, 24), [0, 0]);
  view.setUint32(24, sum[0]);
  view.setUint32(28, sum[1]);
  commits.forEach((commit, index) => {
    const at = WAL_HEADER_BYTES + index * FRAME_BYTES;
    [index + 1, commit, salt, 99].forEach((v, i) => view.setUint32(at + i * 4, v));
    bytes.fill(index + 1, at + 24, at + FRAME_BYTES);
    sum = checksum(bytes.subarray(at, at + 8), sum);
    sum = checksum(bytes.subarray(at + 24, at + FRAME_BYTES), sum);
    view.setUint32(at + 16, sum[0]);
    view.setUint32(at + 20, sum[1]);
  });
  return bytes;
}

function inspect(bytes: Bytes): ReturnType<typeof inspectWal> {
  return inspectWal({
    size: bytes.length,
    bytes: (offset, length) => bytes.subarray(offset, offset + length),
  });
}

function flipped(bytes: Bytes, byte: number, bit = 0): Bytes {
  const copy = bytes.slice();
  copy[byte]! ^= 1 << bit;
  return copy;
}

const frameAt = (index: number): number => WAL_HEADER_BYTES + index * FRAME_BYTES;

Deno.test("a log without frames, or with whole transactions, is sound", () => {
  assertEquals(inspect(new Uint8Array(0)), { state: "sound", committedFrames: 0 });
  assertEquals(inspect(new Uint8Array(40)), { state: "sound", committedFrames: 0 });
  assertEquals(inspect(makeLog([0, 3, 0, 0, 4])), { state: "sound", committedFrames: 5 });
});

Deno.test("a transaction that was cut off is no damage", () => {
  assertEquals(inspect(makeLog([0, 3, 0, 0])), { state: "sound", committedFrames: 2 });
  const log = makeLog([0, 3, 0, 4]);
  for (const size of [frameAt(3) + 1, frameAt(3) + 30, frameAt(4) - 1]) {
    assertEquals(inspect(log.slice(0, size)), { state: "sound", committedFrames: 2 });
  }
});

Deno.test("frames of the log before, behind the present ones, are no damage", () => {
  const log = makeLog([0, 3, 0, 4], 7);
  log.set(makeLog([0, 3], 7 ^ 0xff00).subarray(0, frameAt(2)));
  assertEquals(inspect(log), { state: "sound", committedFrames: 2 });
});

Deno.test("any bit of a header or of a frame before the last commit that is wrong is damage", () => {
  const log = makeLog([0, 3, 0, 4]);
  for (let byte = 0; byte < frameAt(3); byte += byte < frameAt(0) + 24 ? 1 : 97) {
    // The number of the log is of no consequence, but it is covered by the checksum.
    assertEquals(inspect(flipped(log, byte, byte % 8)).state, "damaged", `byte ${byte}`);
  }
});

Deno.test("a wrong bit in the last commit leaves a doubt", () => {
  const log = makeLog([0, 3, 0, 4]);
  for (let byte = frameAt(3); byte < log.length; byte += byte < frameAt(3) + 24 ? 1 : 61) {
    const { state, committedFrames } = inspect(flipped(log, byte));
    assertEquals([state, committedFrames], ["doubtful", 2], `byte ${byte}`);
  }
});
