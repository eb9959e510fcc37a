import { Buffer } from "node:buffer";
import type { TLSSocket } from "node:tls";
import { generatePacket, type Packet, packetParser } from "../../deps.ts";
import type { Broker } from "./broker.ts";
import { handle } from "./handlers.ts";
import { SlidingWindow } from "./limits.ts";
import type { PacketOf } from "./packet_log.ts";
import { reason } from "./reasons.ts";
import type { Message, Outlet, Session } from "./session.ts";

/** How long a client may take to close its side after ours, in ms. */
const CLOSING_MS = 500;

/** One connection of a device, from the end of the TLS handshake. */
export class Link implements Outlet {
  readonly since = performance.now();
  /** `new` until CONNECT, `connecting` until CONNACK, `over` once nothing is handled any more. */
  state: "new" | "connecting" | "open" | "over" = "new";
  clientId = "";
  version: 4 | 5 = 4;
  keepAliveMs = 0;
  /** How long the session outlives this connection, in ms. */
  sessionMs = 0;
  session: Session | undefined;
  readonly rate = new SlidingWindow();
  /** PUBLISH packets of QoS 1 that were not answered yet: message id and code of the answer. */
  readonly unanswered = new Map<number, number>();
  /** The topics that aliases of the device stand for [MQTT5-3.3.2.3.4]. */
  readonly #aliases = new Map<number, string>();
  readonly fingerprint: string;
  readonly serverName: string;
  readonly alpn: string;
  readonly tlsVersion: string;

  readonly #parser = packetParser();
  readonly #timers = new Set<ReturnType<typeof setTimeout>>();
  #early: Packet[] = [];
  #out: Uint8Array[] = [];
  #frozen: { readonly heard: Uint8Array[]; readonly unsent: Packet[] } | undefined;
  #lastHeard = performance.now();
  #closingSince: number | undefined;

  constructor(readonly socket: TLSSocket, readonly number: number, readonly broker: Broker) {
    const certificate = socket.getPeerCertificate();
    this.fingerprint = (certificate?.fingerprint256 ?? "").replaceAll(":", "").toLowerCase();
    this.serverName = (socket as { servername?: string | false }).servername || "";
    this.alpn = socket.alpnProtocol || "";
    this.tlsVersion = socket.getProtocol() ?? "";
    socket.setNoDelay(true);
    socket.on("data", (chunk: Uint8Array) => this.#read(chunk));
    socket.on("end", () => socket.end());
    socket.on("error", () => socket.destroy());
    socket.on("close", () => this.leave());
    this.#parser.on("packet", (packet) => this.#received(packet));
    this.#parser.on("error", (error: Error) => {
      this.violation(`malformed packet: ${error.message}`);
      this.disconnect(0x81);
    });
  }

  /** The topic of a PUBLISH, whatever its alias; `undefined` for one that the device may not use. */
  topicOf({ topic, properties }: PacketOf<"publish">): string | undefined {
    const alias = properties?.topicAlias;
    if (alias === undefined) return topic;
    if (alias < 1 || alias > this.broker.behaviour.topicAliasMaximum) {
      this.violation(`topic alias ${alias}`);
      return undefined;
    }
    if (topic !== "") this.#aliases.set(alias, topic);
    const known = this.#aliases.get(alias);
    if (known === undefined) this.violation(`topic alias ${alias} for nothing`);
    return known;
  }

  /** Sends a packet; everything of one turn leaves in one write. */
  send(packet: Packet): void {
    if (this.#closingSince !== undefined) return;
    if (this.#frozen) {
      this.#frozen.unsent.push(packet);
      return;
    }
    this.broker.log.add("out", this.clientId, this.number, packet);
    this.write(generatePacket(packet, { protocolVersion: this.version }));
  }

  /** Sends bytes, meaningful or not. */
  write(bytes: Uint8Array): void {
    if (this.#out.push(bytes) === 1) queueMicrotask(() => this.#flush());
  }

  sendMessage(message: Message, qos: 0 | 1, messageId: number, dup: boolean): void {
    const { topic, payload } = message;
    const { retain = false, identifiers = [] } = message;
    const packet: PacketOf<"publish"> = { cmd: "publish", topic, payload, qos, dup, retain };
    if (qos === 1) packet.messageId = messageId;
    if (this.version === 5 && (message.properties !== undefined || identifiers.length > 0)) {
      packet.properties = {
        ...message.properties,
        ...identifiers.length > 0 && { subscriptionIdentifier: [...identifiers] },
      };
    }
    this.send(packet);
  }

  /** Runs `fn` after `ms` milliseconds (0: now) unless the link is over by then. */
  later(ms: number, fn: () => void): void {
    if (ms <= 0) return fn();
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      if (this.state !== "over") fn();
    }, ms);
    this.#timers.add(timer);
  }

  /** Writes down what the device did wrong. */
  violation(text: string): void {
    this.broker.violations.push(`${this.clientId || `link ${this.number}`}: ${text}`);
  }

  /** CONNACK was sent: what came before it is handled now. */
  opened(): void {
    this.state = "open";
    for (const packet of this.#early.splice(0)) this.#received(packet);
  }

  /** Closes in order; with MQTT 5 and a code, a DISCONNECT says why. */
  disconnect(code?: number): void {
    if (code !== undefined && this.version === 5 && this.state === "open") {
      this.send({
        cmd: "disconnect",
        reasonCode: code,
        properties: { reasonString: reason(code) },
      });
    }
    this.end();
  }

  /** Closes after what was sent is out. */
  end(): void {
    this.leave();
    // What is cut off says nothing, not even that it is gone.
    if (this.#frozen || this.#closingSince !== undefined) return;
    this.#flush();
    this.#closingSince = performance.now();
    this.socket.end();
  }

  /** Closes at once, saying nothing. */
  drop(): void {
    this.leave();
    if (!this.#frozen) this.socket.destroy();
  }

  /** Handles nothing more and frees the session; the socket stays as it is. */
  leave(): void {
    if (this.state === "over") return;
    this.state = "over";
    for (const timer of this.#timers) clearTimeout(timer);
    this.#timers.clear();
    this.session?.detach(this, performance.now() + this.sessionMs);
    this.broker.left(this);
  }

  /** Neither reads nor writes from now on, as if the way between were cut. */
  freeze(): void {
    this.#flush();
    this.#frozen ??= { heard: [], unsent: [] };
    this.socket.pause();
  }

  /** The way is whole again: what was held up goes on. */
  thaw(): void {
    const held = this.#frozen;
    if (held === undefined) return;
    this.#frozen = undefined;
    if (this.state === "over") return void this.socket.destroy();
    this.socket.resume();
    for (const packet of held.unsent) this.send(packet);
    for (const chunk of held.heard) this.#read(chunk);
  }

  /** Called now and then: ends what has been silent for too long. */
  sweep(now: number): void {
    if (this.#closingSince !== undefined) {
      if (now - this.#closingSince > CLOSING_MS) this.socket.destroy();
    } else if (this.keepAliveMs > 0 && now - this.#lastHeard > this.keepAliveMs * 1.5) {
      if (this.broker.behaviour.enforceLimits) this.disconnect(0x8d);
    }
  }

  #read(chunk: Uint8Array): void {
    if (this.#frozen) {
      this.#frozen.heard.push(chunk);
      return;
    }
    this.#lastHeard = performance.now();
    if (this.state !== "over") {
      this.#parser.parse(Buffer.from(chunk.buffer, chunk.byteOffset, chunk.length));
    }
  }

  #received(packet: Packet): void {
    if (this.state === "over") return;
    if (this.state === "connecting") {
      this.#early.push(packet);
      return;
    }
    if (packet.cmd === "connect") this.clientId ||= packet.clientId;
    this.broker.log.add("in", this.clientId, this.number, packet);
    this.broker.behaviour.onPacket(packet, this.clientId);
    handle(this, packet);
  }

  #flush(): void {
    if (this.#out.length === 0) return;
    const bytes = this.#out.length === 1 ? this.#out[0]! : Buffer.concat(this.#out);
    this.#out = [];
    if (this.#closingSince === undefined && !this.socket.destroyed) this.socket.write(bytes);
  }
}
