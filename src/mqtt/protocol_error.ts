/** Reason codes that a client puts into DISCONNECT when the broker broke the protocol [MQTT5-4.13], [MQTT5-3.14.2.1]. */
export const Breach = {
  MALFORMED: 0x81,
  PROTOCOL: 0x82,
  ALIAS: 0x94,
  TOO_LARGE: 0x95,
  QOS: 0x9b,
} as const;

/** One of the values of {@linkcode Breach}. */
export type Breach = typeof Breach[keyof typeof Breach];

/** The broker sent what MQTT forbids; the message holds no payload. */
export class ProtocolError extends Error {
  override readonly name = "ProtocolError";

  /** @param code What it is told, with MQTT 5. */
  constructor(readonly code: Breach, message: string) {
    super(message);
  }
}

/** A packet that cannot be read [MQTT5-1.2]. */
export function malformed(message: string): ProtocolError {
  return new ProtocolError(Breach.MALFORMED, message);
}

/** A packet that can be read and must not come, or not so [MQTT5-1.2]. */
export function breach(message: string): ProtocolError {
  return new ProtocolError(Breach.PROTOCOL, message);
}
