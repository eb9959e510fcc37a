import { Buffer } from "node:buffer";
import { type Bytes, utf8 } from "../../../src/base/bytes.ts";
import { encodeFrame, encodeValueFrame } from "../../../src/wire/frame.ts";
import type { Value } from "../../../src/wire/object.ts";
import { generatePacket } from "../../deps.ts";

/** Payload of a message of the bench, in bytes: a reading or two, as telemetry goes. */
export const PAYLOAD_BYTES = 128;

/** The payload of every message. */
export const PAYLOAD: Bytes = new Uint8Array(PAYLOAD_BYTES);

/** The answer to a publish. */
export const NULL_ANSWER: Bytes = encodeValueFrame(null);

/** The answer to a subscribe. */
export const ACCEPTED: Bytes = encodeFrame(new Map([["accepted", 1]]));

/** The request that publishes a message. */
export function publishRequest(topic: string, qos: 0 | 1, payload = PAYLOAD): Bytes {
  return request("publish", 1, [
    ["topic", utf8(topic)],
    ["payload", payload],
    ["qos", BigInt(qos)],
  ]);
}

/** The request that subscribes. */
export function subscribeRequest(filter: string): Bytes {
  return request("subscribe", 2, [["topic_filter", utf8(filter)], ["qos", 0n]]);
}

/** What a subscriber gets of a message. */
export function messageFrame(topic: string): Bytes {
  return encodeValueFrame(new Map([["topic", utf8(topic)], ["payload", PAYLOAD]]));
}

/** A CONNECT of MQTT 3.1.1 without a keep-alive. */
export function connectPacket(clientId: string): Bytes {
  return copied(generatePacket({
    ...{ cmd: "connect", protocolId: "MQTT", protocolVersion: 4, clean: true, keepalive: 0 },
    clientId,
  }));
}

/** A PUBLISH of QoS 0. */
export function publishPacket(topic: string): Bytes {
  const packet = { qos: 0, dup: false, retain: false, topic } as const;
  return copied(generatePacket({ cmd: "publish", ...packet, payload: Buffer.from(PAYLOAD) }));
}

function request(method: string, type: number, params: [string, Value][]): Bytes {
  return encodeValueFrame(
    new Map(params),
    new Map<string, string | number>([["method", method], ["type", type]]),
  );
}

function copied(bytes: Uint8Array): Bytes {
  return Uint8Array.from(bytes);
}
