import net from "node:net";
import tls, { type TLSSocket } from "node:tls";
import type { Identity } from "../pki.ts";
import type { Behaviour } from "./behaviour.ts";
import { NOT_TLS } from "./connect.ts";

/** TLS versions that are offered. */
export type TlsVersion = "TLSv1.2" | "TLSv1.3";

/** What the door needs to know. */
export interface DoorOptions {
  readonly server: Identity;
  /** PEM of the authority that clients are told to have certificates of. */
  readonly ca: string;
  readonly minVersion: TlsVersion;
  readonly maxVersion: TlsVersion;
  readonly behaviour: Behaviour;
  /** Gets each socket whose handshake is done. */
  readonly onSecure: (socket: TLSSocket) => void;
}

/**
 * The listener. A TCP server in front of a TLS server that never listens itself, so that a connection can be treated badly
 * before TLS begins.
 */
export class RequestValidator {
  /** When TCP connections were accepted, in ms of `performance.now()`. */
  readonly accepted: number[] = [];
  port = 0;
  readonly #tls: tls.Server;
  readonly #sockets = new Set<net.Socket>();
  #tcp: net.Server | undefined;

  constructor(readonly options: DoorOptions) {
    const { server, ca, minVersion, maxVersion, onSecure } = options;
    this.#tls = tls.createServer({
      key: server.keyPem,
      cert: server.certPem,
      ca,
      minVersion,
      maxVersion,
      ALPNProtocols: ["x-amzn-mqtt-ca", "mqtt"],
      requestCert: true,
      // With `true`, Deno's server hangs up on good clients; and AWS knows devices by their registered certificates.
      rejectUnauthorized: false,
    }, (socket) => {
      this.#track(socket);
      onSecure(socket);
    });
    this.#tls.on("tlsClientError", (_error: Error, socket: TLSSocket) => socket.destroy());
  }

  /** Listens, on the port of the last time if there was one. */
  async open(): Promise<void> {
    const tcp = net.createServer((socket) => this.#accept(socket));
    await new Promise<void>((resolve, reject) => {
      tcp.once("error", reject);
      tcp.listen(this.port, "127.0.0.1", resolve);
    });
    this.#tcp = tcp;
    this.port = (tcp.address() as net.AddressInfo).port;
  }

  /** Stops listening; connections stay. */
  shut(): void {
    this.#tcp?.close();
    this.#tcp = undefined;
  }

  /** Destroys every connection, also those without TLS, and waits until they are gone. */
  async clear(): Promise<void> {
    const gone = Array.from(this.#sockets, (socket) => {
      const closed = new Promise((resolve) => socket.once("close", resolve));
      socket.destroy();
      return closed;
    });
    await Promise.all(gone);
  }

  #accept(socket: net.Socket): void {
    const { behaviour } = this.options;
    this.accepted.push(performance.now());
    this.#track(socket);
    if (behaviour.closeOn === "accept") return void socket.destroy();
    if (behaviour.silent === "tls") return;
    const { tlsAlert } = behaviour;
    if (behaviour.garbage === "tls") return this.#answer(socket, NOT_TLS);
    if (tlsAlert !== undefined) return this.#answer(socket, alert(tlsAlert));
    this.#tls.emit("connection", socket);
  }

  /** Says something in place of a ServerHello, and closes. */
  #answer(socket: net.Socket, bytes: Uint8Array): void {
    socket.once("data", () => socket.end(bytes));
  }

  #track(socket: net.Socket): void {
    this.#sockets.add(socket);
    socket.on("error", () => socket.destroy());
    socket.on("close", () => this.#sockets.delete(socket));
  }
}

/** A fatal alert in the clear, as a server may send it before keys are agreed on (RFC 5246, 7.2). */
function alert(description: number): Uint8Array {
  return Uint8Array.of(0x15, 3, 3, 0, 2, 2, description);
}
