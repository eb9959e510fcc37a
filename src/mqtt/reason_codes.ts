/** What a refusal means for what comes next. */
interface Reason {
  readonly name: string;
  /**
   * In CONNACK: other credentials are needed (iotcored-4), or the account may be busy, so that much later is soon enough; or else the
   * same may succeed later. With which code AWS IoT Core refuses a CONNECT above the quota is not documented.
   */
  readonly connack?: "credentials" | "busy";
  /** In PUBACK: the same may succeed later, or else the message is given up. */
  readonly puback?: "retry";
  /** In SUBACK and UNSUBACK: the same may succeed later, or else the filter cannot be had. */
  readonly filter?: "retry";
}

/** CONNACK codes of MQTT 3.1.1 [MQTT-3.2.2-4] and reason codes of MQTT 5 [MQTT5-2.4]; their ranges do not meet. */
const REASONS: ReadonlyMap<number, Reason> = new Map<number, Reason>([
  [1, { name: "unacceptable protocol version" }],
  [2, { name: "identifier rejected" }],
  [3, { name: "server unavailable", connack: "busy" }],
  [4, { name: "bad user name or password", connack: "credentials" }],
  [5, { name: "not authorized", connack: "credentials" }],
  [0x10, { name: "no matching subscribers" }],
  [0x11, { name: "no subscription existed" }],
  [0x80, { name: "unspecified error", connack: "busy" }],
  [0x81, { name: "malformed packet" }],
  [0x82, { name: "protocol error" }],
  [0x83, { name: "implementation specific error", connack: "busy", filter: "retry" }],
  [0x84, { name: "unsupported protocol version" }],
  [0x85, { name: "client identifier not valid" }],
  [0x86, { name: "bad user name or password", connack: "credentials" }],
  [0x87, { name: "not authorized", connack: "credentials" }],
  [0x88, { name: "server unavailable", connack: "busy", filter: "retry" }],
  [0x89, { name: "server busy", connack: "busy", filter: "retry" }],
  [0x8a, { name: "banned" }],
  [0x8b, { name: "server shutting down" }],
  [0x8c, { name: "bad authentication method", connack: "credentials" }],
  [0x8d, { name: "keep alive timeout" }],
  [0x8e, { name: "session taken over" }],
  [0x8f, { name: "topic filter invalid" }],
  [0x90, { name: "topic name invalid" }],
  [0x91, { name: "packet identifier in use", filter: "retry" }],
  [0x92, { name: "packet identifier not found" }],
  [0x93, { name: "receive maximum exceeded" }],
  [0x94, { name: "topic alias invalid" }],
  [0x95, { name: "packet too large" }],
  [0x96, { name: "message rate too high", filter: "retry" }],
  [0x97, { name: "quota exceeded", connack: "busy", puback: "retry", filter: "retry" }],
  [0x98, { name: "administrative action" }],
  [0x99, { name: "payload format invalid" }],
  [0x9a, { name: "retain not supported" }],
  [0x9b, { name: "QoS not supported" }],
  [0x9c, { name: "use another server" }],
  [0x9d, { name: "server moved" }],
  [0x9e, { name: "shared subscriptions not supported" }],
  [0x9f, { name: "connection rate exceeded", connack: "busy" }],
  [0xa0, { name: "maximum connect time" }],
  [0xa1, { name: "subscription identifiers not supported" }],
  [0xa2, { name: "wildcard subscriptions not supported" }],
]);

/** A code as the specifications write it: `5` or `0x87`. */
export function codeText(code: number): string {
  return code < 0x10 ? String(code) : `0x${code.toString(16).padStart(2, "0").toUpperCase()}`;
}

/** What a code means, such as `not authorized`; `unknown code` for one that no specification names. */
export function reasonName(code: number): string {
  return REASONS.get(code)?.name ?? "unknown code";
}

/** What a CONNACK with this code asks for (iotcored-4): other credentials, or another attempt, much later when busy. */
export function consequenceInConnack(code: number): "credentials" | "busy" | "retry" {
  return REASONS.get(code)?.connack ?? "retry";
}

/** What follows from a PUBACK that refuses with this code: the message is sent again later, or given up [MQTT5-3.4.2.1]. */
export function consequenceInPuback(code: number): "retry" | "give up" {
  return REASONS.get(code)?.puback ?? "give up";
}

/**
 * What follows from a SUBACK or UNSUBACK that refuses with this code: the filter is tried again later, or given up. "Implementation
 * specific" (0x83) says nothing, and what AWS IoT Core documents for a filter that is not allowed are other codes.
 */
export function consequenceForFilter(code: number): "retry" | "give up" {
  return REASONS.get(code)?.filter ?? "give up";
}

/** BusErrorCode, meaning and what the broker added, in one line: `0x87 (not authorized): no policy`. */
export function describeCode(code: number, reason?: string): string {
  const base = `${codeText(code)} (${reasonName(code)})`;
  return reason === undefined || reason === "" || reason === reasonName(code)
    ? base
    : `${base}: ${reason}`;
}
