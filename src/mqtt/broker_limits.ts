import type { Qos } from "../aws/limits.ts";
import { utf8 } from "../base/bytes.ts";
import type { MqttVersion } from "./link.ts";
import type { Properties } from "./properties.ts";

/** What a broker's CONNACK says that it allows [MQTT5-3.2.2.3]; what is absent is not limited, and nothing is by MQTT 3.1.1. */
export interface BrokerLimits {
  /** Bytes of the largest packet that it takes. */
  readonly maximumPacketSize?: number;
  /** 0: QoS 1 must not be sent, and is not granted. */
  readonly maximumQos?: 0;
  /** `false`: it keeps no retained messages. */
  readonly retainAvailable?: false;
  /** `false`: filters must not hold `+` or `#`. */
  readonly wildcardAvailable?: false;
  /** `false`: filters must not begin with `$share/`. */
  readonly sharedAvailable?: false;
  /** Whether a SUBSCRIBE may carry a number that comes back with the messages; never by MQTT 3.1.1. */
  readonly identifiersAvailable?: true;
  /** Seconds, in place of the keep-alive that was asked for. */
  readonly keepAliveS?: number;
  /** Seconds that the session outlives the connection, in place of what was asked for. */
  readonly sessionExpiryS?: number;
  /** The client id in place of an empty one. */
  readonly assignedClientId?: string;
}

/** The limits that a CONNACK states. */
export function limitsOf(version: MqttVersion, properties: Properties): BrokerLimits {
  if (version !== "5") return {};
  const {
    maximumPacketSize,
    serverKeepAlive: keepAliveS,
    sessionExpiryInterval: sessionExpiryS,
    assignedClientIdentifier: assignedClientId,
  } = properties;
  return {
    ...maximumPacketSize === undefined ? {} : { maximumPacketSize },
    ...properties.maximumQoS === 0 ? { maximumQos: 0 } : {},
    ...properties.retainAvailable === 0 ? { retainAvailable: false } : {},
    ...properties.wildcardSubscriptionAvailable === 0 ? { wildcardAvailable: false } : {},
    ...properties.sharedSubscriptionAvailable === 0 ? { sharedAvailable: false } : {},
    ...properties.subscriptionIdentifiersAvailable === 0 ? {} : { identifiersAvailable: true },
    ...keepAliveS === undefined ? {} : { keepAliveS },
    ...sessionExpiryS === undefined ? {} : { sessionExpiryS },
    ...assignedClientId === undefined ? {} : { assignedClientId },
  };
}

/** A message, as far as a limit can be about it. */
export interface LimitedMessage {
  readonly topic: string;
  readonly payload: { readonly length: number };
  readonly qos: Qos;
}

/** Why a message may not be sent. */
export interface PublishRefusal {
  readonly kind: "size" | "qos";
  readonly reason: string;
}

/** Bytes of a PUBLISH beside topic and payload, at most: header, lengths, packet identifier, message expiry, topic alias. */
const PUBLISH_OVERHEAD = 1 + 4 + 2 + 2 + 1 + 5 + 3;

/** Why the broker would end the connection for a message, if it would [MQTT5-3.2.2-11, MQTT5-3.2.2-15]. */
export function publishRefusal(
  { maximumPacketSize, maximumQos }: BrokerLimits,
  { topic, payload, qos }: LimitedMessage,
): PublishRefusal | undefined {
  if (maximumQos === 0 && qos === 1) {
    return { kind: "qos", reason: "the broker takes QoS 0 alone (Maximum QoS 0)" };
  }
  if (maximumPacketSize === undefined) return undefined;
  // No unit of a string becomes more than three bytes.
  if (PUBLISH_OVERHEAD + 3 * topic.length + payload.length <= maximumPacketSize) return undefined;
  const bytes = PUBLISH_OVERHEAD + utf8(topic).length + payload.length;
  if (bytes <= maximumPacketSize) return undefined;
  const reason = `the broker takes packets of at most ${maximumPacketSize} bytes, got ${bytes}`;
  return { kind: "size", reason };
}

/** Why the broker would end the connection for a filter, if it would [MQTT5-3.2.2.3.11, MQTT5-3.2.2.3.13]. */
export function filterRefusal(
  { wildcardAvailable, sharedAvailable }: BrokerLimits,
  filter: string,
): { readonly code: number; readonly reason: string } | undefined {
  if (sharedAvailable === false && filter.startsWith("$share/")) {
    return { code: 0x9e, reason: "the broker has no shared subscriptions" };
  }
  if (wildcardAvailable === false && /[+#]/.test(filter)) {
    return { code: 0xa2, reason: "the broker takes no wildcards in filters" };
  }
  return undefined;
}
