import { Duplex } from "node:stream";
import type { Bytes } from "../base/bytes.ts";

/** The most that is read at once, in bytes. */
const READ_BYTES = 65_536;

/**
 * A TCP connection of Deno as the stream that `node:tls` runs over. `node:net` is no way to a name with several addresses:
 * its second attempt is checked against the permissions by address, and thrown out of a timer.
 *
 * It reads one chunk each time it is asked, so a reader that does not ask holds the sender back.
 */
export class ConnStream extends Duplex {
  /** Bytes that have arrived. */
  bytesRead = 0;
  /** Where the connection leads: `192.0.2.1:8883`, `[2001:db8::1]:8883`. */
  readonly address: string;
  readonly #conn: Deno.TcpConn;
  readonly #buffer = new Uint8Array(READ_BYTES);
  #reading = false;
  /** Since when a write has been under way of which nothing was taken, in ms of `performance.now()`. */
  #stuckSince: number | undefined;

  constructor(conn: Deno.TcpConn) {
    super();
    this.#conn = conn;
    const { hostname, port } = conn.remoteAddr;
    this.address = `${hostname.includes(":") ? `[${hostname}]` : hostname}:${port}`;
  }

  /** How long the network has taken nothing of what is to be written, in ms; 0 when nothing waits. */
  get stuckMs(): number {
    return this.#stuckSince === undefined ? 0 : performance.now() - this.#stuckSince;
  }

  override _construct(done: (error?: Error | null) => void): void {
    try {
      this.#conn.setNoDelay(true);
      done();
    } catch (error) {
      // The peer may have reset the connection by now.
      done(error as Error);
    }
  }

  override _read(): void {
    if (!this.#reading) void this.#pull();
  }

  override _write(chunk: Bytes, _encoding: string, done: (error?: Error | null) => void): void {
    this.#writeAll(chunk).then(() => done(), done);
  }

  override _final(done: (error?: Error | null) => void): void {
    this.#conn.closeWrite().then(() => done(), done);
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    this.#conn.close();
    done(error);
  }

  async #pull(): Promise<void> {
    this.#reading = true;
    try {
      const length = await this.#conn.read(this.#buffer);
      this.#reading = false;
      if (length === null) {
        this.push(null);
        return;
      }
      this.bytesRead += length;
      // TLS keeps what it is given until a record is whole.
      this.push(this.#buffer.slice(0, length));
    } catch (error) {
      // Also what TLS throws from within `push`. After `destroy` this is the end of the read that was under way.
      this.destroy(error as Error);
    }
  }

  async #writeAll(bytes: Bytes): Promise<void> {
    for (let rest = bytes; rest.length > 0;) {
      this.#stuckSince = performance.now();
      rest = rest.subarray(await this.#conn.write(rest));
    }
    this.#stuckSince = undefined;
  }
}
