import type { Condemned } from "./standings.ts";
import type { SendGate } from "./send_gate.ts";
import type { Subject } from "./unproven.ts";

/** What can be queued: a message of some topic. */
interface Queued {
  readonly topic: string;
  /** Bytes. */
  readonly size: number;
}

/** Where messages come from, and what becomes of those that are not sent. */
export interface GatedQueueOptions<T> {
  readonly gate: Pick<SendGate, "ask" | "demand" | "isCalm" | "phase">;
  /** The first message, which stays. */
  readonly peek: () => T | undefined;
  /** Takes the first message out. */
  readonly shift: () => void;
  /** The spool's number of a message of QoS 1. */
  readonly seqOf: (message: T) => number | undefined;
  /** Whether a message is over, which is dealt with then. */
  readonly isOver: (message: T) => boolean;
  /** A message's topic is refused. */
  readonly onRefused: (message: T, refusal: Condemned) => void;
}

/** Bytes of messages that may wait for the trial of their topic while others are looked at. */
export const MAX_HELD_BYTES = 1_048_576;

/**
 * Messages in order, where those of a suspect topic let the others pass: the topic keeps its own order, and its first message is the one
 * that is tried.
 */
export class GatedQueue<T extends Queued> {
  readonly #options: GatedQueueOptions<T>;
  readonly #held = new Map<string, T[]>();
  #heldBytes = 0;
  /** Were held, and go before what comes from the source. */
  #released: T[] = [];
  #phase: unknown;
  /** Takes out what was given last. */
  #take: () => void = () => {};
  readonly #takeReleased = (): void => void this.#released.shift();

  constructor(options: GatedQueueOptions<T>) {
    this.#options = options;
  }

  /** The next message that is not suspect and may be sent now; it stays until {@linkcode shift}. */
  peek(): T | undefined {
    if (this.#phase !== this.#options.gate.phase) this.#reconsider();
    for (let message; (message = this.#first()) !== undefined;) {
      if (this.#options.isOver(message)) {
        this.#take();
        continue;
      }
      if (this.#options.gate.isCalm) return message;
      const isBehind = this.#held.has(message.topic);
      const admission = isBehind || this.#isSuspect(message) ? "held" : this.#ask(message);
      if (admission === "send") return message;
      if (typeof admission === "object") {
        this.#take();
        this.#options.onRefused(message, admission);
      } else if (admission === "held" && this.#heldBytes < MAX_HELD_BYTES) {
        this.#take();
        this.#hold(message);
      } else break;
    }
    return undefined;
  }

  /** The first message of a suspect topic, when it is its turn to be tried; it stays until {@linkcode shift}. */
  peekSuspect(): T | undefined {
    if (this.#held.size === 0) return undefined;
    for (const [topic, messages] of this.#held) {
      const head = this.#head(messages);
      if (head === undefined) {
        this.#held.delete(topic);
        continue;
      }
      const admission = this.#ask(head);
      // `send`: the detector has forgotten the topic, of which it knows so many at most.
      if (admission !== "alone" && admission !== "send") continue;
      this.#take = () => {
        messages.shift();
        this.#heldBytes -= head.size;
        if (messages.length === 0) this.#held.delete(topic);
      };
      return head;
    }
    return undefined;
  }

  /** Takes out what {@linkcode peek} or {@linkcode peekSuspect} gave. */
  shift(): void {
    this.#take();
  }

  /** Forgets everything that was taken from the source. */
  clear(): void {
    this.#held.clear();
    this.#released = [];
    this.#heldBytes = 0;
  }

  #first(): T | undefined {
    const [released] = this.#released;
    this.#take = released === undefined ? this.#options.shift : this.#takeReleased;
    return released ?? this.#options.peek();
  }

  /** The first of a topic's messages that is not over. */
  #head(messages: T[]): T | undefined {
    for (let head; (head = messages[0]) !== undefined;) {
      if (!this.#options.isOver(head)) return head;
      messages.shift();
      this.#heldBytes -= head.size;
    }
    return undefined;
  }

  /** What may be written has changed: a topic may be cleared or refused now, or has to ask for its trial again. */
  #reconsider(): void {
    this.#phase = this.#options.gate.phase;
    for (const [topic, messages] of [...this.#held]) {
      const head = this.#head(messages);
      if (head !== undefined && this.#isSuspect(head)) continue;
      this.#held.delete(topic);
      for (const { size } of messages) this.#heldBytes -= size;
      this.#released.push(...messages);
    }
  }

  #hold(message: T): void {
    const held = this.#held.get(message.topic);
    if (held === undefined) this.#held.set(message.topic, [message]);
    else held.push(message);
    this.#heldBytes += message.size;
  }

  /** Whether its topic is suspect; then there is a trial for it soon. */
  #isSuspect(message: T): boolean {
    return this.#options.gate.demand(subjectOf(message), this.#options.seqOf(message));
  }

  #ask(message: T): ReturnType<SendGate["ask"]> {
    return this.#options.gate.ask(subjectOf(message), this.#options.seqOf(message));
  }
}

function subjectOf({ topic }: Queued): Subject {
  return { kind: "topic", name: topic };
}
