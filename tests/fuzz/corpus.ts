import { type Bytes, utf8 } from "../../src/base/bytes.ts";
import { encodeValueFrame } from "../../src/wire/frame.ts";
import { FrameReader } from "../../src/wire/frame_reader.ts";
import type { Value } from "../../src/wire/object.ts";
import recorded from "../fixtures/core-bus-frames.json" with { type: "json" };

function request(type: number, method: string, params: Record<string, Value> = {}): Bytes {
  const headers = new Map<string, string | number>([["method", method], ["type", type]]);
  return encodeValueFrame(new Map(Object.entries(params)), headers);
}

const topic = utf8("a/b");

/** Whole frames, sometimes several: those that C clients were recorded with, and requests of every method with every parameter. */
export const FRAMES: readonly Bytes[] = [
  ...recorded.frames.map(({ hex }) => Uint8Array.fromHex(hex)),
  request(1, "publish", { topic, payload: utf8("x"), qos: 1n, ack: utf8("accepted") }),
  request(1, "publish", { topic, qos: 1n, ack: utf8("broker"), message_expiry: 1n }),
  request(0, "publish", { topic, qos: 0n }),
  request(1, "publish", { topic: utf8("a".repeat(256)), qos: 1n }),
  request(1, "publish", { topic: utf8("a/b/c/d/e/f/g/h/i"), qos: 2n }),
  request(1, "publish", { topic: utf8("a/+\0#"), payload: new Uint8Array(2_000) }),
  request(2, "subscribe", { topic_filter: utf8("a/+/#"), qos: 1n, virtual: true }),
  request(2, "subscribe", { topic_filter: [topic, utf8("$share/g/a/#"), utf8("#")], qos: 0n }),
  request(2, "subscribe", { topic_filter: [], virtual: false }),
  request(2, "connection_status"),
  request(1, "status"),
  request(2, "status"),
  request(1, "nothing", { list: [1n, true, 2.5, null, [new Map([["k", [topic]]])]] }),
];

/** The payloads of those frames: values. */
export const VALUES: readonly Bytes[] = FRAMES.flatMap(payloads);

function payloads(stream: Bytes): Bytes[] {
  const reader = new FrameReader();
  reader.push(stream);
  const found: Bytes[] = [];
  for (let frame = reader.next(); frame !== undefined; frame = reader.next()) {
    if (frame.payload.length > 0) found.push(frame.payload.slice());
  }
  return found;
}

/** Topics and filters of every shape. */
export const TOPICS: readonly Bytes[] = [
  ...[
    "",
    "a",
    "a/b",
    "/",
    "//",
    "a/+/b",
    "#",
    "a/#",
    "+",
    "$SYS/a",
    "$aws/rules/r/a/b",
    "$share/g/a",
  ],
  ...[
    "a+",
    "a/#/b",
    "a\0",
    "é/ü/日本",
    "a/".repeat(8),
    "x".repeat(257),
    "$share//a",
    "$aws/rules/",
  ],
].map(utf8);
