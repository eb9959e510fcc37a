import { sleep, systemClock } from "../base/clock.ts";
import { BusError, BusErrorCode, codeName, messageOf } from "../base/errors.ts";
import { encodeValueFrame, type Frame } from "../wire/frame.ts";
import { FrameReader } from "../wire/frame_reader.ts";
import type { ValueMap } from "../wire/object.ts";
import { type BusConn, connectUnix, isQueueFull } from "./socket_conn.ts";
import { Outbox, type OutboxOwner } from "./outbox.ts";
import type { RequestType } from "./request.ts";

/** How long a client waits for a place in the queue of a server that has many to accept, in ms. */
const QUEUE_MS = 5_000;

/** How long until it looks again, in ms. */
const QUEUE_RETRY_MS = 5;

/** There is no server, or it hung up: what became of a request that it was sent is not known. */
export class NoServerError extends BusError {
  /** Makes one; `cause` says why there is no server, and is absent when it hung up. */
  constructor(message: string, override readonly cause?: unknown) {
    super(BusErrorCode.NOCONN, message);
  }
}

/** Connects to the socket at `path`. @throws {NoServerError} */
export async function connect(path: string): Promise<BusConn> {
  for (const end = systemClock.now() + QUEUE_MS;;) {
    try {
      return await connectUnix(path);
    } catch (error) {
      // The server is there and has many to accept: other languages wait for a place in its queue within `connect`.
      const isBusy = isQueueFull(error) && systemClock.now() < end;
      if (!isBusy) throw new NoServerError(`Cannot connect to ${path}: ${messageOf(error)}`, error);
      await sleep(systemClock, QUEUE_RETRY_MS);
    }
  }
}

/** A connection as a client holds it: requests out, frames in, one end. */
export class ClientLink implements OutboxOwner {
  readonly #outbox: Outbox;
  readonly #reader = new FrameReader();
  #flushing = false;
  #drained: (() => void)[] = [];
  #over = false;

  /** @param onFrame Returns `false` when it wants no more, a promise when it wants no more for a while. */
  constructor(
    private readonly conn: BusConn,
    private readonly onFrame: (frame: Frame) => boolean | Promise<void>,
    private readonly onOver: (error: BusError | undefined) => void,
  ) {
    this.#outbox = new Outbox(conn, this);
    void this.#read();
  }

  /** Sends a request; those of one turn go out in one write. */
  send(type: RequestType, method: string, params: ValueMap): void {
    const headers = new Map<string, string | number>([["method", method], ["type", type]]);
    this.#outbox.push(encodeValueFrame(params, headers));
    if (this.#flushing) return;
    this.#flushing = true;
    queueMicrotask(() => {
      this.#flushing = false;
      if (!this.#over) this.#outbox.flush();
    });
  }

  /** Resolves when everything was written or can no longer be. */
  drained(): Promise<void> {
    if (this.#over || this.#outbox.queued === 0) return Promise.resolve();
    return new Promise((resolve) => void this.#drained.push(resolve));
  }

  close(error?: BusError): void {
    if (this.#over) return;
    this.#over = true;
    this.#outbox.clear();
    this.conn.close();
    this.onDrained();
    this.onOver(error);
  }

  onDrained(): void {
    const waiting = this.#drained;
    this.#drained = [];
    for (const resolve of waiting) resolve();
  }

  onWriteFailed(): void {
    // The server may have refused and closed before it had read everything: its error can still be read.
    this.onDrained();
  }

  async #read(): Promise<void> {
    try {
      while (!this.#over) {
        const count = await this.conn.read(this.#reader.space());
        if (count === null || this.#over) break;
        this.#reader.filled(count);
        while (!this.#over) {
          const frame = this.#reader.next();
          if (frame === undefined) break;
          const more = this.onFrame(frame);
          if (more === false) return this.close(refusal(frame));
          if (more !== true) await more;
        }
      }
      this.close();
    } catch (error) {
      this.close(
        error instanceof BusError ? error : new NoServerError(messageOf(error)),
      );
    }
  }
}

/** The error that a frame carries, if it does. */
export function refusal({ headers }: Frame): BusError | undefined {
  const number = headers.get("error");
  if (typeof number !== "number") return undefined;
  const code = Object.values(BusErrorCode).find((known) => known === number) ??
    BusErrorCode.FAILURE;
  const reason = headers.get("reason");
  return typeof reason === "string"
    ? new BusError(code, `${codeName(number)}: ${reason}`, reason)
    : new BusError(code, codeName(number));
}
