import { Readable } from "node:stream";
import type { IClientOptions } from "../../deps.ts";
import type { MqttVersion } from "./link.ts";
import type { PacketIds } from "./packet_ids.ts";
import { MAX_PACKET_BYTES } from "./packet_reader.ts";
import type { ReadGate } from "./read_gate.ts";
import type { CallbackHook } from "./with_deadline.ts";

/** QoS 1 messages that the broker may send before it has our PUBACKs [MQTT5-3.1.2.11.3]: the limit of AWS IoT Core. */
export const RECEIVE_MAXIMUM = 100;

/** What CONNECT announces with MQTT 5 [MQTT5-3.1.2.11]. */
const OWN_LIMITS = { receiveMaximum: RECEIVE_MAXIMUM, maximumPacketSize: MAX_PACKET_BYTES };

/** How to open a link. */
export interface LinkOptions {
  readonly clientId: string;
  readonly version: MqttVersion;
  /**
   * Starts without the session that the broker may still have. With MQTT 3.1.1 that session also ends with the link [MQTT-3.1.2-6];
   * else the broker keeps it for as long as it likes.
   */
  readonly cleanStart: boolean;
  /** The packet identifiers of the session; by default it is a new one. */
  readonly packetIds?: PacketIds;
  readonly keepAliveS: number;
  /** How long the broker keeps the session after the link, in seconds (MQTT 5 only). */
  readonly sessionExpiryS?: number;
  /** From CONNECT to CONNACK, in ms. */
  readonly connackTimeoutMs: number;
  /** Gives the attempt up. */
  readonly signal?: AbortSignal;
  readonly hook?: CallbackHook | undefined;
  /** The broker, for messages. */
  readonly where: string;
  /** Holds back reading. */
  readonly gate: ReadGate;
  /** Told of a message that is acknowledged and not handed out, as its publisher broke MQTT: `its topic holds a wildcard`. */
  readonly onRejected: (fault: string) => void;
}

/** What MQTT.js is told, so that it does nothing on its own. */
export function clientOptions(options: LinkOptions, packetIds: PacketIds): IClientOptions {
  const { clientId, version, cleanStart, keepAliveS, sessionExpiryS } = options;
  const expiry = sessionExpiryS === undefined ? {} : { sessionExpiryInterval: sessionExpiryS };
  return {
    clientId,
    protocolVersion: version === "5" ? 5 : 4,
    clean: cleanStart,
    keepalive: keepAliveS,
    reconnectPeriod: 0,
    resubscribe: false,
    queueQoSZero: false,
    // Ours comes first, with an error that says what it is.
    connectTimeout: options.connackTimeoutMs + 60_000,
    messageIdProvider: packetIds,
    outgoingStore: noStore(),
    // The link keeps itself alive.
    timerVariant: { set: () => 1, clear: () => {} },
    reschedulePings: false,
    // Else every step of each packet is formatted, whoever listens.
    log: () => {},
    ...version === "5" ? { properties: { ...OWN_LIMITS, ...expiry } } : {},
  };
}

/** The spool keeps what is not acknowledged; a second copy of each message would only take memory. */
function noStore(): NonNullable<IClientOptions["outgoingStore"]> {
  const store = {
    options: {},
    put: (_packet: unknown, callback: () => void) => (callback(), store),
    del: (_packet: unknown, callback: (error: null) => void) => (callback(null), store),
    get: (_packet: unknown, callback: (error: Error) => void) => (
      callback(new Error("Nothing is stored")), store
    ),
    createStream: () => Readable.from([]),
    close: (callback: () => void) => callback(),
  };
  return store as unknown as NonNullable<IClientOptions["outgoingStore"]>;
}
