import type { Bytes } from "../base/bytes.ts";
import type { MqttVersion } from "./link.ts";
import type { RawPacket, ServerPacket } from "./server_packet.ts";

/** PUBACK for a packet identifier: success, the same in both versions [MQTT-3.4], [MQTT5-3.4.2.1]. */
export function pubackBytes(id: number): Bytes {
  return Uint8Array.of(0x40, 2, id >> 8, id & 0xff);
}

/** DISCONNECT with a reason code (MQTT 5) [MQTT5-3.14]. */
export function disconnectBytes(code: number): Bytes {
  return Uint8Array.of(0xe0, 1, code);
}

/**
 * What MQTT.js is given of a checked packet: what tells it which of its requests was answered, and no more. Its parser refuses
 * codes that it does not list; what the answer says is read from the packet itself.
 *
 * @returns `undefined` for what is none of its business
 */
export function mqttJsInput(
  packet: ServerPacket,
  raw: RawPacket,
  version: MqttVersion,
): Bytes | undefined {
  switch (packet.type) {
    case "connack":
      return raw.bytes.subarray(raw.start, raw.end);
    case "puback":
      return pubackBytes(packet.id);
    case "suback":
      return answer(0x90, packet.id, packet.codes.map((code) => Math.min(code, 0x80)), version);
    case "unsuback":
      return answer(0xb0, packet.id, packet.codes.map(() => 0), version);
    case "pingresp":
      return Uint8Array.of(0xd0, 0);
    default:
      return undefined;
  }
}

/** Of at most some hundred filters, so that a length has at most two bytes. */
function answer(first: number, id: number, codes: readonly number[], version: MqttVersion): Bytes {
  const body = [id >> 8, id & 0xff, ...version === "5" ? [0] : [], ...codes];
  const { length } = body;
  return Uint8Array.of(
    first,
    ...length < 0x80 ? [length] : [length & 0x7f | 0x80, length >> 7],
    ...body,
  );
}
