import { type Bytes, concat } from "../../src/base/bytes.ts";
import { crc32 } from "../../src/wire/crc.ts";
import type { Random } from "../support/random.ts";

/** Bytes and counts on which decoders tend to stumble. */
const BYTES = [0, 1, 2, 4, 5, 6, 7, 15, 16, 0x7f, 0x80, 0xff];
const COUNTS = [0, 1, 5, 15, 16, 255, 65_535, 131_073, 1_048_577, 0x7fff_ffff, 0xffff_ffff];

/** Inputs do not grow beyond this, in bytes. */
const MOST = 4_096;

type Mutation = (bytes: Bytes, random: Random, other: Bytes) => Bytes;

const MUTATIONS: readonly Mutation[] = [
  function flipBit(bytes, random) {
    if (bytes.length > 0) bytes[random.int(bytes.length)]! ^= 1 << random.int(8);
    return bytes;
  },
  function setByte(bytes, random) {
    if (bytes.length > 0) bytes[random.int(bytes.length)] = random.pick(BYTES);
    return bytes;
  },
  function setCount(bytes, random) {
    if (bytes.length < 4) return bytes;
    const view = new DataView(bytes.buffer, bytes.byteOffset);
    view.setUint32(random.int(bytes.length - 3), random.pick(COUNTS), random.int(2) === 0);
    return bytes;
  },
  function cut(bytes, random) {
    return bytes.slice(0, random.int(bytes.length + 1));
  },
  function remove(bytes, random) {
    const at = random.int(bytes.length + 1);
    return concat([bytes.slice(0, at), bytes.slice(at + 1 + random.int(8))]);
  },
  function insert(bytes, random) {
    const at = random.int(bytes.length + 1);
    return concat([bytes.slice(0, at), random.bytes(8), bytes.slice(at)]);
  },
  function repeat(bytes, random) {
    const from = random.int(bytes.length + 1);
    const part = bytes.slice(from, from + random.int(64));
    return concat([bytes.slice(0, from), part, part, bytes.slice(from)]);
  },
  function splice(bytes, random, other) {
    return concat([
      bytes.slice(0, random.int(bytes.length + 1)),
      other.slice(random.int(other.length + 1)),
    ]);
  },
];

/** An input made of others: 0 to 4 things are done to it. */
export function mutated(corpus: readonly Bytes[], random: Random): Bytes {
  let bytes: Bytes = random.pick(corpus).slice();
  for (let times = random.int(5); times > 0; times--) {
    bytes = random.pick(MUTATIONS)(bytes, random, random.pick(corpus));
  }
  return bytes.slice(0, MOST);
}

/** Makes lengths and checksums of a frame right again, so that what lies behind them is reached. */
export function mended(bytes: Bytes): Bytes {
  if (bytes.length < 16) return bytes;
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  view.setUint32(0, bytes.length);
  const headers = view.getUint32(4);
  if (headers > bytes.length - 16) view.setUint32(4, bytes.length - 16);
  view.setUint32(8, crc32(bytes.subarray(0, 8)));
  view.setUint32(bytes.length - 4, crc32(bytes.subarray(0, bytes.length - 4)));
  return bytes;
}
