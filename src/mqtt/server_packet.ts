import type { Bytes } from "../base/bytes.ts";
import type { MqttVersion } from "./link.ts";
import { PacketFields } from "./packet_fields.ts";
import { NO_PROPERTIES, type Properties, readProperties } from "./properties.ts";
import { Breach, breach, malformed, ProtocolError } from "./protocol_error.ts";

/** A packet as it came: its first byte, and where its content is. */
export interface RawPacket {
  readonly first: number;
  /** Never written again. */
  readonly bytes: Bytes;
  /** Where the fixed header begins. */
  readonly start: number;
  /** Where the variable header begins. */
  readonly at: number;
  readonly end: number;
}

/** CONNACK [MQTT5-3.2]. */
export interface Connack {
  readonly type: "connack";
  readonly sessionPresent: boolean;
  readonly code: number;
  readonly properties: Properties;
}

/** PUBLISH of QoS 0 or 1 [MQTT5-3.3]. */
export interface ServerPublish {
  readonly type: "publish";
  /** Empty when `fault` is about it. */
  readonly topic: string;
  readonly payload: Bytes;
  readonly qos: 0 | 1;
  readonly retain: boolean;
  /** 0 with QoS 0. */
  readonly id: number;
  readonly properties: Properties;
  /** What its publisher made wrong and the broker should not have passed on: acknowledged, not delivered. */
  readonly fault: string | undefined;
}

/** PUBACK [MQTT5-3.4]; any code of 0x80 and above is a refusal, listed in the standard or not. */
export interface Puback {
  readonly type: "puback";
  readonly id: number;
  readonly code: number;
  readonly properties: Properties;
}

/** SUBACK or UNSUBACK [MQTT5-3.9], [MQTT5-3.11], with a code per filter; UNSUBACK of 3.1.1 has none. */
export interface FilterAnswer {
  readonly type: "suback" | "unsuback";
  readonly id: number;
  readonly codes: readonly number[];
  readonly properties: Properties;
}

/** DISCONNECT [MQTT5-3.14]. */
export interface ServerDisconnect {
  readonly type: "disconnect";
  readonly code: number;
  readonly properties: Properties;
}

/** What a broker may send to a client that uses neither QoS 2 nor enhanced authentication. */
export type ServerPacket =
  | Connack
  | ServerPublish
  | Puback
  | FilterAnswer
  | ServerDisconnect
  | { readonly type: "pingresp" };

/** What this side said, and so what the broker may send. */
export interface PacketRules {
  readonly version: MqttVersion;
  /** What CONNECT announced as Topic Alias Maximum [MQTT5-3.1.2.11.5]. */
  readonly topicAliasMaximum: number;
  /** Whether a SUBSCRIBE of ours has a Subscription Identifier [MQTT5-3.8.2.1.2]. */
  readonly subscriptionIdentifiers: boolean;
}

const NAMES = [
  ...["packet of type 0", "CONNECT", "CONNACK", "PUBLISH", "PUBACK", "PUBREC", "PUBREL"],
  ...["PUBCOMP", "SUBSCRIBE", "SUBACK", "UNSUBSCRIBE", "UNSUBACK", "PINGREQ", "PINGRESP"],
  ...["DISCONNECT", "AUTH"],
];

/**
 * Reads and checks one packet of a broker.
 *
 * @throws {ProtocolError} For whatever a broker must not send
 */
export function readServerPacket(raw: RawPacket, rules: PacketRules): ServerPacket {
  const { first, bytes, at, end } = raw;
  const name = NAMES[first >> 4]!;
  const fields = new PacketFields(name, bytes, at, end);
  if (first >> 4 === 3) return readPublish(fields, first, rules);
  // [MQTT-2.2.2-2]; PUBREL, the only exception, does not come either.
  if ((first & 0x0f) !== 0) throw malformed(`${name} has the flags ${first & 0x0f}`);
  const isMqtt5 = rules.version === "5";
  switch (first >> 4) {
    case 2:
      return readConnack(fields, isMqtt5);
    case 4:
      return { type: "puback", id: readId(fields), ...readCode(fields, "PUBACK", isMqtt5) };
    case 9:
      return readSuback(fields, isMqtt5);
    case 11:
      return readUnsuback(fields, isMqtt5);
    case 13:
      fields.finish();
      return { type: "pingresp" };
    case 14:
      if (!isMqtt5) throw breach("a broker must not send DISCONNECT with MQTT 3.1.1");
      return { type: "disconnect", ...readCode(fields, "DISCONNECT", isMqtt5) };
    default:
      throw breach(`a broker must not send ${name} here`);
  }
}

function readConnack(fields: PacketFields, isMqtt5: boolean): Connack {
  const flags = fields.byte("its flags");
  if (flags > 1) throw malformed(`CONNACK has the flags ${flags}`);
  const code = fields.byte("its code");
  // A broker that does not speak MQTT 5 refuses in the format of 3.1.1.
  const isOld = !isMqtt5 || (code !== 0 && fields.left === 0);
  const properties = isOld ? NO_PROPERTIES : readProperties(fields, "CONNACK");
  fields.finish();
  if (flags === 1 && code !== 0) throw breach("CONNACK refuses and says session present");
  return { type: "connack", sessionPresent: flags === 1, code, properties };
}

function readPublish(fields: PacketFields, first: number, rules: PacketRules): ServerPublish {
  const qos = readQos(first);
  if (qos === 0 && (first & 0x08) !== 0) throw breach("PUBLISH of QoS 0 is marked as repeated");
  const topic = fields.text("its topic");
  const id = qos === 1 ? readId(fields) : 0;
  const publisher = {
    fault: topic === undefined ? "its topic is not UTF-8 without NUL" : undefined,
  };
  const properties = rules.version === "5"
    ? readProperties(fields, "PUBLISH", publisher)
    : NO_PROPERTIES;
  if (properties !== NO_PROPERTIES) checkPublish(properties, rules, publisher);
  if (topic === "") throw breach("PUBLISH has no topic");
  if (topic !== undefined && hasWildcard(topic)) publisher.fault ??= "its topic holds a wildcard";
  const payload = fields.bytes.subarray(fields.at, fields.end);
  const { fault } = publisher;
  const retain = (first & 1) === 1;
  return { type: "publish", topic: topic ?? "", payload, qos, retain, id, properties, fault };
}

function readQos(first: number): 0 | 1 {
  const qos = first >> 1 & 3;
  if (qos === 0 || qos === 1) return qos;
  if (qos === 3) throw malformed("PUBLISH has QoS 3");
  throw new ProtocolError(Breach.QOS, "a message of QoS 2 came, which nobody subscribed to");
}

function checkPublish(
  { topicAlias, subscriptionIdentifiers, responseTopic }: Properties,
  rules: PacketRules,
  publisher: { fault: string | undefined },
): void {
  if (topicAlias !== undefined && (topicAlias === 0 || topicAlias > rules.topicAliasMaximum)) {
    const most = rules.topicAliasMaximum;
    throw new ProtocolError(
      Breach.ALIAS,
      `PUBLISH has the topic alias ${topicAlias}; ${
        most === 0 ? "none is" : `1 to ${most} are`
      } allowed`,
    );
  }
  if (subscriptionIdentifiers !== undefined && !rules.subscriptionIdentifiers) {
    throw breach("PUBLISH has a subscription identifier, which no SUBSCRIBE had");
  }
  if (responseTopic !== undefined && hasWildcard(responseTopic)) {
    publisher.fault ??= "its responseTopic holds a wildcard";
  }
}

function readSuback(fields: PacketFields, isMqtt5: boolean): FilterAnswer {
  const id = readId(fields);
  const properties = isMqtt5 ? readProperties(fields, "SUBACK") : NO_PROPERTIES;
  const codes = [...fields.bytes.subarray(fields.at, fields.end)];
  // Nothing here subscribes with QoS 2 [MQTT-3.8.4-6].
  const wrong = codes.find((code) => code > 1 && code < 0x80);
  if (wrong !== undefined) throw breach(`SUBACK has the code ${wrong}`);
  return { type: "suback", id, codes, properties };
}

function readUnsuback(fields: PacketFields, isMqtt5: boolean): FilterAnswer {
  const id = readId(fields);
  const properties = isMqtt5 ? readProperties(fields, "UNSUBACK") : NO_PROPERTIES;
  if (!isMqtt5) fields.finish();
  return {
    ...{ type: "unsuback", id, properties },
    codes: [...fields.bytes.subarray(fields.at, fields.end)],
  };
}

/** Code and properties, which may be left out when there is nothing to say [MQTT5-3.4.2.1], [MQTT5-3.14.2.1]. */
function readCode(
  fields: PacketFields,
  carrier: "PUBACK" | "DISCONNECT",
  isMqtt5: boolean,
): { readonly code: number; readonly properties: Properties } {
  const code = isMqtt5 && fields.left > 0 ? fields.byte("its code") : 0;
  const hasProperties = isMqtt5 && fields.left > 0;
  const properties = hasProperties ? readProperties(fields, carrier) : NO_PROPERTIES;
  fields.finish();
  return { code, properties };
}

/** A packet identifier, which is never 0 [MQTT-2.3.1-1]. */
function readId(fields: PacketFields): number {
  const id = fields.uint16("its packet identifier");
  if (id === 0) throw breach(`${fields.name} has the packet identifier 0`);
  return id;
}

/** No topic name holds one [MQTT-3.3.2-2]. */
function hasWildcard(topic: string): boolean {
  return topic.includes("#") || topic.includes("+");
}
