import type { LinkEnd } from "../mqtt/link.ts";

/**
 * Which packets without an answer a closed link may have been closed for: `any`; only PUBLISH; only PUBLISH of QoS 1; only SUBSCRIBE and
 * UNSUBSCRIBE; only the largest; `none`, when the close states a cause that is no packet's.
 */
export type Accused = "any" | "publish" | "qos1" | "filter" | "largest" | "none";

/** DISCONNECT reason codes that may be about a packet [MQTT5-3.14.2.1]; the others state a cause that is no packet's. */
const ACCUSED: ReadonlyMap<number, Accused> = new Map<number, Accused>([
  // Says no more than a close without a word [MQTT5-4.13.2].
  [0x00, "any"],
  [0x80, "any"],
  [0x81, "any"], // malformed packet [MQTT5-4.13.1]
  [0x82, "any"], // protocol error [MQTT5-4.13.1]
  [0x83, "any"],
  [0x87, "any"], // not authorized; AWS IoT Core: the policy forbids a topic or a filter
  [0x8f, "filter"], // topic filter invalid [MQTT5-4.7.1]
  [0x90, "publish"], // topic name invalid [MQTT5-4.7.3]
  [0x93, "qos1"], // receive maximum exceeded: counts PUBLISH above QoS 0 [MQTT5-3.3.4-9]
  [0x94, "publish"], // topic alias invalid [MQTT5-3.3.2-9]
  [0x95, "largest"], // packet too large [MQTT5-3.2.2-15]
  [0x96, "publish"], // message rate too high: PUBLISH alone carries messages
  // AWS IoT Core answers a PUBLISH over its quota with PUBACK 0x97, or discards it; it closes for what a SUBSCRIBE asks too much.
  [0x97, "filter"],
  [0x99, "publish"], // payload format invalid [MQTT5-3.3.2.3.2]
  [0x9a, "publish"], // retain not supported [MQTT5-3.2.2-14]
  [0x9b, "publish"], // QoS not supported [MQTT5-3.2.2-11]; a SUBSCRIBE of any QoS is to be granted less instead [MQTT5-3.2.2-9]
  [0x9e, "filter"], // shared subscriptions not supported [MQTT5-3.2.2.3.13]
  [0xa1, "filter"], // subscription identifiers not supported [MQTT5-3.2.2.3.12]
  [0xa2, "filter"], // wildcard subscriptions not supported [MQTT5-3.2.2.3.11]
]);

/** Codes of DISCONNECT whose cause is the broker, the network, the session or the client as a whole [MQTT5-3.14.2.1]. */
const STATED: ReadonlySet<number> = new Set([
  0x84, // unsupported protocol version
  0x85, // client identifier not valid
  0x86, // bad user name or password
  0x88, // server unavailable
  0x89, // server busy
  0x8a, // banned
  0x8b, // server shutting down
  0x8c, // bad authentication method
  0x8d, // keep alive timeout [MQTT5-3.1.2-22]
  0x8e, // session taken over [MQTT5-3.1.4-3]
  0x91, // packet identifier in use: of this program's making, not the message's
  0x92, // packet identifier not found
  0x98, // administrative action
  0x9c, // use another server [MQTT5-4.11]
  0x9d, // server moved [MQTT5-4.11]
  0x9f, // connection rate exceeded
  0xa0, // maximum connect time
]);

/** Whom the end of a link accuses, by the cause that it states or may hide. A code that no specification names hides its cause. */
export function accusedBy({ by, code }: Pick<LinkEnd, "by" | "code">): Accused {
  switch (by) {
    // Closed here, or not at all: no packet did that.
    case "local":
    case "network":
    case "keep-alive":
      return "none";
    // What cannot be parsed, or makes the parser throw, may be the answer to one message, and comes again with it.
    case "fault":
    case "protocol":
      return "any";
    case "peer":
      // MQTT 3.1.1 has no DISCONNECT from a server [MQTT-3.14]: its closes never say why.
      if (code === undefined) return "any";
      return STATED.has(code) ? "none" : ACCUSED.get(code) ?? "any";
  }
}
