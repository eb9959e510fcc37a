import type { Bytes } from "../base/bytes.ts";
import type { BusError } from "../base/errors.ts";
import { ACCEPTED, asBusError, errorFrame } from "./replies.ts";
import { MAX_QUEUED_BYTES } from "./limits.ts";
import type { Subscriber } from "./methods.ts";
import type { Outbox } from "./outbox.ts";

/** The session as its subscription sees it. */
export interface SubscriptionOwner {
  readonly id: number;
  readonly outbox: Outbox;
  /** It was accepted or refused: it can go once it is at the head of the queue. */
  onSettled(): void;
  /** The subscribe request was refused. */
  onRefused(error: unknown, method: string, notify: boolean): void;
  /** Frames were queued. */
  onSend(): void;
  /** The queue is at its bound. */
  onFull(): void;
  /** The daemon ends the subscription; what is queued is still written. */
  onEnd(reason: string): void;
}

/** `asked` until accepted; `accepted` until its turn behind earlier answers; `active` while values go straight to the outbox. */
type State = "asked" | "accepted" | "active" | "over";

/** One subscription: the last thing that its connection carries. */
export class BusSubscription implements Subscriber {
  label = "";
  /** The frame of its answer, `undefined` while under way. */
  frame: Bytes | undefined = undefined;
  /** Whether the connection ends after this answer. */
  last = false;
  #state: State = "asked";
  #held: Bytes[] = [];
  #heldBytes = 0;
  #listeners: (() => void)[] = [];

  constructor(private readonly owner: SubscriptionOwner, readonly method: string) {}

  get id(): number {
    return this.owner.id;
  }

  get queuedBytes(): number {
    return this.#heldBytes + (this.#state === "active" ? this.owner.outbox.queued : 0);
  }

  /** Bytes that wait until the client has been told that it is subscribed. */
  get heldBytes(): number {
    return this.#heldBytes;
  }

  /** Whether the client has been told that it is subscribed. */
  get active(): boolean {
    return this.#state === "active";
  }

  accept(): void {
    if (this.#state !== "asked") return;
    this.#state = "accepted";
    this.frame = ACCEPTED;
    this.owner.onSettled();
  }

  refuse(error: BusError): void {
    this.fail(error);
  }

  /** Ends with anything that was thrown. */
  fail(error: unknown): void {
    if (this.#state === "over" || this.last) return;
    this.owner.onRefused(error, this.method, false);
    const frame = errorFrame(asBusError(error));
    if (this.#state === "active") {
      this.owner.outbox.push(frame);
      this.owner.onEnd("refused after it was accepted");
      return;
    }
    this.frame = frame;
    this.last = true;
    this.owner.onSettled();
  }

  send(frame: Bytes): void {
    if (this.#state === "over" || this.last) return;
    if (this.#state === "active") {
      this.owner.outbox.push(frame);
      this.owner.onSend();
    } else {
      this.#held.push(frame);
      this.#heldBytes += frame.length;
    }
    if (this.queuedBytes < MAX_QUEUED_BYTES) return;
    // What is waited for comes behind messages, which are held back now.
    this.accept();
    this.owner.onFull();
  }

  close(reason: string): void {
    if (this.#state !== "over") this.owner.onEnd(reason);
  }

  onClose(fn: () => void): void {
    if (this.#state === "over") fn();
    else this.#listeners.push(fn);
  }

  /** `accepted` has been queued: what was held goes behind it. */
  activate(): void {
    this.#state = "active";
    for (const frame of this.#held) this.owner.outbox.push(frame);
    this.#held = [];
    this.#heldBytes = 0;
  }

  /** The connection is gone or going; throws nothing, as a listener's bug must not keep the others from hearing. */
  over(onBug: (error: unknown) => void): void {
    if (this.#state === "over") return;
    this.#state = "over";
    this.#held = [];
    this.#heldBytes = 0;
    const listeners = this.#listeners;
    this.#listeners = [];
    for (const fn of listeners) {
      try {
        fn();
      } catch (error) {
        onBug(error);
      }
    }
  }
}
