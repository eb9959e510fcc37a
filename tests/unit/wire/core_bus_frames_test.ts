import { assertEquals, assertStrictEquals, pureTest } from "../../deps.ts";
import { type Bytes, concat, utf8 } from "../../../src/base/bytes.ts";
import { decodeFrame, encodeFrame, encodeValueFrame } from "../../../src/wire/frame.ts";
import { FrameReader } from "../../../src/wire/frame_reader.ts";
import { decodeValue, encodeValue, type Value } from "../../../src/wire/object.ts";
import recorded from "../../fixtures/core-bus-frames.json" with { type: "json" };

/** What a frame says: its headers in their order, and its payload unless that is empty. */
interface Meaning {
  readonly headers: readonly (readonly [string, string | number])[];
  readonly value?: Value;
}

const NOTIFY = 0;
const CALL = 1;
const SUBSCRIBE = 2;

function request(method: string, type: number, parameters: Record<string, Value>): Meaning {
  return {
    headers: [["method", method], ["type", type]],
    value: new Map(Object.entries(parameters)),
  };
}

function publish(type: number, payload: string, qos: bigint): Meaning {
  return request("publish", type, { topic: utf8("sensors/temp"), payload: utf8(payload), qos });
}

function keyPath(...keys: string[]): Record<string, Value> {
  return { key_path: keys.map(utf8) };
}

const ENDPOINT = keyPath(
  "services",
  "aws.greengrass.NucleusLite",
  "configuration",
  "iotDataEndpoint",
);

const PROXY_URL = keyPath(
  "services",
  "aws.greengrass.NucleusLite",
  "configuration",
  "networkProxy",
  "proxy",
  "url",
);

const ACCEPTED: Meaning = { headers: [["accepted", 1]] };

const MEANINGS: Record<string, readonly Meaning[]> = {
  "publish-call-qos0": [publish(CALL, "00000000000 ", 0n)],
  "publish-call-response": [{ headers: [], value: null }],
  "publish-call-qos1": [publish(CALL, "xxxxx", 1n)],
  "publish-call-empty-payload": [publish(CALL, "", 0n)],
  "publish-notify": [publish(NOTIFY, "00000000000 ", 0n)],
  "publish-call-qos3": [publish(CALL, "00000000000 ", 3n)],
  "error-invalid": [{ headers: [["error", 5]] }],
  "subscribe-request": [
    request("subscribe", SUBSCRIBE, {
      topic_filter: [utf8("sensors/#")],
      qos: 1n,
      virtual: false,
    }),
  ],
  "subscribe-accepted": [ACCEPTED],
  "subscribe-message": [{
    headers: [],
    value: new Map([["topic", utf8("sensors/temp")], ["payload", utf8("21.5")]]),
  }],
  "connection-status-request": [request("connection_status", SUBSCRIBE, {})],
  "connection-status-accepted-and-true": [ACCEPTED, { headers: [], value: true }],
  "config-read-request": [request("read", CALL, keyPath("system", "certificateFilePath"))],
  "config-read-response": [{ headers: [], value: utf8("/tmp/pki/client.pem") }],
  "config-subscribe-request": [request("subscribe", SUBSCRIBE, ENDPOINT)],
  "config-subscribe-accepted": [ACCEPTED],
  "config-read-endpoint": [request("read", CALL, ENDPOINT)],
  "config-read-endpoint-response": [{ headers: [], value: utf8("localhost") }],
  "config-read-missing": [request("read", CALL, PROXY_URL)],
  "error-noentry": [{ headers: [["error", 12]] }],
};

function fromHex(hex: string): Bytes {
  return Uint8Array.from(hex.match(/../g) ?? [], (pair) => parseInt(pair, 16));
}

function encode({ headers, value }: Meaning): Bytes {
  const map = new Map(headers);
  return value === undefined ? encodeFrame(map) : encodeValueFrame(value, map);
}

function take(reader: FrameReader, into: Meaning[]): void {
  for (let frame = reader.next(); frame !== undefined; frame = reader.next()) {
    const headers = [...frame.headers];
    // The reader reuses what its views see, so what is kept is a copy.
    const payload = frame.payload.slice();
    into.push(payload.length === 0 ? { headers } : { headers, value: decodeValue(payload) });
  }
}

pureTest("every recorded frame has a meaning here", () => {
  assertEquals(recorded.frames.map(({ name }) => name), Object.keys(MEANINGS));
});

for (const { name, hex } of recorded.frames) {
  const bytes = fromHex(hex);
  const meanings = MEANINGS[name] ?? [];

  pureTest(`${name} is read and written as C does [iotcored-1]`, () => {
    const read: Meaning[] = [];
    const reader = new FrameReader();
    reader.push(bytes);
    take(reader, read);
    assertEquals(read, meanings);
    assertStrictEquals(reader.pending, 0);
    assertEquals(concat(meanings.map(encode)), bytes);
    assertEquals(concat(read.map(encode)), bytes);
  });

  pureTest(`${name} means the same split at every byte`, () => {
    for (let at = 0; at <= bytes.length; at++) {
      const read: Meaning[] = [];
      const reader = new FrameReader();
      for (const part of [bytes.subarray(0, at), bytes.subarray(at)]) {
        reader.push(part);
        take(reader, read);
      }
      assertEquals(read, meanings, `split at ${at}`);
    }
  });
}

pureTest("all recorded frames come through one byte at a time", () => {
  const reader = new FrameReader();
  const read: Meaning[] = [];
  for (const byte of concat(recorded.frames.map(({ hex }) => fromHex(hex)))) {
    reader.push(Uint8Array.of(byte));
    take(reader, read);
  }
  assertEquals(read, Object.values(MEANINGS).flat());
});

pureTest("a frame that is decoded whole and encoded again has the same bytes", () => {
  for (const { name, hex } of recorded.frames) {
    if (MEANINGS[name]?.length !== 1) continue;
    const { headers, payload } = decodeFrame(fromHex(hex));
    const again = payload.length === 0 ? payload : encodeValue(decodeValue(payload));
    assertEquals(encodeFrame(headers, again), fromHex(hex), name);
  }
});
