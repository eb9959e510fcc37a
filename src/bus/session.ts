import { BusError, BusErrorCode, messageOf, stackOf } from "../base/errors.ts";
import { Deque } from "../base/deque.ts";
import { nextTurn } from "../base/next_turn.ts";
import type { Log } from "../base/log.ts";
import type { Frame } from "../wire/frame.ts";
import type { FrameReader } from "../wire/frame_reader.ts";
import { closeLevel, type CloseReason } from "./close_reason.ts";
import { isConnectionError } from "./listener.ts";
import type { BusConn } from "./socket_conn.ts";
import { Deadlines } from "./deadlines.ts";
import type { FullQueues, QueueOwner } from "./full_queues.ts";
import { FRAMES_PER_TURN, MAX_PENDING_ANSWERS, PAUSE_QUEUED_BYTES } from "./limits.ts";
import type { CallMethod, MethodTable, SubscribeMethod } from "./methods.ts";
import { Outbox, type OutboxOwner } from "./outbox.ts";
import type { PartialFrameOwner, PartialFrames } from "./partial_frames.ts";
import type { ReaderPool } from "../wire/frame_reader.ts";
import { PendingReply, type ReplyOwner } from "./replies.ts";
import { readRequest, type Request, RequestType, requestType } from "./request.ts";
import { BusSubscription, type SubscriptionOwner } from "./subscriber.ts";

/** The server as its sessions see it. */
export interface SessionHost {
  readonly table: MethodTable;
  readonly log: Log;
  readonly readers: ReaderPool;
  readonly fullQueues: FullQueues;
  readonly partialFrames: PartialFrames;
  /** A request or frame was refused. */
  onRefused(): void;
  /** A session has bytes to write: {@linkcode Session.flush} is called before the turn ends. */
  onDirty(session: Session): void;
  /** A session is over. */
  onGone(session: Session, reason: CloseReason): void;
}

/** `open` reads requests; `ending` only answers those it has; `closed` does nothing. */
type State = "open" | "ending" | "closed";

/** What a turn of handling frames ended with: wait for bytes, for the other clients, or for room. */
type Wait = "bytes" | "turn" | "room";

/** Bytes of payload that count as one more frame of a turn. */
const BYTES_PER_CREDIT = 16_384;

/** One client: reads its frames, runs their methods, and answers in order. */
export class Session
  implements ReplyOwner, SubscriptionOwner, OutboxOwner, QueueOwner, PartialFrameOwner {
  readonly outbox: Outbox;
  readonly #reader: FrameReader;
  #state: State = "open";
  #requests = 0;
  #reserved = 0;
  /** Frames until the others have their turn: kept from read to read, for what has come is read without one. */
  #credit = FRAMES_PER_TURN;
  /** Requests without an answer that are under way: they wait for nobody, and nobody for them. */
  #notifies = 0;
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

  /** Bytes that the client's socket has taken so far. */
  get taken(): number {
    return this.outbox.written;
  }

  /** Serves the client until nothing more is to be read from it. Never rejects. */
  async run(): Promise<void> {
    try {
      await this.#read();
    } catch (error) {
      this.#onConnectionError(error);
    }
    this.host.partialFrames.remove(this);
    // Only now is it sure that neither a read nor a view uses it any more.
    this.host.readers.give(this.#reader);
  }

  async #read(): Promise<void> {
    while (this.#state === "open") {
      const space = this.#reader.space();
      this.#reserve();
      const count = await this.conn.read(space);
      if (this.#state !== "open") return;
      if (count === null) return this.#onEndOfStream();
      this.#reader.filled(count);
      for (let wait = this.#handleFrames(); wait !== "bytes"; wait = this.#handleFrames()) {
        await (wait === "turn" ? new Promise<void>(nextTurn) : this.#room());
      }
    }
  }

  /** Reads nothing more and closes once what is under way has been answered; ends a subscription. */
  finish(): void {
    if (this.#subscription !== undefined) this.onEnd("the daemon stops");
    else this.#end();
  }

  /** Closes at once, for the reason that came first. */
  close(reason: CloseReason): void {
    if (this.#state === "closed") return;
    this.#state = "closed";
    this.#logClose(reason);
    this.#answers.clear();
    this.outbox.clear();
    try {
      this.conn.close();
    } catch (error) {
      // Closed by the runtime already.
      if (!isConnectionError(error)) throw error;
    }
    this.host.fullQueues.remove(this);
    this.host.onGone(this, reason);
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
    if (missed === "unread") this.closeAsSlow("it did not read for 10 s");
    else if (missed === "frame") {
      this.#abort(new BusError(BusErrorCode.TIMEOUT, "Cannot wait for a frame: it took over 5 s"));
    } else if (missed === "idle") this.close({ type: "idle" });
  }

  closeAsSlow(why: string): void {
    this.close({ type: "slow", why });
  }

  refuseFrame(error: BusError): void {
    this.host.log.warn("refused an incomplete frame", { client: this.id, error: error.message });
    this.#abort(error);
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

  onNotified(): void {
    this.#notifies--;
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

  onFull(): void {
    this.host.fullQueues.add(this);
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

  onTaken(): void {
    this.host.fullQueues.taken(this);
  }

  onDrained(): void {
    this.#proceed();
  }

  onWriteFailed(error: unknown): void {
    this.#onConnectionError(error);
  }

  /** The client reset the connection, or close() took a read back; anything else is a bug, which ends this client only. */
  #onConnectionError(error: unknown): void {
    if (this.#state === "closed") return;
    if (isConnectionError(error)) return this.close({ type: "left" });
    this.#logBug(error, "");
    this.close({ type: "fault" });
  }

  #onEndOfStream(): void {
    if (this.#reader.pending > 0 || this.#subscription !== undefined) this.close({ type: "left" });
    else this.#end();
  }

  /** Says how much memory an incomplete frame takes, which may cost the one that has waited longest its own. */
  #reserve(): void {
    const { reserved } = this.#reader;
    if (reserved === 0 && this.#reserved === 0) return;
    this.#reserved = reserved;
    this.host.partialFrames.progress(this, reserved);
  }

  #end(): void {
    if (this.#state === "open") this.#state = "ending";
    this.#proceed();
  }

  /** After something was settled or written: goes on reading, or closes when nothing is left to do. */
  #proceed(): void {
    if (this.#state === "ending" && this.#answers.length === 0 && this.outbox.queued === 0) {
      this.close({ type: "done" });
    } else if (this.#wake !== undefined && (this.#state !== "open" || !this.#isFull())) {
      this.#wake();
    }
  }

  #isFull(): boolean {
    return this.#answers.length + this.#notifies >= MAX_PENDING_ANSWERS ||
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
    while (this.#state === "open") {
      if (this.#isFull()) return "room";
      if (this.#credit <= 0) {
        this.#credit = FRAMES_PER_TURN;
        return "turn";
      }
      const frame = this.#nextFrame();
      if (frame === undefined) return "bytes";
      this.#credit -= 1 + frame.payload.length / BYTES_PER_CREDIT;
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
        throw new BusError(
          BusErrorCode.INVALID,
          "Cannot take request: its connection is a subscription's",
        );
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
    if (notify) this.#notifies++;
    else this.#answers.push(reply);
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

  #logClose(reason: CloseReason): void {
    this.host.log[closeLevel(reason)]("closed a client", {
      client: this.id,
      reason: reason.type,
      why: "why" in reason ? reason.why : undefined,
      method: this.#subscription?.method,
      label: this.#subscription?.label || undefined,
      queued: this.queued,
    });
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
