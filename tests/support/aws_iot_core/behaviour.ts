import type { Packet } from "../../deps.ts";
import type { PacketOf } from "./packet_log.ts";

/** How many messages an account takes. */
export interface AccountQuota {
  /** In any stretch of so many ms. */
  readonly publishes: number;
  readonly windowMs: number;
  /** What those over it get: no answer, as AWS IoT Core gives none, or a PUBACK of 0x97. */
  readonly over: "silence" | "0x97";
}

/** Closes by a DISCONNECT with this code; with MQTT 3.1.1, which has none, without a word. */
export interface Disconnect {
  readonly disconnect: number;
}

/** What the stand-in does; every field can be changed while it runs, and counts from the next packet on. */
export interface Behaviour {
  /** Whether the limits of AWS IoT Core are enforced; a violation is recorded and punished as AWS does. */
  enforceLimits: boolean;
  /** PUBLISH packets a connection may send in any window of a second (while limits are enforced). */
  publishesPerSecond: number;
  /** What the account takes, all of its connections together; `undefined`: everything. */
  account: AccountQuota | undefined;
  /** Least time between two CONNECTs of one client id, in ms: one second less what a network may compress. */
  connectSpacingMs: number;
  /** QoS 1 messages in flight, each way; announced to MQTT 5 clients. */
  receiveMaximum: number;
  /** Topic aliases that a device may use on a connection, announced to MQTT 5 clients; 0: none. */
  topicAliasMaximum: number;
  /** Longest session expiry that is granted, in seconds; also that of an MQTT 3.1.1 session. */
  sessionExpiry: number;
  /** Whether `a/#` delivers `a`: the standard says yes, AWS IoT Core does not. */
  hashMatchesParent: boolean;

  /** What an unregistered certificate gets: a CONNACK (5 or 0x87), or a close between CONNECT and CONNACK. */
  unregistered: "refuse" | "close";
  /** A TLS alert (its number, such as 42 bad_certificate, 46 certificate_unknown) in answer to every ClientHello. */
  tlsAlert: number | undefined;
  /**
   * Refuses a CONNECT: with a code (0x80 and above is translated for MQTT 3.1.1, below is sent as it is), by closing, or by
   * never answering.
   */
  refuseConnect: (clientId: string, fingerprint: string) => number | "close" | "silent" | undefined;
  /**
   * Refuses a filter with a SUBACK code (0x80 in MQTT 3.1.1), closes as AWS does with MQTT 3.1.1, with a reason (MQTT 5) or without
   * one, or never answers.
   */
  refuseSubscribe: (
    filter: string,
    clientId: string,
  ) => number | "close" | "silent" | Disconnect | undefined;
  /**
   * Refuses a PUBLISH with a PUBACK code (MQTT 3.1.1 has none: closed), or closes, with a reason (MQTT 5) or without one. A refused QoS
   * 0 is dropped.
   */
  refusePublish: (topic: string, clientId: string) => number | "close" | Disconnect | undefined;

  /** What CONNACK says in place of what AWS IoT Core says (MQTT 5); what it forbids closes the connection. */
  connack: NonNullable<PacketOf<"connack">["properties"]>;
  /** Whether a message goes once to a client, or once for each of its filters that match, with their identifiers (MQTT 5). */
  copies: "one" | "each";

  /** When PUBACKs go out: at once, never, or so many ms later. */
  ackPublish: "auto" | "never" | number;
  /** How long CONNACKs wait, in ms. */
  connackDelayMs: number;
  /** How long SUBACKs and UNSUBACKs wait, in ms. */
  subackDelayMs: number;
  /**
   * What is not answered: `tls` accepts TCP and no more; `connack` completes TLS; `suback` SUBSCRIBE and UNSUBSCRIBE; `ping`
   * PINGREQ.
   */
  silent: "tls" | "connack" | "suback" | "ping" | undefined;
  /** Where bytes that mean nothing are sent: in answer to the ClientHello, in place of CONNACK, or after it. */
  garbage: "tls" | "connack" | "after-connack" | undefined;
  /** Sends CONNACK twice. */
  secondConnack: boolean;
  /** Sends a PUBACK for nothing after CONNACK. */
  strayPuback: boolean;
  /** Closes at once: before the TLS handshake, after CONNECT without a CONNACK, or after CONNACK. */
  closeOn: "accept" | "connect" | "connack" | undefined;
  /** Called with each packet before the broker handles it; for what has no switch of its own. */
  onPacket: (packet: Packet, clientId: string) => void;
}

/** AWS IoT Core on a good day. */
export function defaultBehaviour(): Behaviour {
  return {
    enforceLimits: true,
    publishesPerSecond: 100,
    account: undefined,
    connectSpacingMs: 950,
    receiveMaximum: 100,
    topicAliasMaximum: 8,
    sessionExpiry: 604_800,
    hashMatchesParent: false,
    unregistered: "refuse",
    tlsAlert: undefined,
    refuseConnect: () => undefined,
    refuseSubscribe: () => undefined,
    refusePublish: () => undefined,
    connack: {},
    copies: "one",
    ackPublish: "auto",
    connackDelayMs: 0,
    subackDelayMs: 0,
    silent: undefined,
    garbage: undefined,
    secondConnack: false,
    strayPuback: false,
    closeOn: undefined,
    onPacket: () => {},
  };
}
