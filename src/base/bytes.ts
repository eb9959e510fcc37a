import { shortAscii } from "./text.ts";

/** Bytes that own or view an ordinary (not shared) buffer. */
export type Bytes = Uint8Array<ArrayBuffer>;

const encoder = new TextEncoder();
const strictDecoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** The UTF-8 bytes of a string. */
export function utf8(text: string): Bytes {
  return encoder.encode(text);
}

/** The text of UTF-8 bytes, from `start` to `end`, or `undefined` when they are not UTF-8. */
export function fromUtf8(bytes: Uint8Array, start = 0, end = bytes.length): string | undefined {
  const known = shortAscii(bytes, start, end);
  if (known !== undefined) return known;
  try {
    return strictDecoder.decode(bytes.subarray(start, end));
  } catch (error) {
    if (error instanceof TypeError) return undefined;
    throw error;
  }
}

/** One array with the bytes of all parts; a single part is returned as it is. */
export function concat(parts: readonly Bytes[]): Bytes {
  if (parts.length === 1) return parts[0]!;
  let length = 0;
  for (const part of parts) length += part.length;
  const joined = new Uint8Array(length);
  let offset = 0;
  for (const part of parts) {
    joined.set(part, offset);
    offset += part.length;
  }
  return joined;
}
