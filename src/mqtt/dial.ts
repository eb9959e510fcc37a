import { type Clock, systemClock } from "../base/clock.ts";
import type { Log } from "../base/log.ts";
import { CredentialFiles } from "./credential_files.ts";
import type { CredentialPaths } from "./credentials.ts";
import { openLink } from "./mqttjs_link.ts";
import type { PacketIds } from "./packet_ids.ts";
import type { LinkHandler, MqttLink, MqttVersion } from "./link.ts";
import { ReadGate } from "./read_gate.ts";
import type { CallbackHook } from "./with_deadline.ts";
import { DEADLINES, type Deadlines, nameOf, openStream, type StreamTarget } from "./tls.ts";

/** How long the broker keeps an MQTT 5 session after a link, in seconds: outages shorter than this lose nothing. */
export const SESSION_EXPIRY_S = 3_600;

/** Whom to connect to, and as whom. */
export interface Target extends StreamTarget {
  readonly clientId: string;
  readonly version: MqttVersion;
  readonly keepAliveS: number;
  readonly credentials: CredentialPaths;
}

/** One attempt of a connection. */
export interface Attempt {
  /** Starts without an older session. */
  readonly cleanStart: boolean;
  /** Of the session, over all its links. */
  readonly packetIds: PacketIds;
  /** Gives the attempt up. */
  readonly signal: AbortSignal;
}

/**
 * Makes one link, from reading the credentials to CONNACK.
 *
 * @throws {ExitError} `Exit.CONFIG` for a credential file.
 * @throws {ConnectError} For everything else.
 */
export type Dial = (target: Target, attempt: Attempt, handler: LinkHandler) => Promise<MqttLink>;

/** What {@linkcode createDial} needs. */
export interface DialOptions {
  readonly log: Log;
  readonly clock?: Clock;
  readonly deadlines?: Deadlines;
  /** The credential files; by default they are of this dial alone. */
  readonly files?: CredentialFiles;
  readonly hook?: CallbackHook;
  /** Holds back reading, on all links; by default nothing does. */
  readonly gate?: ReadGate;
  /** Told of a message that is acknowledged and not handed out, as its publisher broke MQTT. */
  readonly onRejected?: (fault: string) => void;
}

/** The dial of the daemon: files, TCP, proxy, TLS, MQTT. */
export function createDial(options: DialOptions): Dial {
  const { clock = systemClock, deadlines = DEADLINES, hook, onRejected = () => {} } = options;
  const { gate = new ReadGate(clock) } = options;
  const files = options.files ?? new CredentialFiles(options.log, clock);
  return async (target, { cleanStart, packetIds, signal }, handler) => {
    const credentials = await files.read(target.credentials);
    const secure = await openStream(target, credentials, { deadlines, clock, signal, hook });
    return await openLink(secure, {
      clientId: target.clientId,
      version: target.version,
      cleanStart,
      packetIds,
      keepAliveS: target.keepAliveS,
      connackTimeoutMs: deadlines.connackMs,
      where: nameOf(target),
      signal,
      hook,
      gate,
      onRejected,
      ...target.version === "5" ? { sessionExpiryS: SESSION_EXPIRY_S } : {},
    }, handler);
  };
}
