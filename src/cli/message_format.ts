import { type Bytes, concat, fromUtf8, utf8 } from "../base/bytes.ts";
import type { Message } from "../client/client.ts";

/** A part of a message's text; `now` is its time of arrival, in ms since the epoch. */
type Part = (message: Message, now: number) => Bytes;

/** What stands for each letter behind `%`, as `mosquitto_sub -F` has them. */
const PARTS: Readonly<Record<string, Part>> = {
  "%": () => utf8("%"),
  t: ({ topic }) => utf8(topic),
  p: ({ payload }) => payload,
  x: ({ payload }) => utf8(payload.toHex()),
  l: ({ payload }) => utf8(String(payload.length)),
  // Milliseconds are known, mosquitto writes nanoseconds.
  U: (_message, now) =>
    utf8(`${Math.floor(now / 1_000)}.${String(now % 1_000).padStart(3, "0")}000000`),
  I: (_message, now) => utf8(new Date(now).toISOString()),
  j: (message, now) => utf8(JSON.stringify({ ...head(message, now), ...textOf(message) })),
  J: (message, now) => utf8(JSON.stringify({ ...head(message, now), payload: jsonOf(message) })),
};

/** Letters that mean something to mosquitto which the core bus does not carry. */
const UNKNOWN: Readonly<Record<string, string>> = {
  q: "the QoS",
  r: "the retain flag",
  m: "the message id",
};

const ESCAPES: Readonly<Record<string, string>> = {
  n: "\n",
  t: "\t",
  r: "\r",
  e: "\x1b",
  a: "\x07",
  v: "\v",
  "0": "\0",
  "\\": "\\",
  '"': '"',
};

/**
 * Reads a format, as `mosquitto_sub -F` has them: `%t %p`.
 *
 * @throws {TypeError} for a letter that means nothing, or that means what the core bus does not carry
 */
export function parseFormat(format: string): Part {
  const parts: Part[] = [];
  for (const [, literal, percent, escape] of format.matchAll(/([^%\\]+)|%(.?)|\\(.?)/gs)) {
    parts.push(
      percent !== undefined
        ? partOf(percent)
        : literalPart(escape === undefined ? literal! : escaped(escape)),
    );
  }
  return (message, now) => concat(parts.map((part) => part(message, now)));
}

function partOf(letter: string): Part {
  if (Object.hasOwn(PARTS, letter)) return PARTS[letter]!;
  const what = UNKNOWN[letter];
  if (what !== undefined) throw new TypeError(`the core bus does not carry ${what} (%${letter})`);
  const known = Object.keys(PARTS).map((one) => `%${one}`).join(" ");
  throw new TypeError(`it may hold ${known}, got ${JSON.stringify(`%${letter}`)}`);
}

function escaped(letter: string): string {
  const text = ESCAPES[letter];
  if (text !== undefined) return text;
  const known = Object.keys(ESCAPES).map((one) => `\\${one}`).join(" ");
  throw new TypeError(`it may hold ${known}, got \\${letter}`);
}

function literalPart(text: string): Part {
  const bytes = utf8(text);
  return () => bytes;
}

function head({ topic, payload }: Message, now: number): Record<string, string | number> {
  return { tst: new Date(now).toISOString(), topic, payloadlen: payload.length };
}

function textOf({ payload }: Message): Record<string, string> {
  const text = fromUtf8(payload);
  return text === undefined ? { payload_base64: payload.toBase64() } : { payload: text };
}

/** The payload as JSON; `null` when it is none. */
function jsonOf({ payload }: Message): unknown {
  try {
    return JSON.parse(fromUtf8(payload) ?? "null");
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    return null;
  }
}
