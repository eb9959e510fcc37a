import type { Clock } from "../base/clock.ts";
import type { Log } from "../base/log.ts";
import { type GateCounters, SendGate } from "./send_gate.ts";
import type { Condemned, Suspect } from "./standings.ts";
import type { Subject } from "./unproven.ts";

/** The gates of all connections, by their number: what one finds counts for all. */
export class SendGates {
  readonly #gates = new Map<number, SendGate>();
  readonly #clock: Clock;
  readonly #log: Log;

  constructor(clock: Clock, log: Log) {
    this.#clock = clock;
    this.#log = log;
  }

  /** The gate of a connection, which keeps what it found when the connection is closed. */
  of(index: number): SendGate {
    const known = this.#gates.get(index);
    if (known !== undefined) return known;
    const gate = new SendGate(this.#clock, this.#log);
    this.#gates.set(index, gate);
    return gate;
  }

  /** The figures of all together. */
  get counters(): GateCounters {
    const all = [...this.#gates.values()].map(({ counters }) => counters);
    return {
      trials: all.reduce((sum, { trials }) => sum + trials, 0),
      condemned: all.reduce((sum, { condemned }) => sum + condemned, 0),
    };
  }

  /** Suspect and condemned topics and filters. */
  standings(): { readonly subject: Subject; readonly standing: Suspect | Condemned }[] {
    return [...this.#gates.values()].flatMap((gate) => gate.standings());
  }

  /** Why a topic or filter is refused now, if it is. */
  refusal(subject: Subject): Condemned | undefined {
    for (const gate of this.#gates.values()) {
      const refusal = gate.refusal(subject);
      if (refusal !== undefined) return refusal;
    }
    return undefined;
  }

  /** Policies or credentials may have changed: what is refused is tried again. */
  retryRefused(): void {
    for (const gate of this.#gates.values()) gate.retryRefused();
  }

  /** Does nothing more. */
  stop(): void {
    for (const gate of this.#gates.values()) gate.stop();
  }
}
