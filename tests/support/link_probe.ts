import type { Bytes } from "../../src/base/bytes.ts";
import { systemClock } from "../../src/base/clock.ts";
import type { Credentials } from "../../src/mqtt/credentials.ts";
import { openLink } from "../../src/mqtt/mqttjs_link.ts";
import type { LinkOptions } from "../../src/mqtt/mqttjs_options.ts";
import type { LinkEnd, LinkHandler, MqttLink } from "../../src/mqtt/link.ts";
import { ReadGate } from "../../src/mqtt/read_gate.ts";
import type { Proxy } from "../../src/mqtt/proxy.ts";
import { DEADLINES, type Deadlines, nameOf, openStream } from "../../src/mqtt/tls.ts";
import type { Identity, Pki } from "./pki.ts";

/** A broker that tests connect to. */
export interface Peer {
  readonly port: number;
  readonly pki: Pki;
  /** By what it is called; `localhost` by default. */
  readonly name?: string;
}

/** A link with what happened on it. */
export interface Probe extends AsyncDisposable {
  readonly link: MqttLink;
  readonly messages: { readonly topic: string; readonly payload: Bytes }[];
  /** Why messages were acknowledged and not handed out. */
  readonly rejected: readonly string[];
  /** Each end that was reported; at most one is right. */
  readonly ends: LinkEnd[];
  /** Resolves with the first end. */
  readonly ended: Promise<LinkEnd>;
}

/** What {@linkcode openProbe} can be told beside the device. */
export interface ProbeOptions extends Partial<Omit<LinkOptions, "connackTimeoutMs">> {
  readonly deadlines?: Partial<Deadlines>;
  readonly proxy?: Proxy;
  /** Whom to trust instead of the PKI's own CA. */
  readonly ca?: string;
  /** Called with each message, before its PUBACK. */
  readonly onMessage?: (topic: string) => void;
}

/** The credentials of a device as `readCredentials` would give them. */
export function credentialsOf(pki: Pki, device: Identity, ca = pki.ca.certPem): Credentials {
  return {
    ca,
    leftOut: [],
    cert: device.certPem,
    key: device.keyPem,
    fingerprint: device.fingerprint,
    validFrom: 0,
    validTo: Infinity,
  };
}

/** Opens a link by `openStream` and `openLink`. */
export async function openProbe(
  peer: Peer,
  device: Identity,
  options: ProbeOptions = {},
): Promise<Probe> {
  const { deadlines: some, proxy, ca, onMessage, signal, ...rest } = options;
  const deadlines = { ...DEADLINES, ...some };
  const target = { host: peer.name ?? "localhost", port: peer.port, proxy };
  const messages: { topic: string; payload: Bytes }[] = [];
  const rejected: string[] = [];
  const ends: LinkEnd[] = [];
  const first = Promise.withResolvers<LinkEnd>();
  const handler: LinkHandler = {
    onMessage: (topic, payload) => {
      messages.push({ topic, payload });
      onMessage?.(topic);
    },
    onEnd: (end) => {
      ends.push(end);
      first.resolve(end);
    },
  };
  const common = signal === undefined ? {} : { signal };
  const stream = await openStream(target, credentialsOf(peer.pki, device, ca), {
    deadlines,
    clock: systemClock,
    ...common,
  });
  const link = await openLink(stream, {
    clientId: "probe",
    version: "5",
    cleanStart: true,
    keepAliveS: 60,
    where: nameOf(target),
    connackTimeoutMs: deadlines.connackMs,
    gate: new ReadGate(systemClock),
    onRejected: (fault) => void rejected.push(fault),
    ...common,
    ...rest,
  }, handler);
  return {
    link,
    messages,
    rejected,
    ends,
    ended: first.promise,
    [Symbol.asyncDispose]: () => link.close(true),
  };
}
