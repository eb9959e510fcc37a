import { sleep, systemClock } from "../base/clock.ts";
import { BusError, Code, codeName, messageOf } from "../base/errors.ts";
import { encodeValueFrame, type Frame } from "../wire/frame.ts";
import { FrameReader } from "../wire/frame_reader.ts";
import { decodeValue, type Value, type ValueMap } from "../wire/object.ts";
import type { BusConn } from "./listener.ts";
import { Outbox, type OutboxOwner } from "./outbox.ts";
import { RequestType } from "./request.ts";

/** How long a client waits for a place in the queue of a server that has many to accept, in ms. */
const QUEUE_MS = 5_000;

/** How long until it looks again, in ms. */
const QUEUE_RETRY_MS = 5;

/** There is no server, or it hung up: what became of a request that it was sent is not known. */
export class NoServerError extends BusError {
  /** @param cause Why there is none; absent when it hung up. */
  constructor(message: string, override readonly cause?: unknown) {
    super(Code.NOCONN, message);
  }
}

/** A subscription as its client sees it. */
export interface Subscription {
  /** Resolves when the server accepted; rejects with the {@linkcode BusError} of its refusal, or {@linkcode NoServerError}. */
  readonly accepted: Promise<void>;
  /** Resolves when the connection is over: with what the server refused, or `undefined` for a plain close. Never rejects. */
  readonly closed: Promise<BusError | undefined>;
  close(): void;
}

/** A kept connection. Calls may be pipelined; a refused one ends the connection, as the server closes after it. */
export interface BusConnection {
  /** Rejects with the {@linkcode BusError} of a refusal, or {@linkcode NoServerError} when the connection ended first. */
  call(method: string, params?: ValueMap): Promise<Value>;
  /** Resolves when the request was handed to the kernel, which says nothing of what became of it. */
  notify(method: string, params?: ValueMap): Promise<void>;
  /** Resolves when the connection is over, as {@linkcode Subscription.closed} does. */
  readonly closed: Promise<BusError | undefined>;
  close(): void;
}

const NO_PARAMS: ValueMap = new Map();

/**
 * One call on a connection of its own. The value may be kept.
 *
 * @param signal Takes the call back when it is aborted; the error is TIMEOUT then.
 * @throws {BusError} The server's refusal; NOCONN when there is no server or it hung up.
 */
export async function call(
  path: string,
  method: string,
  params: ValueMap = NO_PARAMS,
  signal?: AbortSignal,
): Promise<Value> {
  const connection = await connectBus(path);
  const abort = () => connection.close();
  try {
    signal?.addEventListener("abort", abort);
    if (signal?.aborted) abort();
    return await connection.call(method, params);
  } catch (error) {
    if (!signal?.aborted) throw error;
    throw new BusError(Code.TIMEOUT, `Cannot call ${method}: no answer came in time`);
  } finally {
    signal?.removeEventListener("abort", abort);
    connection.close();
  }
}

/** One notify on a connection of its own. Throws NOCONN when there is no server. */
export async function notify(
  path: string,
  method: string,
  params: ValueMap = NO_PARAMS,
): Promise<void> {
  const connection = await connectBus(path);
  try {
    await connection.notify(method, params);
  } finally {
    connection.close();
  }
}

/** Connects to the socket at `path`. Throws {@linkcode NoServerError}. */
export async function connectBus(path: string): Promise<BusConnection> {
  return new Pipeline(await connect(path));
}

/**
 * Subscribes on a connection of its own; `onValue` gets each value, which it may keep, in order. While a promise that it
 * returned is pending nothing is read, and the server closes a client for which too much waits.
 */
export function subscribe(
  path: string,
  method: string,
  params: ValueMap,
  onValue: (value: Value) => void | Promise<void>,
): Subscription {
  return new Subscribing(path, method, params, onValue);
}

async function connect(path: string): Promise<BusConn> {
  for (const end = systemClock.now() + QUEUE_MS;;) {
    try {
      return await Deno.connect({ transport: "unix", path });
    } catch (error) {
      // The server is there and has many to accept: other languages wait for a place in its queue within `connect`.
      const isBusy = error instanceof Deno.errors.WouldBlock && systemClock.now() < end;
      if (!isBusy) throw new NoServerError(`Cannot connect to ${path}: ${messageOf(error)}`, error);
      await sleep(systemClock, QUEUE_RETRY_MS);
    }
  }
}

/** A connection as a client holds it: requests out, frames in, one end. */
class Link implements OutboxOwner {
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
function refusal({ headers }: Frame): BusError | undefined {
  const number = headers.get("error");
  if (typeof number !== "number") return undefined;
  const code = Object.values(Code).find((known) => known === number) ?? Code.FAILURE;
  const reason = headers.get("reason");
  return typeof reason === "string"
    ? new BusError(code, `${codeName(number)}: ${reason}`, reason)
    : new BusError(code, codeName(number));
}

/** A value that outlives the reader's buffer. */
function keptValue(frame: Frame): Value {
  return frame.payload.length === 0 ? null : decodeValue(frame.payload.slice());
}

interface Waiting {
  readonly method: string;
  resolve(value: Value): void;
  reject(error: unknown): void;
}

class Pipeline implements BusConnection {
  readonly #link: Link;
  readonly #closed = Promise.withResolvers<BusError | undefined>();
  #waiting: Waiting[] = [];
  #head = 0;
  #end: { readonly error: BusError | undefined } | undefined;

  constructor(conn: BusConn) {
    this.#link = new Link(conn, (frame) => this.#onFrame(frame), (error) => this.#onOver(error));
  }

  get closed(): Promise<BusError | undefined> {
    return this.#closed.promise;
  }

  call(method: string, params: ValueMap = NO_PARAMS): Promise<Value> {
    return new Promise((resolve, reject) => {
      const waiting = { method, resolve, reject };
      if (this.#end !== undefined) return reject(hungUp(waiting, this.#end.error));
      this.#link.send(RequestType.CALL, method, params);
      this.#waiting.push(waiting);
    });
  }

  notify(method: string, params: ValueMap = NO_PARAMS): Promise<void> {
    if (this.#end !== undefined) {
      return Promise.reject(
        new NoServerError(`Cannot notify ${method}: the connection is closed`),
      );
    }
    this.#link.send(RequestType.NOTIFY, method, params);
    return this.#link.drained();
  }

  close(): void {
    this.#link.close();
  }

  #onFrame(frame: Frame): boolean {
    const error = refusal(frame);
    const waiting = this.#waiting[this.#head];
    if (waiting === undefined) return false;
    if (error === undefined) waiting.resolve(keptValue(frame));
    else waiting.reject(error);
    this.#head++;
    if (this.#head === this.#waiting.length || this.#head > 1024) {
      this.#waiting.splice(0, this.#head);
      this.#head = 0;
    }
    return error === undefined;
  }

  #onOver(error: BusError | undefined): void {
    this.#end = { error };
    const waiting = this.#waiting.slice(this.#head);
    this.#waiting = [];
    this.#head = 0;
    for (const call of waiting) call.reject(hungUp(call, error));
    this.#closed.resolve(error);
  }
}

function hungUp({ method }: Waiting, error: BusError | undefined): BusError {
  const why = error === undefined ? "" : `: ${error.message}`;
  return new NoServerError(`Cannot call ${method}: the connection is closed${why}`);
}

class Subscribing implements Subscription {
  readonly #accepted = Promise.withResolvers<void>();
  readonly #closed = Promise.withResolvers<BusError | undefined>();
  #state: "connecting" | "asked" | "accepted" | "over" = "connecting";
  #link: Link | undefined;

  constructor(
    path: string,
    private readonly method: string,
    params: ValueMap,
    private readonly onValue: (value: Value) => void | Promise<void>,
  ) {
    // Who only looks at `closed` need not look at `accepted` too.
    this.#accepted.promise.catch(() => {});
    void this.#start(path, params);
  }

  get accepted(): Promise<void> {
    return this.#accepted.promise;
  }

  get closed(): Promise<BusError | undefined> {
    return this.#closed.promise;
  }

  close(): void {
    if (this.#link === undefined) this.#onOver(undefined);
    else this.#link.close();
  }

  async #start(path: string, params: ValueMap): Promise<void> {
    try {
      const conn = await connect(path);
      if (this.#state === "over") return conn.close();
      this.#state = "asked";
      this.#link = new Link(
        conn,
        (frame) => this.#onFrame(frame),
        (error) => this.#onOver(error),
      );
      this.#link.send(RequestType.SUBSCRIBE, this.method, params);
    } catch (error) {
      this.#onOver(
        error instanceof BusError ? error : new BusError(Code.FAILURE, messageOf(error)),
      );
    }
  }

  #onFrame(frame: Frame): boolean | Promise<void> {
    if (frame.headers.has("error")) return false;
    if (this.#state === "accepted") return this.onValue(keptValue(frame)) ?? true;
    if (frame.headers.get("accepted") === 1) {
      this.#state = "accepted";
      this.#accepted.resolve();
    } else throw new BusError(Code.PARSE, `Cannot subscribe to ${this.method}: no "accepted" came`);
    return true;
  }

  #onOver(error: BusError | undefined): void {
    if (this.#state === "over") return;
    this.#state = "over";
    // Without effect once accepted.
    this.#accepted.reject(
      error ??
        new NoServerError(`Cannot subscribe to ${this.method}: the connection closed`),
    );
    this.#closed.resolve(error);
  }
}
