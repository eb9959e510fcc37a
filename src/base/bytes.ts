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

const asciiDecoder = new TextDecoder();

const MEMO_SLOTS = 512;
const MEMO_LONGEST = 128;

/** Names and topics repeat in every request, and making a string of bytes costs more than all else in a field. */
const memo: (string | undefined)[] = new Array(MEMO_SLOTS).fill(undefined);

/** The text of bytes `start` to `end`, or `undefined` when it is not ASCII or is longer than 128 bytes. */
export function shortAscii(bytes: Uint8Array, start: number, end: number): string | undefined {
  if (end - start > MEMO_LONGEST) return undefined;
  let hash = end - start;
  for (let i = start; i < end; i++) {
    const byte = bytes[i]!;
    if (byte > 0x7f) return undefined;
    hash = Math.imul(hash, 31) + byte;
  }
  const slot = (hash ^ (hash >>> 15)) & (MEMO_SLOTS - 1);
  const known = memo[slot];
  if (known !== undefined && isAt(known, bytes, start, end)) return known;
  const text = asciiDecoder.decode(bytes.subarray(start, end));
  memo[slot] = text;
  return text;
}

function isAt(text: string, bytes: Uint8Array, start: number, end: number): boolean {
  if (text.length !== end - start) return false;
  for (let i = 0; i < text.length; i++) {
    if (text.charCodeAt(i) !== bytes[start + i]) return false;
  }
  return true;
}

/** How many bytes {@linkcode writeText} needs; half a surrogate pair counts as U+FFFD. */
export function textLength(text: string): number {
  for (let i = 0; i < text.length; i++) {
    if (text.charCodeAt(i) > 0x7f) return encoder.encode(text).length;
  }
  return text.length;
}

/** Writes text as UTF-8 into bytes that have room for it and returns the offset after it. */
export function writeText(text: string, bytes: Bytes, at: number): number {
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i);
    if (unit > 0x7f) return at + encoder.encodeInto(text, bytes.subarray(at)).written;
    bytes[at + i] = unit;
  }
  return at + text.length;
}
