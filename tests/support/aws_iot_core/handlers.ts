import { Buffer } from "node:buffer";
import type { Packet } from "../../deps.ts";
import type { Behaviour } from "./behaviour.ts";
import { connect } from "./connect.ts";
import { filterProblem, LIMITS, topicProblem } from "./limits.ts";
import type { Link } from "./link.ts";
import type { PacketOf } from "./packet_log.ts";
import { reason } from "./reasons.ts";

/** Does what AWS IoT Core does with a packet. */
export function handle(link: Link, packet: Packet): void {
  if ((packet.cmd === "connect") !== (link.state === "new")) {
    link.violation(`${packet.cmd} where it may not be`);
    return link.disconnect(0x82);
  }
  switch (packet.cmd) {
    case "connect":
      return connect(link, packet);
    case "publish":
      return publish(link, packet);
    case "puback":
      if (!link.session?.acknowledged(packet.messageId!)) {
        link.violation(`puback for nothing, ${packet.messageId}`);
      }
      return;
    case "subscribe":
      return subscribe(link, packet);
    case "unsubscribe":
      return unsubscribe(link, packet);
    case "pingreq":
      if (link.broker.behaviour.silent !== "ping") link.send({ cmd: "pingresp" });
      return;
    case "disconnect":
      return goodbye(link, packet);
    default:
      link.violation(`${packet.cmd} is not supported`);
      link.disconnect(0x82);
  }
}

function goodbye(link: Link, packet: PacketOf<"disconnect">): void {
  const expiry = packet.properties?.sessionExpiryInterval;
  if (expiry !== undefined) {
    link.sessionMs = Math.min(expiry, link.broker.behaviour.sessionExpiry) * 1_000;
  }
  link.end();
}

function publish(link: Link, sent: PacketOf<"publish">): void {
  const { behaviour } = link.broker;
  const topic = link.topicOf(sent);
  if (topic === undefined) return link.disconnect(0x94);
  // An alias is of this link only.
  const { topicAlias: _, ...properties } = sent.properties ?? {};
  const packet = { ...sent, topic, properties };
  const payload = packet.payload as Buffer;
  if (behaviour.enforceLimits) {
    if (packet.qos === 2) return link.violation("QoS 2");
    const { maximumPacketSize = Infinity, maximumQoS = 1 } = behaviour.connack;
    const bytes = packet.length ?? 0;
    if (link.version === 5 && bytes + 5 > maximumPacketSize) {
      return closeFor(link, `a packet of ${bytes} bytes`, 0x95);
    }
    if (link.version === 5 && packet.qos > maximumQoS) {
      return closeFor(link, `QoS ${packet.qos}`, 0x9b);
    }
    const problem = topicProblem(packet.topic);
    if (problem !== undefined) return closeFor(link, problem, 0x90);
    if (payload.length > LIMITS.payloadBytes) {
      return closeFor(link, `payload of ${payload.length} bytes`, 0x95);
    }
    if (!link.rate.take(performance.now(), behaviour.publishesPerSecond)) {
      return link.violation("publish rate");
    }
    if (packet.qos === 1 && link.unanswered.size >= behaviour.receiveMaximum) {
      link.violation("too many in flight");
      return link.version === 5 ? link.disconnect(0x93) : undefined;
    }
  }
  if (!link.broker.mayPublish()) {
    const says = behaviour.account?.over === "0x97" && link.version === 5;
    return says ? answer(link, packet, 0x97) : undefined;
  }
  const refusal = behaviour.refusePublish(packet.topic, link.clientId);
  if (refusal === undefined) {
    const reached = link.broker.arrived(link, packet, payload);
    answer(link, packet, reached || link.version === 4 ? 0 : 0x10);
  } else if (typeof refusal === "object") link.disconnect(refusal.disconnect);
  else if (refusal === "close" || link.version === 4) link.drop();
  else answer(link, packet, refusal);
}

function answer(link: Link, packet: PacketOf<"publish">, code: number): void {
  if (packet.qos !== 1) return;
  const { ackPublish } = link.broker.behaviour;
  link.unanswered.set(packet.messageId!, code);
  if (ackPublish !== "never") {
    link.later(ackPublish === "auto" ? 0 : ackPublish, () => sendPuback(link, packet.messageId!));
  }
}

/** Answers a PUBLISH that was not answered yet. */
export function sendPuback(link: Link, messageId: number): void {
  const code = link.unanswered.get(messageId);
  if (!link.unanswered.delete(messageId) || code === undefined) return;
  link.send({
    cmd: "puback",
    messageId,
    ...link.version === 5 && { reasonCode: code },
    ...link.version === 5 && code >= 0x80 && { properties: { reasonString: reason(code) } },
  });
}

function subscribe(link: Link, packet: PacketOf<"subscribe">): void {
  const { behaviour } = link.broker;
  const { subscriptions } = packet;
  if (behaviour.enforceLimits) {
    if (subscriptions.length > LIMITS.filtersPerSubscribe) {
      return closeFor(link, `${subscriptions.length} filters in a SUBSCRIBE`, 0x97);
    }
    for (const { topic, qos } of subscriptions) {
      if (qos === 2) return link.violation("QoS 2 subscription");
      const problem = filterProblem(topic);
      if (problem === undefined) continue;
      if (!problem.includes("Basic Ingest")) return closeFor(link, problem, 0x8f);
      link.violation(problem);
    }
  }
  const granted: number[] = [];
  const retained: string[] = [];
  const identifier = packet.properties?.subscriptionIdentifier;
  let isSilent = behaviour.silent === "suback";
  for (const { topic, qos, nl, rh } of subscriptions) {
    const code = refusalOf(link, topic);
    if (code === "close") return link.drop();
    if (typeof code === "object") return link.disconnect(code.disconnect);
    if (code === "silent") {
      isSilent = true;
      continue;
    }
    if (code === undefined) {
      const isNew = !link.session!.subscriptions.has(topic);
      link.session!.subscribe(topic, qos === 0 ? 0 : 1, nl ?? false, identifier);
      if ((rh ?? 0) === 0 || (rh === 1 && isNew)) retained.push(topic);
    }
    granted.push(code === undefined ? (qos === 0 ? 0 : 1) : link.version === 4 ? 0x80 : code);
  }
  if (isSilent) return;
  const refused = granted.find((code) => code >= 0x80);
  const properties = refused === undefined || link.version === 4
    ? {}
    : { properties: { reasonString: reason(refused) } };
  link.later(
    behaviour.subackDelayMs,
    () => {
      link.send({ cmd: "suback", messageId: packet.messageId!, granted, ...properties });
      for (const filter of retained) link.broker.sendRetained(link.session!, filter);
    },
  );
}

function refusalOf(
  link: Link,
  filter: string,
): ReturnType<Behaviour["refuseSubscribe"]> {
  const { behaviour } = link.broker;
  const refusal = behaviour.refuseSubscribe(filter, link.clientId);
  if (refusal !== undefined || !behaviour.enforceLimits) return refusal;
  const { wildcardSubscriptionAvailable, sharedSubscriptionAvailable } = behaviour.connack;
  if (wildcardSubscriptionAvailable === false && /[+#]/.test(filter)) {
    link.violation("a wildcard");
    return { disconnect: 0xa2 };
  }
  if (sharedSubscriptionAvailable === false && filter.startsWith("$share/")) {
    link.violation("a shared subscription");
    return { disconnect: 0x9e };
  }
  if (filterProblem(filter) !== undefined) return 0x8f;
  const { subscriptions } = link.session!;
  if (subscriptions.has(filter) || subscriptions.size < LIMITS.subscriptions) return undefined;
  link.violation(`more than ${LIMITS.subscriptions} subscriptions`);
  return 0x97;
}

function unsubscribe(link: Link, packet: PacketOf<"unsubscribe">): void {
  const { behaviour } = link.broker;
  if (behaviour.enforceLimits && packet.unsubscriptions.length > LIMITS.filtersPerSubscribe) {
    return closeFor(link, `${packet.unsubscriptions.length} filters in an UNSUBSCRIBE`, 0x97);
  }
  const granted = packet.unsubscriptions.map((filter) =>
    link.session!.subscriptions.delete(filter) ? 0 : 0x11
  );
  if (behaviour.silent === "suback") return;
  link.later(
    behaviour.subackDelayMs,
    () => link.send({ cmd: "unsuback", messageId: packet.messageId!, granted }),
  );
}

function closeFor(link: Link, problem: string, code: number): void {
  link.violation(problem);
  link.disconnect(code);
}
