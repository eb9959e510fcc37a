import { Buffer } from "node:buffer";
import { clientIdProblem } from "./limits.ts";
import type { Link } from "./link.ts";
import type { PacketOf } from "./packet_log.ts";
import { reason } from "./reasons.ts";

/** Bytes that no MQTT parser takes for a packet: type 0 is reserved. */
const GARBAGE = new Uint8Array(64).fill(0x0f);

/** How MQTT 3.1.1 says what an MQTT 5 code says [MQTT-3.2.2.3]. */
const OLD_CODES: Readonly<Record<number, number>> = {
  0x84: 1,
  0x85: 2,
  0x88: 3,
  0x86: 4,
  0x87: 5,
  0x8c: 5,
};

/** Answers a CONNECT. */
export function connect(link: Link, packet: PacketOf<"connect">): void {
  const { behaviour } = link.broker;
  link.state = "connecting";
  link.version = packet.protocolVersion === 5 ? 5 : 4;
  link.keepAliveMs = (packet.keepalive ?? 0) * 1_000;
  const decision = decide(link, packet);
  if (decision === "silent") return;
  if (decision === "close") return link.drop();
  if (behaviour.garbage === "connack") return link.write(GARBAGE);
  link.later(behaviour.connackDelayMs, () => {
    if (decision === undefined) accept(link, packet);
    else refuse(link, decision);
  });
}

function decide(link: Link, packet: PacketOf<"connect">): number | "close" | "silent" | undefined {
  const { behaviour } = link.broker;
  if (behaviour.closeOn === "connect") return "close";
  if (behaviour.silent === "connack") return "silent";
  if (!link.broker.registered(link.fingerprint)) {
    return behaviour.unregistered === "close" ? "close" : 0x87;
  }
  if (packet.protocolVersion !== 4 && packet.protocolVersion !== 5) return 0x84;
  const refusal = behaviour.refuseConnect(packet.clientId, link.fingerprint);
  if (refusal !== undefined || !behaviour.enforceLimits) return refusal;
  const problem = clientIdProblem(packet.clientId);
  if (problem !== undefined) {
    link.violation(problem);
    return 0x85;
  }
  if (!link.broker.mayConnect(packet.clientId)) {
    link.violation(`CONNECT within ${behaviour.connectSpacingMs} ms of the one before`);
    return 0x97;
  }
  return undefined;
}

function refuse(link: Link, code: number): void {
  if (link.version === 5) {
    link.send({
      cmd: "connack",
      sessionPresent: false,
      reasonCode: code,
      properties: { reasonString: reason(code) },
    });
  } else {
    const returnCode = code < 0x80 ? code : OLD_CODES[code] ?? 3;
    link.send({ cmd: "connack", sessionPresent: false, returnCode });
  }
  link.end();
}

function accept(link: Link, packet: PacketOf<"connect">): void {
  const { broker } = link;
  const { behaviour } = broker;
  const assigned = packet.clientId === "" ? `auto-${link.number}` : undefined;
  if (assigned !== undefined) link.clientId = assigned;
  const clean = packet.clean ?? true;
  // An MQTT 3.1.1 session is kept or not; with MQTT 5 the client says for how long.
  const asked = link.version === 5
    ? packet.properties?.sessionExpiryInterval ?? 0
    : clean
    ? 0
    : behaviour.sessionExpiry;
  const expiry = Math.min(asked, behaviour.sessionExpiry);
  link.sessionMs = expiry * 1_000;
  const { session, present } = broker.openSession(link, clean);
  link.session = session;
  const connack = connackOf(link, present, expiry === asked ? undefined : expiry, assigned);
  link.send(connack);
  if (behaviour.secondConnack) link.send(connack);
  if (behaviour.strayPuback) link.send({ cmd: "puback", messageId: 4_242 });
  if (behaviour.garbage === "after-connack") link.write(GARBAGE);
  if (behaviour.closeOn === "connack") return link.end();
  const window = packet.properties?.receiveMaximum ?? 65_535;
  session.attach(
    link,
    behaviour.enforceLimits ? Math.min(window, behaviour.receiveMaximum) : window,
  );
  link.opened();
}

function connackOf(
  link: Link,
  sessionPresent: boolean,
  sessionExpiryInterval: number | undefined,
  assignedClientIdentifier: string | undefined,
): PacketOf<"connack"> {
  if (link.version === 4) return { cmd: "connack", sessionPresent, returnCode: 0 };
  return {
    cmd: "connack",
    sessionPresent,
    reasonCode: 0,
    properties: {
      receiveMaximum: link.broker.behaviour.receiveMaximum,
      ...link.broker.behaviour.topicAliasMaximum > 0 &&
        { topicAliasMaximum: link.broker.behaviour.topicAliasMaximum },
      maximumQoS: 1,
      retainAvailable: false,
      maximumPacketSize: 149_504,
      wildcardSubscriptionAvailable: true,
      subscriptionIdentifiersAvailable: false,
      sharedSubscriptionAvailable: true,
      ...link.broker.behaviour.connack,
      ...sessionExpiryInterval !== undefined && { sessionExpiryInterval },
      ...assignedClientIdentifier !== undefined && { assignedClientIdentifier },
    },
  };
}

/** Bytes that are neither TLS nor MQTT. */
export const NOT_TLS = Buffer.from("HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n");
