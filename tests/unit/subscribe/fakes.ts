import type { BusError } from "../../../src/base/errors.ts";
import type { Bytes } from "../../../src/base/bytes.ts";
import type { FilterConnection, FilterPool } from "../../../src/subscribe/filter_assignment.ts";
import type { FilterGate } from "../../../src/subscribe/filter_sync.ts";
import type { MessageSubscriber } from "../../../src/subscribe/subscriptions.ts";
import type { Qos } from "../../../src/aws/limits.ts";
import type { SubscribeResult } from "../../../src/mqtt/link.ts";
import { decodeFrame } from "../../../src/wire/frame.ts";
import { decodeValue } from "../../../src/wire/object.ts";

/** A connection whose broker is the test; answers each packet at once, or when told to. */
export class FakeConnection implements FilterConnection {
  readonly status = {
    clientId: "thing",
    connected: false,
    since: undefined,
    address: undefined,
    inFlight: 0,
    lastError: undefined as string | undefined,
  };
  stopped = false;
  readonly packets: string[] = [];
  readonly refused = new Set<string>();
  /** SUBACK codes by filter. */
  readonly codes = new Map<string, number>();
  hold = false;
  readonly #held: (() => void)[] = [];
  readonly #lost: (() => void)[] = [];

  constructor(readonly index: number) {}

  subscribe(filters: readonly string[], qos: Qos): Promise<readonly SubscribeResult[] | undefined> {
    this.packets.push(`subscribe ${filters.join(" ")} qos ${qos}`);
    return this.#answer(filters.map((filter) => {
      const code = this.codes.get(filter);
      if (code !== undefined) return { code, reason: "" };
      const refused = this.refused.has(filter);
      return { code: refused ? 0x87 : qos, reason: refused ? "Not authorized" : "" };
    }));
  }

  unsubscribe(filters: readonly string[]): Promise<readonly SubscribeResult[] | undefined> {
    this.packets.push(`unsubscribe ${filters.join(" ")}`);
    return this.#answer(filters.map(() => ({ code: 0, reason: "" })));
  }

  /** The broker answers pings even when it holds back everything else. */
  ping(done: () => void): void {
    done();
  }

  reconnect(reason: string): void {
    this.packets.push(`reconnect: ${reason}`);
  }

  /** Answers what was held back, and from now on at once. */
  release(): void {
    this.hold = false;
    this.#lost.length = 0;
    for (const answer of this.#held.splice(0)) answer();
  }

  /** What was held back is never answered: the link is gone. */
  lose(): void {
    this.#held.length = 0;
    for (const lost of this.#lost.splice(0)) lost();
  }

  #answer<T>(value: T): Promise<T | undefined> {
    if (!this.hold) return Promise.resolve(value);
    return new Promise((resolve) => {
      this.#held.push(() => resolve(value));
      this.#lost.push(() => resolve(undefined));
    });
  }
}

/** A pool that keeps what it made, in order. */
export class FakePool implements FilterPool {
  constructor(readonly made: FakeConnection[] = []) {}

  open(index: number): FakeConnection {
    const connection = new FakeConnection(index);
    this.made.push(connection);
    return connection;
  }

  close(index: number): void {
    const connection = this.made.findLast((connection) => connection.index === index);
    if (connection !== undefined) connection.stopped = true;
  }
}

/** A client of the bus. */
export class FakeSink implements MessageSubscriber {
  /** `asked` until it was answered: `accepted`, a code, or closed with a reason. */
  is: string = "asked";
  label = "";
  readonly topics: string[] = [];
  readonly #onClose: (() => void)[] = [];

  constructor(readonly id: number = 0) {}

  accept(): void {
    this.is = "accepted";
  }

  refuse(error: BusError): void {
    this.is = error.reason === undefined ? `${error.code}` : `${error.code} ${error.reason}`;
    this.leave();
  }

  send(frame: Bytes): void {
    const value = decodeValue(decodeFrame(frame).payload);
    if (!(value instanceof Map)) throw new Error("a message must be a map");
    this.topics.push(new TextDecoder().decode(value.get("topic") as Uint8Array));
  }

  close(reason: string): void {
    this.is = `closed: ${reason}`;
    this.leave();
  }

  onClose(fn: () => void): void {
    this.#onClose.push(fn);
  }

  /** The client hangs up. */
  leave(): void {
    for (const fn of this.#onClose.splice(0)) fn();
  }
}

/** Lets everything happen that waits for nothing but promises. */
export async function settle(): Promise<void> {
  for (let i = 0; i < 100; i++) await Promise.resolve();
}

/** A gate that lets every filter through. */
export function openGate(): FilterGate {
  return {
    onFilterChange: () => {},
    demand: () => false,
    ask: () => "send",
    wroteFilters: () => 0,
    answered: () => {},
    unanswered: () => [],
  };
}
