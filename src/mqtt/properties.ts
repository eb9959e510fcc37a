import type { PacketFields } from "./packet_fields.ts";
import { Breach, breach, malformed, ProtocolError } from "./protocol_error.ts";

/** Properties that a broker may send [MQTT5-2.2.2.2], each checked against its range; user properties are checked and not kept. */
export interface Properties {
  readonly payloadFormatIndicator?: number;
  readonly messageExpiryInterval?: number;
  readonly contentType?: string;
  readonly responseTopic?: string;
  readonly subscriptionIdentifiers?: readonly number[];
  readonly sessionExpiryInterval?: number;
  readonly assignedClientIdentifier?: string;
  readonly serverKeepAlive?: number;
  readonly reasonString?: string;
  readonly serverReference?: string;
  readonly responseInformation?: string;
  readonly receiveMaximum?: number;
  readonly topicAliasMaximum?: number;
  readonly topicAlias?: number;
  readonly maximumQoS?: number;
  readonly retainAvailable?: number;
  readonly maximumPacketSize?: number;
  readonly wildcardSubscriptionAvailable?: number;
  readonly subscriptionIdentifiersAvailable?: number;
  readonly sharedSubscriptionAvailable?: number;
}

/** What is wrong in what the publisher of a message chose, so that it says nothing about the broker. */
export interface PublisherFault {
  fault: string | undefined;
}

/** No properties. */
export const NO_PROPERTIES: Properties = {};

/** Packets of a broker that have properties. */
type Carrier = "CONNACK" | "PUBLISH" | "PUBACK" | "SUBACK" | "UNSUBACK" | "DISCONNECT";

interface Rule {
  readonly name: string;
  readonly type: "byte" | "uint16" | "uint32" | "varint" | "text" | "binary" | "pair";
  readonly in: readonly Carrier[];
  /** In one packet more than once. */
  readonly many?: true;
  readonly least?: number;
  readonly most?: number;
}

const FLAG = { type: "byte", most: 1 } as const;
const POSITIVE_16 = { type: "uint16", least: 1 } as const;
const IN_CONNACK = ["CONNACK"] as const;
const IN_PUBLISH = ["PUBLISH"] as const;
const IN_ANSWERS = ["CONNACK", "PUBACK", "SUBACK", "UNSUBACK", "DISCONNECT"] as const;

const RULES: ReadonlyMap<number, Rule> = new Map<number, Rule>([
  [0x01, { name: "payloadFormatIndicator", ...FLAG, in: IN_PUBLISH }],
  [0x02, { name: "messageExpiryInterval", type: "uint32", in: IN_PUBLISH }],
  [0x03, { name: "contentType", type: "text", in: IN_PUBLISH }],
  [0x08, { name: "responseTopic", type: "text", in: IN_PUBLISH }],
  [0x09, { name: "correlationData", type: "binary", in: IN_PUBLISH }],
  [0x0b, {
    ...{ name: "subscriptionIdentifiers", type: "varint", in: IN_PUBLISH },
    ...{ least: 1, many: true },
  }],
  [0x11, { name: "sessionExpiryInterval", type: "uint32", in: IN_CONNACK }],
  [0x12, { name: "assignedClientIdentifier", type: "text", in: IN_CONNACK }],
  [0x13, { name: "serverKeepAlive", type: "uint16", in: IN_CONNACK }],
  [0x15, { name: "authenticationMethod", type: "text", in: IN_CONNACK }],
  [0x16, { name: "authenticationData", type: "binary", in: IN_CONNACK }],
  [0x1a, { name: "responseInformation", type: "text", in: IN_CONNACK }],
  [0x1c, { name: "serverReference", type: "text", in: ["CONNACK", "DISCONNECT"] }],
  [0x1f, { name: "reasonString", type: "text", in: IN_ANSWERS }],
  [0x21, { name: "receiveMaximum", ...POSITIVE_16, in: IN_CONNACK }],
  [0x22, { name: "topicAliasMaximum", type: "uint16", in: IN_CONNACK }],
  [0x23, { name: "topicAlias", type: "uint16", in: IN_PUBLISH }],
  [0x24, { name: "maximumQoS", ...FLAG, in: IN_CONNACK }],
  [0x25, { name: "retainAvailable", ...FLAG, in: IN_CONNACK }],
  [0x26, { name: "userProperty", type: "pair", in: [...IN_ANSWERS, "PUBLISH"], many: true }],
  [0x27, { name: "maximumPacketSize", type: "uint32", least: 1, in: IN_CONNACK }],
  [0x28, { name: "wildcardSubscriptionAvailable", ...FLAG, in: IN_CONNACK }],
  [0x29, { name: "subscriptionIdentifiersAvailable", ...FLAG, in: IN_CONNACK }],
  [0x2a, { name: "sharedSubscriptionAvailable", ...FLAG, in: IN_CONNACK }],
]);

/**
 * Reads the properties that begin here, with their length.
 *
 * @param publisher For PUBLISH: gets what is wrong in a text. Elsewhere a wrong text is malformed.
 * @throws {ProtocolError} When one may not be in this packet, comes twice or is out of range
 */
export function readProperties(
  packet: PacketFields,
  carrier: Carrier,
  publisher?: PublisherFault,
): Properties {
  const length = packet.varint("its properties");
  if (length === 0) return NO_PROPERTIES;
  const fields = packet.section(length, "its properties");
  const found: Record<string, unknown> = {};
  while (fields.left > 0) {
    const id = fields.varint("a property");
    const rule = RULES.get(id);
    if (rule === undefined) throw malformed(`${carrier} has the unknown property ${id}`);
    if (!rule.in.includes(carrier)) throw breach(`${carrier} must not have ${rule.name}`);
    const value = readValue(fields, rule, publisher);
    if (rule.type === "pair") continue;
    if (rule.many) ((found[rule.name] ??= []) as unknown[]).push(value);
    else if (rule.name in found) throw breach(`${carrier} has ${rule.name} twice`);
    else found[rule.name] = value;
  }
  return found as Properties;
}

function readValue(
  fields: PacketFields,
  rule: Rule,
  publisher: PublisherFault | undefined,
): unknown {
  switch (rule.type) {
    case "binary":
      return fields.binary(rule.name);
    case "pair":
      readText(fields, rule.name, publisher);
      return readText(fields, rule.name, publisher);
    case "text":
      return readText(fields, rule.name, publisher);
    default: {
      const value = fields[rule.type](rule.name);
      const { least = 0, most = Infinity, name } = rule;
      if (value >= least && value <= most) return value;
      throw new ProtocolError(Breach.PROTOCOL, `${fields.name}: ${name} must not be ${value}`);
    }
  }
}

function readText(fields: PacketFields, name: string, publisher?: PublisherFault): string {
  const text = fields.text(name);
  if (text !== undefined) return text;
  if (publisher === undefined) throw malformed(`${fields.name}: ${name} is not UTF-8 without NUL`);
  publisher.fault ??= `its ${name} is not UTF-8 without NUL`;
  return "";
}
