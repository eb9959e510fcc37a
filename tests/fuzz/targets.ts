import { type Bytes, fromUtf8 } from "../../src/base/bytes.ts";
import { BusError, BusErrorCode, codeName } from "../../src/base/errors.ts";
import { checkFilter, checkTopic, localFilter, matches } from "../../src/topic/filter.ts";
import { Trie } from "../../src/topic/trie.ts";
import { decodeFrame, encodeFrame } from "../../src/wire/frame.ts";
import { FrameReader } from "../../src/wire/frame_reader.ts";
import { decodeValue, encodeValue } from "../../src/wire/object.ts";
import type { Random } from "../support/random.ts";
import { FRAMES, TOPICS, VALUES } from "./corpus.ts";
import { mended, mutated } from "./mutate.ts";
import { SessionTarget } from "./sessions.ts";

/** Something that takes any bytes. */
export interface Target {
  readonly name: string;
  /** The part of all inputs that go here. */
  readonly share: number;
  /** Makes an input. */
  input(random: Random): Bytes;
  /**
   * Gives it the input; returns what became of it, such as `ok` or the name of a code. What it throws is a finding.
   *
   * @param random Decides what is not part of the input, such as where a stream is cut.
   */
  run(input: Bytes, random: Random): string | Promise<string>;
}

function assertSame(what: string, one: Bytes, other: Bytes): void {
  if (one.length === other.length && one.every((byte, at) => byte === other[at])) return;
  throw new Error(`${what}: ${one.toHex()} became ${other.toHex()}`);
}

/** The name of the code of a refusal; anything else that was thrown is a finding. */
function refusal(error: unknown): string {
  if (error instanceof BusError && error.code !== BusErrorCode.FAILURE) return codeName(error.code);
  throw error;
}

/** Reads a value; what was read and written is read as the same again. */
const values: Target = {
  name: "values",
  share: 0.3,
  input: (random) => mutated(VALUES, random),
  run(input) {
    try {
      // Not the bytes of the input itself: of two equal keys the first counts, and any byte but 0 is true.
      const bytes = encodeValue(decodeValue(input));
      assertSame("A value", bytes, encodeValue(decodeValue(bytes)));
      return "ok";
    } catch (error) {
      return refusal(error);
    }
  },
};

/** Reads a stream that is cut anywhere; it yields what the whole yields. */
const streams: Target = {
  name: "streams",
  share: 0.25,
  input(random) {
    const bytes = mutated(FRAMES, random);
    return random.int(4) === 0 ? bytes : mended(bytes);
  },
  run(input, random) {
    const reader = new FrameReader();
    try {
      for (let at = 0; at < input.length;) {
        const space = reader.space();
        const part = input.subarray(at, at + Math.min(space.length, 1 + random.int(300)));
        space.set(part);
        reader.filled(part.length);
        at += part.length;
        for (let frame = reader.next(); frame !== undefined; frame = reader.next()) {
          const bytes = encodeFrame(frame.headers, frame.payload);
          assertSame("A payload", frame.payload, decodeFrame(bytes).payload);
        }
      }
      return reader.pending === 0 ? "ok" : "more is waited for";
    } catch (error) {
      return refusal(error);
    }
  },
};

/** Checks topics and filters; trie and naive matching agree on those that are valid. */
const topics: Target = {
  name: "topics",
  share: 0.15,
  input: (random) => mutated(TOPICS, random),
  run(input) {
    const half = input.length >> 1;
    const filter = fromUtf8(input.subarray(0, half));
    const topic = fromUtf8(input.subarray(half));
    if (filter === undefined || topic === undefined) return "not UTF-8";
    try {
      checkFilter(filter);
      checkTopic(topic);
    } catch (error) {
      return refusal(error);
    }
    const local = localFilter(filter);
    const trie = new Trie<number>();
    trie.add(local, 1);
    const found = trie.match(topic).length === 1;
    if (found !== matches(local, topic)) {
      throw new Error(`the trie says ${found} for ${JSON.stringify([filter, topic])}`);
    }
    if (!trie.remove(local, 1) || trie.nodes !== 0) throw new Error(`the trie keeps ${filter}`);
    return found ? "matches" : "does not match";
  },
};

/** Every target. */
export function targets(): readonly Target[] {
  return [values, streams, topics, new SessionTarget()];
}
