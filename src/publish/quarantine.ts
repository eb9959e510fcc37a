import type { Clock, Timer } from "../base/clock.ts";
import type { Spool } from "../spool/spool.ts";
import type { Quarantined } from "../spool/storage.ts";
import type { SendGate } from "./send_gate.ts";
import type { Condemned } from "./standings.ts";
import type { Subject } from "./unproven.ts";

/** How the reason of a message begins that was never tried itself. */
const UNTRIED = "its topic is refused: ";

/** Why a message is in quarantine whose topic is refused for another one. */
export function untried(reason: string): string {
  return UNTRIED + reason;
}

/** What a {@linkcode Quarantine} works on. */
export interface QuarantineOptions {
  readonly spool: Pick<Spool, "stats" | "release" | "drop">;
  /** Of connection 0. */
  readonly gate: Pick<SendGate, "onCleared" | "onCondemned" | "suspect">;
  readonly clock: Clock;
}

/** The messages that are kept, but not sent, because the broker closes the connection for them or their topic. */
export class Quarantine {
  readonly #options: QuarantineOptions;
  /** Run until the refusal of a topic is over. */
  readonly #refusals = new Map<string, Timer>();

  constructor(options: QuarantineOptions) {
    this.#options = options;
    options.gate.onCondemned = (subject, refusal) => this.#onCondemned(subject, refusal);
    options.gate.onCleared = (subject) => this.#onCleared(subject);
  }

  /** Up to `limit` of them, those after `afterSeq`, oldest first. */
  list(afterSeq: number, limit: number): readonly Quarantined[] {
    return this.#all().filter(({ seq }) => seq > afterSeq).slice(0, limit);
  }

  /** Sends messages after all, each alone in flight; returns how many there are. `undefined`: all. */
  retry(seqs: readonly number[] | undefined): number {
    const chosen = this.#chosen(seqs);
    for (const { topic } of chosen) this.#options.gate.suspect(topic);
    this.#options.spool.release(chosen.map(({ seq }) => seq));
    return chosen.length;
  }

  /** Removes messages for good; returns how many there were. `undefined`: all. */
  drop(seqs: readonly number[] | undefined): number {
    const chosen = this.#chosen(seqs);
    this.#options.spool.drop(chosen.map(({ seq }) => seq));
    return chosen.length;
  }

  /** Tries nothing any more. */
  stop(): void {
    for (const timer of this.#refusals.values()) timer.cancel();
    this.#refusals.clear();
  }

  /** When its refusal is over, a topic is tried again by one message that was never tried itself. */
  #onCondemned({ kind, name }: Subject, { since, until }: Condemned): void {
    if (kind !== "topic") return;
    this.#refusals.get(name)?.cancel();
    const onOver = (): void => {
      this.#refusals.delete(name);
      this.#options.spool.release(this.#untried(name).slice(0, 1));
    };
    this.#refusals.set(name, this.#options.clock.after(until - since, onOver));
  }

  /** The broker takes the topic: what waited only because of it goes. */
  #onCleared({ kind, name }: Subject): void {
    if (kind !== "topic") return;
    this.#refusals.get(name)?.cancel();
    this.#refusals.delete(name);
    this.#options.spool.release(this.#untried(name));
  }

  #untried(name: string): number[] {
    return this.#all().filter(({ topic, reason }) => topic === name && reason.startsWith(UNTRIED))
      .map(({ seq }) => seq);
  }

  #chosen(seqs: readonly number[] | undefined): readonly Quarantined[] {
    if (seqs === undefined) return this.#all();
    const wanted = new Set(seqs);
    return this.#all().filter(({ seq }) => wanted.has(seq));
  }

  #all(): readonly Quarantined[] {
    return this.#options.spool.stats().quarantined;
  }
}
