import { createServer, type Server, type Socket } from "node:net";
import { messageOf } from "../base/errors.ts";
import { type BusConn, SocketConn } from "./socket_conn.ts";

/** Where connections come from; `Deno.UnixListener` is one, a socket handed over by systemd can be another. */
export interface BusListener {
  /** The next connection; rejects for ever once closed. */
  accept(): Promise<BusConn>;
  close(): void;
}

/** Whether an error is one of the runtime about a connection, such as a reset or one that was closed, and no bug. */
export function isConnectionError(error: unknown): boolean {
  return error instanceof Error && (Object.hasOwn(Deno.errors, error.name) || "code" in error);
}

/** Clients that may wait to be accepted here; Node's server takes them from the kernel's queue by itself. */
export const MAX_WAITING = 128;

/**
 * Serves a listening Unix socket that was handed over as a file descriptor, as systemd does [sd_listen_fds(3)]. Closing gives the
 * descriptor up for good.
 *
 * @throws {Error} when the descriptor is none of a listening socket
 */
export async function listenOnFd(fd: number): Promise<BusListener> {
  // Half open, as a client may send a request and end its side at once.
  const server = createServer({ allowHalfOpen: true, pauseOnConnect: true });
  await new Promise<void>((resolve, reject) => {
    server.once("error", (error) => reject(new Error(`descriptor ${fd}: ${messageOf(error)}`)));
    server.listen({ fd }, resolve);
  });
  return new FdListener(server);
}

class FdListener implements BusListener {
  readonly #server: Server;
  readonly #waiting: Socket[] = [];
  #accepting: PromiseWithResolvers<BusConn> | undefined;
  #closed = false;

  constructor(server: Server) {
    this.#server = server;
    server.on("connection", (socket) => this.#onSocket(socket));
    server.on("error", (error) => {
      this.#accepting?.reject(error);
      this.#accepting = undefined;
    });
  }

  accept(): Promise<BusConn> {
    if (this.#closed) return Promise.reject(new Error("listener is closed"));
    const socket = this.#waiting.shift();
    if (socket !== undefined) return Promise.resolve(new SocketConn(socket));
    this.#accepting = Promise.withResolvers<BusConn>();
    return this.#accepting.promise;
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#server.close();
    for (const socket of this.#waiting.splice(0)) socket.destroy();
    this.#accepting?.reject(new Error("listener is closed"));
    this.#accepting = undefined;
  }

  #onSocket(socket: Socket): void {
    if (this.#accepting !== undefined) {
      this.#accepting.resolve(new SocketConn(socket));
      this.#accepting = undefined;
    } else if (this.#closed || this.#waiting.length >= MAX_WAITING) socket.destroy();
    else this.#waiting.push(socket);
  }
}
