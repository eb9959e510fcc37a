import { isIP } from "node:net";
import type { Duplex } from "node:stream";
import {
  connect as connectTls,
  type ConnectionOptions,
  rootCertificates,
  type TLSSocket,
} from "node:tls";
import { type Clock, systemClock } from "../base/clock.ts";
import { ConnStream } from "./conn_stream.ts";
import { ConnectError } from "./connect_error.ts";
import type { Credentials } from "./credentials.ts";
import { connectRequest, MAX_PROXY_HEAD_BYTES, type Proxy, tunnelStands } from "./proxy.ts";
import {
  type CallbackHook,
  type DeadlineOptions,
  type Ending,
  withDeadline,
} from "./with_deadline.ts";

/** The port on which AWS IoT Core tells MQTT from HTTPS by ALPN. */
export const ALPN_PORT = 443;

/** The ALPN protocol of MQTT with client certificates on AWS IoT Core. */
export const ALPN_PROTOCOL = "x-amzn-mqtt-ca";

/** The longest each stage may take, in ms. */
export interface Deadlines {
  /** Resolving the name and the TCP handshake. */
  readonly tcpMs: number;
  /** The TLS handshake with the proxy, if it has one, and its answer to CONNECT. */
  readonly proxyMs: number;
  readonly tlsMs: number;
  /** From CONNECT to CONNACK. */
  readonly connackMs: number;
}

/** The deadlines of the specification. */
export const DEADLINES: Deadlines = {
  tcpMs: 10_000,
  proxyMs: 10_000,
  tlsMs: 10_000,
  connackMs: 10_000,
};

/** A host to reach over TLS. */
export interface StreamTarget {
  /** A name or an address, IPv6 without brackets. */
  readonly host: string;
  readonly port: number;
  readonly proxy?: Proxy | undefined;
}

/** How to reach it. */
export interface StreamOptions {
  readonly deadlines?: Deadlines;
  readonly clock?: Clock;
  /** Gives the attempt up. */
  readonly signal?: AbortSignal;
  readonly hook?: CallbackHook | undefined;
}

/** A TLS stream, and the TCP connection that carries it. */
export interface SecureStream {
  readonly stream: TLSSocket;
  readonly tcp: ConnStream;
}

/** Errors of streams that nobody listened to yet: a refusal under TLS 1.3 may come right after the handshake. */
const errors = new WeakMap<Duplex, unknown>();

/** The error that ended a stream of {@linkcode openStream} so far, if one did. */
export function streamError(stream: Duplex): unknown {
  return errors.get(stream);
}

/**
 * Opens a TLS stream with a client certificate: TCP, the proxy's tunnel if there is a proxy, and the handshake, in which the
 * server's certificate is verified against the root CA. Port 443 asks for {@linkcode ALPN_PROTOCOL}.
 *
 * @throws {ConnectError} With the stage and the kind of failure.
 */
export async function openStream(
  target: StreamTarget,
  credentials: Credentials,
  options: StreamOptions = {},
): Promise<SecureStream> {
  const { deadlines = DEADLINES, clock = systemClock, signal, hook } = options;
  const common = { clock, signal, hook };
  const first = target.proxy ?? target;
  const tcp = await openTcp(first, {
    ...common,
    stage: "tcp",
    where: target.proxy === undefined ? nameOf(first) : `the proxy ${nameOf(first)}`,
    what: "the TCP connection",
    ms: deadlines.tcpMs,
  });
  try {
    const carrier = target.proxy === undefined
      ? tcp
      : await openTunnel(tcp, target.proxy, target, credentials, {
        ...common,
        stage: "proxy",
        where: `the proxy ${nameOf(target.proxy)}`,
        what: "the answer of the proxy",
        ms: deadlines.proxyMs,
      });
    const stream = await secure(carrier, tlsOptions(target, credentials), {
      ...common,
      stage: "tls",
      where: nameOf(target),
      what: "the TLS handshake",
      ms: deadlines.tlsMs,
    });
    stream.once("close", () => tcp.destroy());
    return { stream, tcp };
  } catch (error) {
    tcp.destroy();
    throw error;
  }
}

/** `host:port`, as messages name a peer. */
export function nameOf(peer: { readonly host: string; readonly port: number }): string {
  return `${peer.host.includes(":") ? `[${peer.host}]` : peer.host}:${peer.port}`;
}

/**
 * Resolves the name anew and tries all its addresses as RFC 8305 says, IPv6 and IPv4 in turn; the permission that is asked for
 * is the one for the name.
 */
function openTcp(
  peer: { readonly host: string; readonly port: number },
  options: DeadlineOptions,
): Promise<ConnStream> {
  return withDeadline(options, ({ done, fail, guarded }) => {
    const attempt = new AbortController();
    let connected = false;
    let stream: ConnStream | undefined;
    const onConn = guarded("connect", (opened: ConnStream) => {
      connected = true;
      done(opened);
    });
    const connecting = Deno.connect({
      hostname: peer.host,
      port: peer.port,
      signal: attempt.signal,
    });
    connecting.then((conn) => {
      stream = new ConnStream(conn);
      remember(stream);
      if (attempt.signal.aborted) stream.destroy();
      else onConn(stream);
    }).catch(fail);
    return () => {
      attempt.abort();
      if (!connected) stream?.destroy();
    };
  });
}

async function openTunnel(
  tcp: ConnStream,
  proxy: Proxy,
  target: StreamTarget,
  credentials: Credentials,
  options: DeadlineOptions,
): Promise<Duplex> {
  const until = options.clock.now() + options.ms;
  let carrier: Duplex = tcp;
  if (proxy.tls) {
    // As Greengrass documents it: public roots, and whatever the root CA file adds for a proxy of one's own.
    const ca = [credentials.ca, ...rootCertificates];
    carrier = await secure(tcp, { ...identity(proxy.host), ca }, options);
  }
  const request = connectRequest(proxy, target.host, target.port);
  const left = { ...options, ms: Math.max(0, until - options.clock.now()) };
  await withDeadline<void>(
    left,
    (ending) => awaitTunnel(carrier, request, options.where, ending),
  );
  return carrier;
}

function awaitTunnel(
  carrier: Duplex,
  request: Uint8Array,
  where: string,
  { done, fail, guarded }: Ending<void>,
): () => void {
  const answer = new Uint8Array(MAX_PROXY_HEAD_BYTES);
  let length = 0;
  const onData = guarded("data", (chunk: Uint8Array) => {
    const part = chunk.subarray(0, answer.length - length);
    answer.set(part, length);
    length += part.length;
    if (tunnelStands(answer.subarray(0, length), where)) done();
  });
  const onError = guarded("error", fail);
  const onEnd = guarded("end", () => {
    fail(new ConnectError("proxy", "closed", `${where} closed the connection without an answer`));
  });
  carrier.on("data", onData).once("error", onError).once("end", onEnd).once("close", onEnd);
  carrier.write(request);
  return () => {
    carrier.off("data", onData).off("error", onError).off("end", onEnd).off("close", onEnd);
    carrier.pause();
  };
}

function tlsOptions(target: StreamTarget, credentials: Credentials): ConnectionOptions {
  return {
    ...identity(target.host),
    ca: credentials.ca,
    cert: credentials.cert,
    key: credentials.key,
    ...target.port === ALPN_PORT ? { ALPNProtocols: [ALPN_PROTOCOL] } : {},
  };
}

/** Whose certificate is expected. SNI is for names only [RFC 6066, 3]. */
function identity(host: string): ConnectionOptions {
  return { host, minVersion: "TLSv1.2", ...isIP(host) === 0 ? { servername: host } : {} };
}

function secure(
  carrier: Duplex,
  tlsOptions: ConnectionOptions,
  options: DeadlineOptions,
): Promise<TLSSocket> {
  return withDeadline(options, ({ done, fail, guarded }) => {
    const stream = connectTls({ ...tlsOptions, socket: carrier });
    let secured = false;
    const onError = guarded("error", fail);
    const onClose = guarded("close", () => {
      fail(
        new ConnectError(options.stage, "closed", `${options.where} closed during ${options.what}`),
      );
    });
    remember(stream);
    // What TLS throws while it takes what TCP read comes out there.
    carrier.once("error", onError);
    stream.once("error", onError).once("end", onClose).once("close", onClose);
    stream.once(
      "secureConnect",
      guarded("secureConnect", () => {
        secured = true;
        done(stream);
      }),
    );
    return () => {
      carrier.off("error", onError);
      stream.off("error", onError).off("end", onClose).off("close", onClose);
      if (!secured) stream.destroy();
    };
  });
}

/** An error without a listener would end the process. */
function remember(stream: Duplex): void {
  stream.on("error", (error) => {
    if (!errors.has(stream)) errors.set(stream, error);
  });
}
