import { BusError, BusErrorCode, messageOf } from "../base/errors.ts";
import { Deque } from "../base/deque.ts";
import { withResolvers } from "../base/with_resolvers.ts";
import type { Frame } from "../wire/frame.ts";
import { decodeValue, type Value, type ValueMap } from "../wire/object.ts";
import { ClientLink, connect, NoServerError, refusal } from "./client_link.ts";
import type { BusConn } from "./socket_conn.ts";
import { RequestType } from "./request.ts";

export { NoServerError } from "./client_link.ts";

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
    throw new BusError(BusErrorCode.TIMEOUT, `Cannot call ${method}: no answer came in time`);
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
  readonly #link: ClientLink;
  readonly #closed = withResolvers<BusError | undefined>();
  readonly #waiting = new Deque<Waiting>();
  #end: { readonly error: BusError | undefined } | undefined;

  constructor(conn: BusConn) {
    this.#link = new ClientLink(
      conn,
      (frame) => this.#onFrame(frame),
      (error) => this.#onOver(error),
    );
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
    const waiting = this.#waiting.shift();
    if (waiting === undefined) return false;
    if (error === undefined) waiting.resolve(keptValue(frame));
    else waiting.reject(error);
    return error === undefined;
  }

  #onOver(error: BusError | undefined): void {
    this.#end = { error };
    for (const call of this.#waiting.drain()) call.reject(hungUp(call, error));
    this.#closed.resolve(error);
  }
}

function hungUp({ method }: Waiting, error: BusError | undefined): BusError {
  const why = error === undefined ? "" : `: ${error.message}`;
  return new NoServerError(`Cannot call ${method}: the connection is closed${why}`);
}

class Subscribing implements Subscription {
  readonly #accepted = withResolvers<void>();
  readonly #closed = withResolvers<BusError | undefined>();
  #state: "connecting" | "asked" | "accepted" | "over" = "connecting";
  #link: ClientLink | undefined;

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
      this.#link = new ClientLink(
        conn,
        (frame) => this.#onFrame(frame),
        (error) => this.#onOver(error),
      );
      this.#link.send(RequestType.SUBSCRIBE, this.method, params);
    } catch (error) {
      this.#onOver(
        error instanceof BusError ? error : new BusError(BusErrorCode.FAILURE, messageOf(error)),
      );
    }
  }

  #onFrame(frame: Frame): boolean | Promise<void> {
    if (frame.headers.has("error")) return false;
    if (this.#state === "accepted") return this.onValue(keptValue(frame)) ?? true;
    if (frame.headers.get("accepted") === 1) {
      this.#state = "accepted";
      this.#accepted.resolve();
    } else {throw new BusError(
        BusErrorCode.PARSE,
        `Cannot subscribe to ${this.method}: no "accepted" came`,
      );}
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
