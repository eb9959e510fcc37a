/** Names of MQTT 5 reason codes [MQTT5-2.4]. */
const REASONS: Readonly<Record<number, string>> = {
  0x10: "No matching subscribers",
  0x80: "Unspecified error",
  0x81: "Malformed packet",
  0x82: "Protocol error",
  0x85: "Client identifier not valid",
  0x87: "Not authorized",
  0x88: "Server unavailable",
  0x8b: "Server shutting down",
  0x8d: "Keep alive timeout",
  0x8e: "Session taken over",
  0x8f: "Topic filter invalid",
  0x90: "Topic name invalid",
  0x93: "Receive maximum exceeded",
  0x95: "Packet too large",
  0x97: "Quota exceeded",
  0x9b: "QoS not supported",
};

/** The reason string of a code. */
export function reason(code: number): string {
  return REASONS[code] ?? `Reason 0x${code.toString(16)}`;
}
