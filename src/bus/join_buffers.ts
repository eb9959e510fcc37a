import type { Bytes } from "../base/bytes.ts";
import { JOIN_BYTES } from "./limits.ts";

/** Buffers that are kept for further writes, at most. */
const SPARE_BUFFERS = 16;

const spare: Bytes[] = [];

/**
 * A buffer of {@linkcode JOIN_BYTES} to join frames in, of those that are kept: for many subscribers at once, new ones would be made
 * faster than they are collected.
 */
export function takeJoinBuffer(): Bytes {
  return spare.pop() ?? new Uint8Array(JOIN_BYTES);
}

/** Nothing uses the buffer any more. */
export function giveJoinBuffer(buffer: Bytes): void {
  if (spare.length < SPARE_BUFFERS) spare.push(buffer);
}
