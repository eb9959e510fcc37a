import { Readable } from "node:stream";
import type { IClientOptions } from "../../deps.ts";
import type { MqttVersion } from "./link.ts";
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
  /** Starts without the session that the broker may still have; always so with MQTT 3.1.1. */
  readonly cleanStart: boolean;
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

/** Whether CONNECT asks for a session without a past, so that CONNACK must not say that there is one [MQTT-3.2.2-1]. */
export function startsClean({ version, cleanStart }: LinkOptions): boolean {
  return version === "5" ? cleanStart : true;
}

/** What MQTT.js is told, so that it does nothing on its own. */
export function clientOptions(options: LinkOptions): IClientOptions {
  const { clientId, version, keepAliveS, sessionExpiryS } = options;
  const expiry = sessionExpiryS === undefined ? {} : { sessionExpiryInterval: sessionExpiryS };
  return {
    clientId,
    protocolVersion: version === "5" ? 5 : 4,
    clean: startsClean(options),
    keepalive: keepAliveS,
    reconnectPeriod: 0,
    resubscribe: false,
    queueQoSZero: false,
    // Ours comes first, with an error that says what it is.
    connectTimeout: options.connackTimeoutMs + 60_000,
    messageIdProvider: new PacketIds(),
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

const MAX_ID = 65_535;

/**
 * Packet identifiers of one connection, 1 to 65,535 in a circle [MQTT-2.3.1-1]. Unlike MQTT.js's own, it never gives out one
 * whose answer is still awaited, which AWS IoT Core withholds for good when a publish crosses a limit.
 */
export class PacketIds {
  readonly #used = new Set<number>();
  #last = 0;

  /** A free identifier, or `null` when all are in use, as MQTT.js wants it. */
  allocate(): number | null {
    if (this.#used.size >= MAX_ID) return null;
    do {
      this.#last = this.#last === MAX_ID ? 1 : this.#last + 1;
    } while (this.#used.has(this.#last));
    this.#used.add(this.#last);
    return this.#last;
  }

  /** The identifier that was given out last, or `null`. */
  getLastAllocated(): number | null {
    return this.#last === 0 ? null : this.#last;
  }

  /** Takes a certain identifier; `false` when it is in use. */
  register(id: number): boolean {
    if (this.#used.has(id)) return false;
    this.#used.add(id);
    return true;
  }

  /** Gives an identifier back. */
  deallocate(id: number): void {
    this.#used.delete(id);
  }

  /** Gives all identifiers back. */
  clear(): void {
    this.#used.clear();
  }
}
