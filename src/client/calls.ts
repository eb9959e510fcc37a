import { reconnectDelay } from "../base/backoff.ts";
import { sleep, systemClock } from "../base/clock.ts";
import { BusError, BusErrorCode, messageOf } from "../base/errors.ts";
import { type BusConnection, connectBus, NoServerError } from "../bus/client.ts";
import type { Value, ValueMap } from "../wire/object.ts";

/** Bytes of calls without an answer, at most. */
export const MAX_UNANSWERED_BYTES = 16_777_216;

/** What a call counts beside its parameters, in bytes. */
const OVERHEAD_BYTES = 128;

/** How often is looked for late answers, in ms. */
const SWEEP_MS = 1_000;

/** A call of a method. */
export interface Call {
  readonly method: string;
  readonly params: ValueMap;
  /** Whether it may be sent again when nobody knows whether it was handled. */
  readonly repeatable: boolean;
  /** What its parameters count for. */
  readonly bytes: number;
  /** How long its answer may take, in ms, to a second. */
  readonly timeoutMs: number;
}

/** One call until it is answered. */
interface Pending extends Call {
  /** When its answer is late, in ms of `performance.now()`. */
  readonly deadline: number;
  sent: boolean;
  resolve(value: Value): void;
  reject(error: unknown): void;
}

/**
 * One kept connection for calls, which are answered in their order. When the connection ends, another is made while
 * something waits: what may not have been handled is then sent again if that does no harm, else it fails.
 */
export class Calls {
  readonly #socket: string;
  /** How long the daemon may be gone before what waits fails, in ms. */
  readonly #timeoutMs: number;
  readonly #closing = new AbortController();
  /** Without an answer, in order. */
  readonly #pending = new Set<Pending>();
  #bytes = 0;
  #connection: BusConnection | undefined;
  #connecting: Promise<void> | undefined;
  #idle: (() => void) | undefined;
  #sweeper: ReturnType<typeof setInterval> | undefined;

  constructor(socket: string, timeoutMs: number) {
    this.#socket = socket;
    this.#timeoutMs = timeoutMs;
  }

  /** Makes the connection now. Throws {@linkcode NoServerError}. */
  async open(): Promise<void> {
    this.#use(await connectBus(this.#socket));
  }

  /** Calls, and resolves with the daemon's answer. */
  call(call: Call): Promise<Value> {
    return new Promise((resolve, reject) => {
      const bytes = call.bytes + OVERHEAD_BYTES;
      const refusal = this.#refusal(bytes);
      if (refusal !== undefined) return reject(refusal);
      const deadline = performance.now() + call.timeoutMs;
      const pending: Pending = { ...call, bytes, deadline, sent: false, resolve, reject };
      this.#pending.add(pending);
      this.#sweeper ??= setInterval(() => this.#sweep(), SWEEP_MS);
      this.#bytes += bytes;
      if (this.#connection !== undefined) this.#send(this.#connection, pending);
      else this.#reconnect();
    });
  }

  /** Waits for the answers that can still come, and closes. */
  async close(): Promise<void> {
    this.#closing.abort();
    await this.#connecting;
    if (this.#connection !== undefined && this.#pending.size > 0) {
      await new Promise<void>((resolve) => this.#idle = resolve);
    }
    this.#stopSweeping();
    const connection = this.#connection;
    connection?.close();
    await connection?.closed;
  }

  #refusal(bytes: number): BusError | undefined {
    if (this.#closing.signal.aborted) {
      return new NoServerError("Cannot call the daemon: the client is closed");
    }
    if (this.#bytes + bytes <= MAX_UNANSWERED_BYTES) return undefined;
    return new BusError(
      BusErrorCode.NOMEM,
      `Cannot call the daemon: more than ${MAX_UNANSWERED_BYTES} bytes wait for their answer`,
    );
  }

  #use(connection: BusConnection): void {
    this.#connection = connection;
    void connection.closed.then((error) => this.#onClosed(connection, error));
    for (const pending of this.#pending) this.#send(connection, pending);
  }

  #send(connection: BusConnection, pending: Pending): void {
    pending.sent = true;
    connection.call(pending.method, pending.params).then(
      (value) => this.#settle(pending)?.resolve(value),
      (error) => {
        // What ended with the connection is dealt with when that is known: see `#onClosed`.
        if (!(error instanceof NoServerError)) this.#settle(pending)?.reject(error);
      },
    );
  }

  /** Takes a call out, unless it was taken out before. */
  #settle(pending: Pending): Pending | undefined {
    if (!this.#pending.delete(pending)) return undefined;
    this.#bytes -= pending.bytes;
    if (this.#pending.size === 0) this.#idle?.();
    return pending;
  }

  #onClosed(connection: BusConnection, error: BusError | undefined): void {
    if (this.#connection !== connection) return;
    this.#connection = undefined;
    // After a refusal the daemon handles nothing of what came behind it: that can be sent again.
    const refused = error !== undefined && !(error instanceof NoServerError);
    for (const pending of [...this.#pending]) {
      if (pending.sent && !pending.repeatable && !refused) {
        const text = "Cannot say whether it was handled: the daemon hung up before it answered";
        this.#settle(pending)?.reject(new NoServerError(text));
      }
      pending.sent = false;
    }
    if (this.#pending.size > 0) this.#reconnect();
  }

  #reconnect(): void {
    this.#connecting ??= this.#connect().finally(() => this.#connecting = undefined);
  }

  async #connect(): Promise<void> {
    const since = performance.now();
    for (let attempt = 0;; attempt++) {
      try {
        return this.#use(await connectBus(this.#socket));
      } catch (error) {
        if (!(error instanceof NoServerError)) {
          return this.#fail(new NoServerError(messageOf(error), error));
        }
        const delay = reconnectDelay(attempt, Math.random());
        const left = since + this.#timeoutMs - performance.now();
        if (this.#closing.signal.aborted || left <= 0) return this.#fail(error);
        await sleep(systemClock, Math.min(delay, left), this.#closing.signal);
      }
    }
  }

  /** Gives up what was not answered in time; an answer that comes later means nothing. */
  #sweep(): void {
    if (this.#pending.size === 0) return this.#stopSweeping();
    const now = performance.now();
    for (const pending of [...this.#pending]) {
      if (now < pending.deadline) continue;
      const text = `Cannot wait for ${pending.method}: no answer came in ${pending.timeoutMs} ms`;
      this.#settle(pending)?.reject(new BusError(BusErrorCode.TIMEOUT, text));
    }
  }

  #stopSweeping(): void {
    clearInterval(this.#sweeper);
    this.#sweeper = undefined;
  }

  #fail(error: NoServerError): void {
    for (const pending of [...this.#pending]) this.#settle(pending)?.reject(error);
  }
}
