import { utf8 } from "../../../src/base/bytes.ts";
import { ProtocolError } from "../../../src/mqtt/protocol_error.ts";
import {
  type PacketRules,
  readServerPacket,
  type ServerPacket,
} from "../../../src/mqtt/server_packet.ts";
import { assertEquals, assertThrows, pureTest } from "../../deps.ts";

const MQTT5: PacketRules = { version: "5", topicAliasMaximum: 0, subscriptionIdentifiers: false };
const MQTT3: PacketRules = { ...MQTT5, version: "3.1.1" };

function read(first: number, body: readonly number[], rules = MQTT5): ServerPacket {
  const bytes = Uint8Array.of(first, body.length, ...body);
  return readServerPacket({ first, bytes, start: 0, at: 2, end: bytes.length }, rules);
}

/** The code that the broker is told. */
function refusal(first: number, body: readonly number[], rules = MQTT5): number {
  return assertThrows(() => read(first, body, rules), ProtocolError).code;
}

function text(value: string): number[] {
  const bytes = utf8(value);
  return [bytes.length >> 8, bytes.length & 0xff, ...bytes];
}

function properties(...bytes: readonly number[]): number[] {
  return [bytes.length, ...bytes];
}

const TOPIC = text("a/b");

pureTest("what a broker may send is read", () => {
  assertEquals(read(0x20, [1, 0, ...properties(0x21, 0, 7, 0x27, 0, 1, 0, 0)]), {
    ...{ type: "connack", sessionPresent: true, code: 0 },
    properties: { receiveMaximum: 7, maximumPacketSize: 65_536 },
  });
  assertEquals(read(0x20, [0, 5], MQTT3), {
    ...{ type: "connack", sessionPresent: false, code: 5, properties: {} },
  });
  assertEquals(read(0x33, [...TOPIC, 0, 9, 0, 1, 2]), {
    ...{ type: "publish", topic: "a/b", qos: 1, retain: true, id: 9, properties: {} },
    ...{ payload: Uint8Array.of(1, 2), fault: undefined },
  });
  assertEquals(read(0x40, [0, 1], MQTT3), { type: "puback", id: 1, code: 0, properties: {} });
  assertEquals(read(0x40, [0, 1, 0x95]), { type: "puback", id: 1, code: 0x95, properties: {} });
  assertEquals(read(0x90, [0, 1, 0, 1, 0x97]), {
    ...{ type: "suback", id: 1, codes: [1, 0x97], properties: {} },
  });
  assertEquals(read(0xb0, [0, 1], MQTT3), { type: "unsuback", id: 1, codes: [], properties: {} });
  assertEquals(read(0xd0, []), { type: "pingresp" });
  assertEquals(read(0xe0, []), { type: "disconnect", code: 0, properties: {} });
  assertEquals(read(0xe0, [0x8e, ...properties(0x1f, ...text("bye"))]), {
    ...{ type: "disconnect", code: 0x8e, properties: { reasonString: "bye" } },
  });
  assertEquals(read(0x20, [0, 1]).type, "connack");
});

pureTest("identifiers, aliases and user properties are read where they are allowed", () => {
  const rules = { ...MQTT5, topicAliasMaximum: 2, subscriptionIdentifiers: true };
  const body = [...TOPIC, ...properties(0x23, 0, 2, 0x0b, 1, 0x0b, 0x80, 1, 0x26, 0, 0, 0, 0)];
  const packet = read(0x30, body, rules);
  assertEquals(packet.type === "publish" && packet.properties, {
    topicAlias: 2,
    subscriptionIdentifiers: [1, 128],
  });
  assertEquals(refusal(0x30, [...TOPIC, ...properties(0x23, 0, 3)], rules), 0x94);
  assertEquals(refusal(0x30, [...TOPIC, ...properties(0x0b, 0)], rules), 0x82);
});

/** First byte, content, and the code that the broker is told. */
type Wrong = readonly [what: string, first: number, body: readonly number[], code: number];

const NOT_UTF8 = [0, 1, 0xff];
const WRONG: readonly Wrong[] = [
  ["flags where there are none", 0x41, [0, 1], 0x81],
  ["a reserved type", 0x00, [], 0x82],
  ["a packet of a client", 0xc0, [], 0x82],
  ["PUBREC", 0x50, [0, 1], 0x82],
  ["AUTH", 0xf0, [0], 0x82],
  ["CONNACK with flags", 0x20, [2, 0, 0], 0x81],
  ["CONNACK cut off", 0x20, [0], 0x81],
  ["CONNACK without properties", 0x20, [0, 0], 0x81],
  ["CONNACK that refuses a session that is present", 0x20, [1, 0x87, 0], 0x82],
  ["Receive Maximum 0", 0x20, [0, 0, ...properties(0x21, 0, 0)], 0x82],
  ["Maximum Packet Size 0", 0x20, [0, 0, ...properties(0x27, 0, 0, 0, 0)], 0x82],
  ["Maximum QoS 2", 0x20, [0, 0, ...properties(0x24, 2)], 0x82],
  ["a flag of 2", 0x20, [0, 0, ...properties(0x25, 2)], 0x82],
  ["a property twice", 0x20, [0, 0, ...properties(0x21, 0, 1, 0x21, 0, 1)], 0x82],
  ["a property of another packet", 0x20, [0, 0, ...properties(0x23, 0, 1)], 0x82],
  ["an unknown property", 0x20, [0, 0, ...properties(0x7e, 0)], 0x81],
  ["a property cut off", 0x20, [0, 0, ...properties(0x21, 0)], 0x81],
  ["properties longer than the packet", 0x20, [0, 0, 9, 0x21, 0, 1], 0x81],
  ["bytes left over", 0x20, [0, 0, 0, 0], 0x81],
  ["a reason that is not UTF-8", 0x40, [0, 1, 0x80, ...properties(0x1f, ...NOT_UTF8)], 0x81],
  ["PUBACK for packet 0", 0x40, [0, 0], 0x82],
  ["PUBACK cut off", 0x40, [0], 0x81],
  ["QoS 3", 0x36, [...TOPIC, 0, 1, 0], 0x81],
  ["QoS 2", 0x34, [...TOPIC, 0, 1, 0], 0x9b],
  ["QoS 0 as a repetition", 0x38, [...TOPIC, 0], 0x82],
  ["PUBLISH with packet id 0", 0x32, [...TOPIC, 0, 0, 0], 0x82],
  ["PUBLISH without topic", 0x30, [0, 0, 0], 0x82],
  ["a topic cut off", 0x30, [0, 9, 0x61], 0x81],
  ["topic alias 0", 0x30, [...TOPIC, ...properties(0x23, 0, 0)], 0x94],
  ["a topic alias above ours", 0x30, [...TOPIC, ...properties(0x23, 0, 1)], 0x94],
  ["an identifier that nobody gave", 0x30, [...TOPIC, ...properties(0x0b, 1)], 0x82],
  ["a property length of five bytes", 0x30, [...TOPIC, 0x80, 0x80, 0x80, 0x80, 1], 0x81],
  ["SUBACK that grants QoS 2", 0x90, [0, 1, 0, 2], 0x82],
  ["PINGRESP with content", 0xd0, [0], 0x81],
];

for (const [what, first, body, code] of WRONG) {
  pureTest(`a broker that sends ${what} breaks the protocol`, () => {
    assertEquals(refusal(first, body), code);
  });
}

pureTest("MQTT 3.1.1 has no DISCONNECT of a broker, and no properties", () => {
  assertEquals(refusal(0xe0, [], MQTT3), 0x82);
  assertEquals(refusal(0x40, [0, 1, 0], MQTT3), 0x81);
  assertEquals(refusal(0xb0, [0, 1, 0], MQTT3), 0x81);
});

pureTest("what a publisher made wrong is read, and marked", () => {
  const faults: readonly (readonly [body: readonly number[], fault: string])[] = [
    [[...text("a/+"), 0], "its topic holds a wildcard"],
    [[...text("#"), 0], "its topic holds a wildcard"],
    [[...text("a\0"), 0], "its topic is not UTF-8 without NUL"],
    [[0, 2, 0xc3, 0x28, 0], "its topic is not UTF-8 without NUL"],
    [[0, 3, 0xed, 0xa0, 0x80, 0], "its topic is not UTF-8 without NUL"],
    [[...TOPIC, ...properties(0x03, ...NOT_UTF8)], "its contentType is not UTF-8 without NUL"],
    [[...TOPIC, ...properties(0x08, ...text("a/#"))], "its responseTopic holds a wildcard"],
    [
      [...TOPIC, ...properties(0x26, ...text("a"), ...NOT_UTF8)],
      "its userProperty is not UTF-8 without NUL",
    ],
  ];
  for (const [body, fault] of faults) {
    const packet = read(0x30, body);
    assertEquals(packet.type === "publish" && packet.fault, fault);
  }
});
