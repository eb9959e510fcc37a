import type { Qos } from "../aws/limits.ts";
import type { Bytes } from "../base/bytes.ts";
import type { BrokerLimits } from "./broker_limits.ts";

/** Protocol versions that are spoken. */
export type MqttVersion = "5" | "3.1.1";

/** What a broker answered to a PUBLISH: `code` 0 or 0x10 is success [MQTT5-3.4.2.1]; QoS 0 is answered with 0 once written. */
export interface PublishResult {
  readonly code: number;
  /** The broker's reason string, or the name of the code. Empty on success. */
  readonly reason: string;
}

/** What a broker answered for one filter of a SUBSCRIBE or UNSUBSCRIBE: 0x80 and above is a refusal, known or not [MQTT5-3.9.3, MQTT5-3.11.3]. */
export interface SubscribeResult {
  readonly code: number;
  /** The broker's reason string, or the name of the code. Empty on success. */
  readonly reason: string;
}

/** One message to send. */
export interface OutgoingPublish {
  readonly topic: string;
  /** Not changed nor reused by the caller before it was answered. */
  readonly payload: Bytes;
  readonly qos: Qos;
  /** Sent before on this session, without a PUBACK [MQTT-3.3.1-1]; with a `key`, the packet identifier is the same. */
  readonly dup?: boolean;
  /** Tells a message of QoS 1 from others, however often it is sent. */
  readonly key?: number;
  /** Seconds the message may still live (MQTT 5 only; ignored with 3.1.1). */
  readonly messageExpiry?: number;
}

/** How a SUBSCRIBE is meant; MQTT 3.1.1 knows none of it. */
export interface SubscribeOptions {
  /** Comes back with each message that arrives for the filters, 1 to 268,435,455 [MQTT5-3.8.2.1.2]. */
  readonly identifier?: number;
  /** Do not send retained messages again for filters that the session has [MQTT5-3.8.3.1]. */
  readonly onlyNew?: boolean;
}

/** What came with a message. */
export interface Delivery {
  /** It was kept by the broker and comes for a SUBSCRIBE [MQTT-3.3.1-8]. */
  readonly retain: boolean;
  /** Of the SUBSCRIBEs that it comes for, if the broker says so [MQTT5-3.3.4-3]. */
  readonly identifiers: readonly number[];
}

/** Nothing came with a message. */
export const PLAIN: Delivery = { retain: false, identifiers: [] };

/** Why a link ended. */
export interface LinkEnd {
  /**
   * `peer`: the other side closed or reset it or sent DISCONNECT; `network`: the socket says what failed, or TLS does by an alert;
   * `keep-alive`: half-open, nothing came for 1.5 times the keep-alive; `protocol`: the other side broke MQTT; `local`:
   * {@linkcode MqttLink.close} was called; `fault`: this program, a library or the runtime threw what it should not.
   */
  readonly by: "peer" | "network" | "keep-alive" | "protocol" | "local" | "fault";
  /** One line for the log. */
  readonly reason: string;
  /** The reason code of the broker's DISCONNECT [MQTT5-3.14.2.1]; 0x8E is "session taken over". */
  readonly code?: number;
  /** The packet at fault, with `protocol`: its beginning in hex, without payload. */
  readonly bytes?: string;
  /** What was thrown, with `fault`. */
  readonly cause?: unknown;
}

/** What the broker said when it accepted a connection. */
export interface ConnackInfo extends BrokerLimits {
  /** Whether the broker still had the session [MQTT-3.2.2-2]. */
  readonly sessionPresent: boolean;
  /** The QoS 1 messages it takes in flight [MQTT5-3.2.2.3.3]; 65,535 when it does not say. */
  readonly receiveMaximum: number;
}

/** Gets what happens on a link; called synchronously from the socket's turn. */
export interface LinkHandler {
  /** A message arrived. With QoS 1 its PUBACK is sent after this returns; `payload` may be kept. */
  onMessage(topic: string, payload: Bytes, delivery?: Delivery): void;
  /** The link is gone; called exactly once, after every pending callback was failed. */
  onEnd(end: LinkEnd): void;
}

/** One established MQTT connection; over when {@linkcode LinkHandler.onEnd} was called. */
export interface MqttLink {
  readonly connack: ConnackInfo;
  /** Where the TCP connection leads, the broker or the proxy: `192.0.2.1:8883`. */
  readonly address: string;
  /** Bytes that were written and not yet taken by the socket. */
  readonly buffered: number;
  /** Sends a message; `done` is called once, with `undefined` when the link ended before the answer. */
  publish(message: OutgoingPublish, done: (result: PublishResult | undefined) => void): void;
  /** Sends one SUBSCRIBE; a result per filter in their order, `undefined` when the link ended first. At most 8 filters. */
  subscribe(
    filters: readonly string[],
    qos: Qos,
    options?: SubscribeOptions,
  ): Promise<readonly SubscribeResult[] | undefined>;
  /** Sends one UNSUBSCRIBE; a result per filter in their order (MQTT 3.1.1: success), `undefined` when the link ended first. */
  unsubscribe(filters: readonly string[]): Promise<readonly SubscribeResult[] | undefined>;
  /** Sends a PINGREQ; `done` is called with its PINGRESP, and not when the link ends first. */
  ping(done: () => void): void;
  /** Sends DISCONNECT and closes, or just closes when `force`; resolves when the socket is gone. */
  close(force?: boolean): Promise<void>;
}
