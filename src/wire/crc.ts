import { crc32 as zlibCrc32 } from "node:zlib";

/**
 * The CRC32 of gzip over bytes, as an unsigned 32-bit number.
 *
 * @param seed The CRC of the bytes before these.
 */
export function crc32(bytes: Uint8Array, seed = 0): number {
  return zlibCrc32(bytes, seed);
}
