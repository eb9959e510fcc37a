/**
 * What AWS IoT Core allows, once: sizes in bytes, times in ms, rates a second ("AWS IoT Core quotas").
 *
 * @module
 */

/** QoS levels of AWS IoT Core; 2 does not exist there. */
export type Qos = 0 | 1;

/** Payload of one message, in bytes; more closes the connection. */
export const MAX_PAYLOAD_BYTES = 131_072;

/** Longest topic or filter, in bytes of UTF-8, without its prefix; more closes the connection. */
export const MAX_TOPIC_BYTES = 256;

/** Most slashes of a topic or filter, without its prefix: 8 levels; more closes the connection. */
export const MAX_TOPIC_SLASHES = 7;

/** Longest client id, in bytes of UTF-8. */
export const MAX_CLIENT_ID_BYTES = 128;

/** Subscriptions on one connection; more are refused, and the connection may be closed. */
export const FILTERS_PER_CONNECTION = 50;

/** Topic filters in one SUBSCRIBE or UNSUBSCRIBE; more close the connection. */
export const FILTERS_PER_PACKET = 8;

/** QoS 1 messages in flight, in each direction. */
export const MAX_IN_FLIGHT = 100;

/** Messages in any second of one connection, both directions together; more are discarded without a PUBACK. */
export const PUBLISHES_PER_SECOND = 100;

/** Bytes in any second of one connection; more are delayed. */
export const BYTES_PER_SECOND = 524_288;

/** Least time between two CONNECTs of one client id, in ms. */
export const CONNECT_SPACING_MS = 1_000;

/** Longest keep-alive, in seconds; 0 and more count as this. Less than 30 s counts as 30 s. */
export const MAX_KEEP_ALIVE_S = 1_200;

/** The port that MQTT over TLS is told from HTTPS on by ALPN. */
export const ALPN_PORT = 443;
