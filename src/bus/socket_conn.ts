import type { Socket } from "node:net";
import process from "node:process";
import { withResolvers } from "../base/with_resolvers.ts";

/** The part of a connection that the bus uses; `Deno.Conn` is one. */
export interface BusConn {
  /** Reads into `into`; `null` at the end of the stream. */
  read(into: Uint8Array): Promise<number | null>;
  /** Writes all or a part of `bytes`; returns how many. */
  write(bytes: Uint8Array): Promise<number>;
  /** Closes, also under a pending read or write. Throws when closed already. */
  close(): void;
}

/**
 * Connects to the Unix socket at `path`, by Deno's own sockets or else by those of Node and Bun.
 *
 * @throws {Error} what the runtime throws
 */
export async function connectUnix(path: string): Promise<BusConn> {
  if ("Deno" in globalThis) return await Deno.connect({ transport: "unix", path });
  // Not imported: Deno would load it at each start of a tool.
  const { createConnection } = process.getBuiltinModule("node:net");
  const socket = createConnection({ path, allowHalfOpen: true });
  await new Promise<void>((resolve, reject) => {
    socket.once("error", reject);
    socket.once("connect", () => {
      socket.off("error", reject);
      resolve();
    });
  });
  return new SocketConn(socket);
}

/** Whether a connection failed because the server has as many to accept as the system keeps for it. */
export function isQueueFull(error: unknown): boolean {
  if ("Deno" in globalThis) return error instanceof Deno.errors.WouldBlock;
  return error instanceof Error && "code" in error && error.code === "EAGAIN";
}

/** Node's socket as a connection that is read when asked. */
export class SocketConn implements BusConn {
  readonly #socket: Socket;
  /** Read, and not yet asked for. */
  #rest: Uint8Array | undefined;
  #reading: { readonly into: Uint8Array; done: PromiseWithResolvers<number | null> } | undefined;
  #ended = false;
  #error: Error | undefined;

  constructor(socket: Socket) {
    this.#socket = socket;
    socket.on("data", (chunk: Uint8Array) => this.#onData(chunk));
    socket.on("error", (error) => this.#onEnd(error));
    socket.on("end", () => this.#onEnd());
    socket.on("close", () => this.#onEnd());
    socket.pause();
  }

  read(into: Uint8Array): Promise<number | null> {
    if (this.#rest !== undefined) {
      const rest = this.#rest;
      this.#rest = undefined;
      return Promise.resolve(this.#fill(into, rest));
    }
    if (this.#error !== undefined) return Promise.reject(this.#error);
    if (this.#ended) return Promise.resolve(null);
    const done = withResolvers<number | null>();
    this.#reading = { into, done };
    this.#socket.resume();
    return done.promise;
  }

  write(bytes: Uint8Array): Promise<number> {
    return new Promise((resolve, reject) => {
      this.#socket.write(bytes, (error) => error ? reject(error) : resolve(bytes.length));
    });
  }

  close(): void {
    this.#socket.destroy();
  }

  #fill(into: Uint8Array, chunk: Uint8Array): number {
    const count = Math.min(into.length, chunk.length);
    into.set(count === chunk.length ? chunk : chunk.subarray(0, count));
    if (count < chunk.length) this.#rest = chunk.subarray(count);
    return count;
  }

  #onData(chunk: Uint8Array): void {
    const reading = this.#reading;
    this.#socket.pause();
    if (reading === undefined) {
      this.#rest = chunk;
      return;
    }
    this.#reading = undefined;
    reading.done.resolve(this.#fill(reading.into, chunk));
  }

  #onEnd(error?: Error): void {
    this.#ended = true;
    this.#error ??= error;
    const reading = this.#reading;
    this.#reading = undefined;
    if (reading === undefined) return;
    if (this.#error !== undefined) reading.done.reject(this.#error);
    else reading.done.resolve(null);
  }
}
