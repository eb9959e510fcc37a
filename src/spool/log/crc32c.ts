/** CRC-32C (Castagnoli, RFC 3720 section B.4), eight bytes a step. */

const POLYNOMIAL = 0x82f63b78;

const tables = makeTables();
const [t0, t1, t2, t3, t4, t5, t6, t7] = tables;

type Tables = [
  ...[Int32Array, Int32Array, Int32Array, Int32Array],
  ...[Int32Array, Int32Array, Int32Array, Int32Array],
];

function makeTables(): Tables {
  const made = Array.from({ length: 8 }, () => new Int32Array(256)) as Tables;
  for (let n = 0; n < 256; n++) {
    let crc = n;
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? POLYNOMIAL ^ (crc >>> 1) : crc >>> 1;
    made[0][n] = crc;
  }
  for (let k = 1; k < 8; k++) {
    for (let n = 0; n < 256; n++) {
      const before = made[k - 1]![n]!;
      made[k]![n] = (before >>> 8) ^ made[0][before & 0xff]!;
    }
  }
  return made;
}

/** The CRC-32C of `bytes` from `start` to `end`, as an unsigned 32-bit number. */
export function crc32c(bytes: Uint8Array, start: number, end: number): number {
  let crc = -1;
  let at = start;
  for (; at + 8 <= end; at += 8) {
    crc ^= bytes[at]! | bytes[at + 1]! << 8 | bytes[at + 2]! << 16 | bytes[at + 3]! << 24;
    crc = t7[crc & 0xff]! ^ t6[crc >>> 8 & 0xff]! ^ t5[crc >>> 16 & 0xff]! ^ t4[crc >>> 24]! ^
      t3[bytes[at + 4]!]! ^ t2[bytes[at + 5]!]! ^ t1[bytes[at + 6]!]! ^ t0[bytes[at + 7]!]!;
  }
  for (; at < end; at++) crc = t0[(crc ^ bytes[at]!) & 0xff]! ^ (crc >>> 8);
  return ~crc >>> 0;
}
