/** CONNACK codes of MQTT 3.1.1 [MQTT-3.2.2-4] and reason codes of MQTT 5 [MQTT5-2.4]; their ranges do not meet. */
const NAMES: ReadonlyMap<number, string> = new Map([
  [1, "unacceptable protocol version"],
  [2, "identifier rejected"],
  [3, "server unavailable"],
  [4, "bad user name or password"],
  [5, "not authorized"],
  [0x10, "no matching subscribers"],
  [0x11, "no subscription existed"],
  [0x80, "unspecified error"],
  [0x81, "malformed packet"],
  [0x82, "protocol error"],
  [0x83, "implementation specific error"],
  [0x84, "unsupported protocol version"],
  [0x85, "client identifier not valid"],
  [0x86, "bad user name or password"],
  [0x87, "not authorized"],
  [0x88, "server unavailable"],
  [0x89, "server busy"],
  [0x8a, "banned"],
  [0x8b, "server shutting down"],
  [0x8c, "bad authentication method"],
  [0x8d, "keep alive timeout"],
  [0x8e, "session taken over"],
  [0x8f, "topic filter invalid"],
  [0x90, "topic name invalid"],
  [0x91, "packet identifier in use"],
  [0x92, "packet identifier not found"],
  [0x93, "receive maximum exceeded"],
  [0x94, "topic alias invalid"],
  [0x95, "packet too large"],
  [0x96, "message rate too high"],
  [0x97, "quota exceeded"],
  [0x98, "administrative action"],
  [0x99, "payload format invalid"],
  [0x9a, "retain not supported"],
  [0x9b, "QoS not supported"],
  [0x9c, "use another server"],
  [0x9d, "server moved"],
  [0x9e, "shared subscriptions not supported"],
  [0x9f, "connection rate exceeded"],
  [0xa0, "maximum connect time"],
  [0xa1, "subscription identifiers not supported"],
  [0xa2, "wildcard subscriptions not supported"],
]);

/** A code as the specifications write it: `5` or `0x87`. */
export function codeText(code: number): string {
  return code < 0x10 ? String(code) : `0x${code.toString(16).padStart(2, "0").toUpperCase()}`;
}

/** What a code means, such as `not authorized`; `unknown code` for one that no specification names. */
export function reasonName(code: number): string {
  return NAMES.get(code) ?? "unknown code";
}

/** Code, meaning and what the broker added, in one line: `0x87 (not authorized): no policy`. */
export function describeCode(code: number, reason?: string): string {
  const base = `${codeText(code)} (${reasonName(code)})`;
  return reason === undefined || reason === "" || reason === reasonName(code)
    ? base
    : `${base}: ${reason}`;
}
