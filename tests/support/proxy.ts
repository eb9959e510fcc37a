import { Buffer } from "node:buffer";
import net from "node:net";
import tls from "node:tls";
import type { Identity } from "./pki.ts";

/** What a proxy does with a CONNECT: makes the tunnel, stays silent, hangs up, or answers these bytes and hangs up. */
export type ProxyAnswer = "tunnel" | "silent" | "close" | { readonly raw: string };

/** What {@linkcode startProxy} can be told. */
export interface ProxyOptions {
  /** Makes it an `https://` proxy. */
  readonly identity?: Identity;
  /** Demands `user:password`; answers 407 without. */
  readonly login?: string;
  readonly answer?: ProxyAnswer;
  /** Where every tunnel leads, on 127.0.0.1; to where the client says by default. */
  readonly to?: number;
}

/** A small HTTP CONNECT proxy on 127.0.0.1. */
export interface TestProxy extends AsyncDisposable {
  readonly port: number;
  /** The first line of each request. */
  readonly requests: string[];
}

/** Starts a proxy; it is listening when this resolves. */
export async function startProxy(options: ProxyOptions = {}): Promise<TestProxy> {
  const requests: string[] = [];
  const sockets = new Set<net.Socket>();
  const onSocket = (socket: net.Socket): void => {
    keep(sockets, socket);
    let head = "";
    const onData = (chunk: Uint8Array): void => {
      head += Buffer.from(chunk).toString("latin1");
      if (!head.includes("\r\n\r\n")) return;
      socket.off("data", onData);
      requests.push(head.slice(0, head.indexOf("\r\n")));
      serve(socket, head, options, sockets);
    };
    socket.on("data", onData);
  };
  const { identity } = options;
  const server = identity === undefined
    ? net.createServer(onSocket)
    : tls.createServer({ cert: identity.certPem, key: identity.keyPem }, onSocket);
  // Of a TLS server, the sockets that never finish a handshake too.
  if (identity !== undefined) server.on("connection", (socket) => keep(sockets, socket));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    port: (server.address() as net.AddressInfo).port,
    requests,
    [Symbol.asyncDispose]: async () => {
      const closed = new Promise((resolve) => server.close(resolve));
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
}

function keep(sockets: Set<net.Socket>, socket: net.Socket): void {
  sockets.add(socket);
  // A client that gives up resets the connection, which is no fault of the proxy.
  socket.on("error", () => socket.destroy());
  socket.on("close", () => sockets.delete(socket));
}

function serve(
  client: net.Socket,
  head: string,
  options: ProxyOptions,
  sockets: Set<net.Socket>,
): void {
  const { answer = "tunnel", login } = options;
  if (answer === "silent") return;
  if (answer === "close") return void client.end();
  if (typeof answer === "object") return void client.end(answer.raw);
  if (login !== undefined && !head.includes(`Proxy-Authorization: Basic ${btoa(login)}\r\n`)) {
    return void client.end(
      'HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm="x"\r\n' +
        "Content-Length: 0\r\n\r\n",
    );
  }
  const [, host = "", port = ""] = /^CONNECT (.+):(\d+) HTTP\/1\.1/.exec(head) ?? [];
  const upstream = net.connect(
    options.to === undefined
      ? { host, port: Number(port) }
      : { host: "127.0.0.1", port: options.to },
  );
  keep(sockets, upstream);
  upstream.on("connect", () => {
    client.write("HTTP/1.1 200 Connection established\r\n\r\n");
    client.pipe(upstream).pipe(client);
  });
  upstream.on("close", () => client.destroy());
  client.on("close", () => upstream.destroy());
}
