import { setImmediate } from "node:timers";
import { BusError, Code, messageOf, stackOf } from "../base/errors.ts";
import { Deque } from "../base/deque.ts";
import type { Log } from "../base/log.ts";
import type { Frame } from "../wire/frame.ts";
import type { FrameReader } from "../wire/frame_reader.ts";
import { isConnectionError } from "./listener.ts";
import type { BusConn } from "./socket_conn.ts";
import { Deadlines } from "./deadlines.ts";
import { FRAMES_PER_TURN, MAX_PENDING_ANSWERS, PAUSE_QUEUED_BYTES } from "./limits.ts";
import type { CallMethod, MethodTable, SubscribeMethod } from "./methods.ts";
import { Outbox, type OutboxOwner } from "./outbox.ts";
import type { ReaderPool } from "../wire/frame_reader.ts";
import { PendingReply, type ReplyOwner } from "./replies.ts";
import { readRequest, type Request, RequestType, requestType } from "./request.ts";
import { BusSubscription, type SubscriptionOwner } from "./subscriber.ts";

/** The server as its sessions see it. */
export interface SessionHost {
  readonly table: MethodTable;
  readonly log: Log;
  readonly readers: ReaderPool;
  /** A request or frame was refused. */
  onRefused(): void;
  /** A client was closed because it does not read. */
  onSlow(): void;
  /** A session has bytes to write: {@linkcode Session.flush} is called before the turn ends. */
  onDirty(session: Session): void;
  /** A session is over. */
  onGone(session: Session): void;
}

/** `open` reads requests; `ending` only answers those it has; `closed` does nothing. */
type State = "open" | "ending" | "closed";

/** What a turn of handling frames ended with: wait for bytes, for the other clients, or for room. */
type Wait = "bytes" | "turn" | "room";

/** Bytes of payload that count as one more frame of a turn. */
const BYTES_PER_CREDIT = 16_384;

/** One client: reads its frames, runs their methods, and answers in order. */
export class Session implements ReplyOwner, SubscriptionOwner, OutboxOwner {
  readonly outbox: Outbox;
  readonly #reader: FrameReader;
  #state: State = "open";
  #requests = 0;
  /** In the order of their requests. */
  readonly #answers = new Deque<PendingReply | BusSubscription>();
  #subscription: BusSubscription | undefined;
  #wake: (() => void) | undefined;
  /** Made at the first look: most clients are gone before it. */
  #deadlines: Deadlines | undefined;

  /** @param id The number of the client, ascending over the life of the server. */
  constructor(
    readonly id: number,
    private readonly conn: BusConn,
    private readonly host: SessionHost,
  ) {
    this.outbox = new Outbox(conn, this);
    this.#reader = host.readers.take();
  }

  /** Whether the client has an accepted subscription. */
  get subscribed(): boolean {
    return this.#subscription?.active ?? false;
  }

  /** Bytes that wait for the client. */
  get queued(): number {
    return this.outbox.queued + (this.#subscription?.heldBytes ?? 0);
  }

  /** Serves the client until nothing more is to be read from it. Never rejects. */
  async run(): Promise<void> {
    try {
      await this.#read();
    } catch (error) {
      // The client reset the connection, or close() took the read back; anything else is a bug, which ends this client only.
      if (this.#state !== "closed" && !isConnectionError(error)) this.#logBug(error, "");
      this.close();
    }
    // Only now is it sure that neither a read nor a view uses it any more.
    this.host.readers.give(this.#reader);
  }

  async #read(): Promise<void> {
    while (this.#state === "open") {
      const count = await this.conn.read(this.#reader.space());
      if (this.#state !== "open") return;
      if (count === null) return this.#onEndOfStream();
      this.#reader.filled(count);
      for (let wait = this.#handleFrames(); wait !== "bytes"; wait = this.#handleFrames()) {
        await (wait === "turn" ? nextTurn() : this.#room());
      }
    }
  }

  /** Reads nothing more and closes once what is under way has been answered; ends a subscription. */
  finish(): void {
    if (this.#subscription !== undefined) this.onEnd("the daemon stops");
    else this.#end();
  }

  /** Closes at once. */
  close(): void {
    if (this.#state === "closed") return;
    this.#state = "closed";
    this.#answers.clear();
    this.outbox.clear();
    try {
      this.conn.close();
    } catch (error) {
      // Closed by the runtime already.
      if (!isConnectionError(error)) throw error;
    }
    this.host.onGone(this);
    this.#endSubscription();
    this.#wake?.();
  }

  /** Writes what is queued. */
  flush(): void {
    this.outbox.flush();
  }

  /** Closes a client that is past a deadline; `now` is monotonic, in ms. */
  sweep(now: number): void {
    if (this.#state === "closed") return;
    const reading = this.#state === "open" && this.#wake === undefined;
    const waiting = this.#answers.length > 0 || this.#subscription !== undefined;
    this.#deadlines ??= new Deadlines();
    const missed = this.#deadlines.look(now, {
      requests: this.#requests,
      written: this.outbox.written,
      unread: this.outbox.queued > 0,
      partial: reading && this.#reader.pending > 0,
      idle: reading && !waiting,
    });
    if (missed === "unread") this.#closeAsSlow("it did not read for 10 s");
    else if (missed === "frame") {
      this.#abort(new BusError(Code.TIMEOUT, "Cannot wait for a frame: it took over 5 s"));
    } else if (missed === "idle") {
      this.host.log.debug("Closed an idle client", { client: this.id });
      this.close();
    }
  }

  /** Answers whose turn it is go to the outbox. */
  onSettled(): void {
    for (let answer = this.#answers.peek(); answer?.frame !== undefined;) {
      this.#answers.shift();
      if (answer.frame !== null) this.outbox.push(answer.frame);
      if (answer.last) {
        this.#answers.clear();
        this.#endSubscription();
      } else if (answer instanceof BusSubscription) answer.activate();
      answer = this.#answers.peek();
    }
    if (this.outbox.queued > 0) this.host.onDirty(this);
    this.#proceed();
  }

  onRefused(error: unknown, method: string, notify: boolean): void {
    this.host.onRefused();
    if (error instanceof BusError) {
      const fields = {
        client: this.id,
        method: method || undefined,
        code: error.code,
        error: messageOf(error),
      };
      if (notify) this.host.log.warn("Refused a notify", fields);
      else this.host.log.debug("Refused a request", fields);
    } else this.#logBug(error, method);
    if (!notify && this.#state === "open") this.#state = "ending";
  }

  onSend(): void {
    this.host.onDirty(this);
  }

  onOverflow(): void {
    this.#closeAsSlow("its queue was full");
  }

  onEnd(reason: string): void {
    if (this.#state === "closed") return;
    const label = this.#subscription?.label || undefined;
    this.host.log.debug("Ended a subscription", { client: this.id, label, reason });
    this.#answers.clear();
    this.#endSubscription();
    if (this.outbox.queued > 0) this.host.onDirty(this);
    this.#end();
  }

  onDrained(): void {
    this.#proceed();
  }

  onWriteFailed(error: unknown): void {
    if (this.#state !== "closed" && !isConnectionError(error)) this.#logBug(error, "");
    this.close();
  }

  #onEndOfStream(): void {
    if (this.#reader.pending > 0 || this.#subscription !== undefined) this.close();
    else this.#end();
  }

  #end(): void {
    if (this.#state === "open") this.#state = "ending";
    this.#proceed();
  }

  /** After something was settled or written: goes on reading, or closes when nothing is left to do. */
  #proceed(): void {
    if (this.#state === "ending" && this.#answers.length === 0 && this.outbox.queued === 0) {
      this.close();
    } else if (this.#wake !== undefined && (this.#state !== "open" || !this.#isFull())) {
      this.#wake();
    }
  }

  #isFull(): boolean {
    return this.#answers.length >= MAX_PENDING_ANSWERS ||
      (this.#subscription === undefined && this.outbox.queued >= PAUSE_QUEUED_BYTES);
  }

  #room(): Promise<void> {
    return new Promise((resolve) => {
      this.#wake = () => {
        this.#wake = undefined;
        resolve();
      };
    });
  }

  #handleFrames(): Wait {
    for (let credit = FRAMES_PER_TURN; this.#state === "open";) {
      if (this.#isFull()) return "room";
      if (credit <= 0) return "turn";
      const frame = this.#nextFrame();
      if (frame === undefined) return "bytes";
      credit -= 1 + frame.payload.length / BYTES_PER_CREDIT;
      this.#handle(frame);
    }
    return "bytes";
  }

  #nextFrame(): Frame | undefined {
    try {
      return this.#reader.next();
    } catch (error) {
      this.#abort(error);
      return undefined;
    }
  }

  #handle(frame: Frame): void {
    this.#requests++;
    let notify = false;
    let request: Request;
    try {
      const type = requestType(frame);
      notify = type === RequestType.NOTIFY;
      request = readRequest(frame, type, this.host.table);
      if (this.#subscription !== undefined) {
        throw new BusError(Code.INVALID, "Cannot take request: its connection is a subscription's");
      }
    } catch (error) {
      if (notify) this.onRefused(error, "", true);
      else this.#abort(error);
      return;
    }
    if (request.method.kind === "call") this.#call(request.method, request, notify);
    else this.#subscribe(request.method, request);
  }

  #call(method: CallMethod, { name, map }: Request, notify: boolean): void {
    const reply = new PendingReply(this, name, notify);
    this.#answers.push(reply);
    try {
      const result = method.run(map, reply);
      if (result === undefined) return;
      if (result instanceof Promise) {
        result.then((value) => reply.respond(value), (error) => reply.fail(error));
      } else reply.respond(result);
    } catch (error) {
      reply.fail(error);
    }
  }

  #subscribe(method: SubscribeMethod, { name, map }: Request): void {
    const subscription = new BusSubscription(this, name);
    this.#subscription = subscription;
    this.#answers.push(subscription);
    try {
      method.run(map, subscription)?.catch((error) => subscription.fail(error));
    } catch (error) {
      subscription.fail(error);
    }
  }

  /** Refuses what is no request of a method: one error frame behind the answers before it, then close. */
  #abort(error: unknown): void {
    if (this.#subscription !== undefined) return this.#subscription.fail(error);
    const reply = new PendingReply(this, "", false);
    this.#answers.push(reply);
    reply.fail(error);
  }

  #endSubscription(): void {
    this.#subscription?.over((error) => this.#logBug(error, "the end of a subscription"));
  }

  #closeAsSlow(why: string): void {
    const label = this.#subscription?.label || undefined;
    this.host.onSlow();
    this.host.log.warn("Closed a slow client", {
      client: this.id,
      method: this.#subscription?.method,
      label,
      why,
      queued: this.queued,
    });
    this.close();
  }

  #logBug(error: unknown, method: string): void {
    this.host.log.error("A request failed inside the daemon", {
      client: this.id,
      method: method || undefined,
      error: messageOf(error),
      stack: stackOf(error),
    });
  }
}

/** Resolves after the other clients had their turn. */
function nextTurn(): Promise<void> {
  return new Promise((resolve) => void setImmediate(resolve));
}
