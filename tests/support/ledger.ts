import type { Bytes } from "../../src/base/bytes.ts";
import type { AwsIotCore } from "./aws_iot_core.ts";

/** What became of the messages of a topic. */
interface Account {
  readonly arrived: Set<number>;
  /** Numbers that the client was told are accepted, and that have not arrived. */
  readonly missing: Set<number>;
  accepted: number;
  issued: number;
  /** The highest number that arrived. */
  highest: number;
}

/** What a {@linkcode Ledger} found. */
export interface Tally {
  readonly accepted: number;
  /** Different messages that arrived, whether their client got its answer or not. */
  readonly delivered: number;
  /** Accepted and not arrived so far. */
  readonly missing: number;
  readonly duplicates: number;
  /** The most duplicates that came over one connection, and so after one crash or cut. */
  readonly mostDuplicates: number;
  /** First transmissions that came behind a later one of their topic. */
  readonly disorder: number;
  /** Connections that were looked at. */
  readonly connections: number;
}

/** Keeps the books of numbered messages: which were accepted, which arrived, how often and in which order. */
export class Ledger {
  /** What AWS IoT Core would have objected to. */
  readonly violations: string[] = [];
  readonly #accounts = new Map<string, Account>();
  readonly #bytes: number;
  #duplicates = 0;
  #mostDuplicates = 0;
  #sinceConnect = 0;
  #disorder = 0;
  #connections = 0;

  /** @param payloadBytes Size of each payload, 16 or more. */
  constructor(payloadBytes = 128) {
    this.#bytes = payloadBytes;
  }

  /** The next message of a topic. */
  issue(topic: string): { readonly number: number; readonly payload: Bytes } {
    const number = this.#account(topic).issued++;
    return { number, payload: this.#payload(topic, number) };
  }

  /** A client was told that its message is accepted. */
  accept(topic: string, number: number): void {
    const account = this.#account(topic);
    account.accepted++;
    if (!account.arrived.has(number)) account.missing.add(number);
  }

  /** Books what arrived at a stand-in since the last time, and lets it forget that. Throws for what nobody published. */
  absorb(core: AwsIotCore): void {
    const connects = core.received("connect").map(({ at }) => at);
    const published = core.published.slice();
    this.violations.push(...core.violations);
    core.clearRecords();
    for (const { at, topic, payload } of published) {
      while (connects.length > 0 && connects[0]! <= at) {
        connects.shift();
        this.#connected();
      }
      this.#arrived(topic, payload);
    }
    for (const _ of connects) this.#connected();
  }

  /** The figures so far. */
  tally(): Tally {
    let accepted = 0;
    let delivered = 0;
    let missing = 0;
    for (const account of this.#accounts.values()) {
      accepted += account.accepted;
      delivered += account.arrived.size;
      missing += account.missing.size;
    }
    return {
      accepted,
      delivered,
      missing,
      duplicates: this.#duplicates,
      mostDuplicates: Math.max(this.#mostDuplicates, this.#sinceConnect),
      disorder: this.#disorder,
      connections: this.#connections,
    };
  }

  /** The first few that were accepted and have not arrived, for a message. */
  someMissing(): string[] {
    return [...this.#accounts].flatMap(([topic, { missing }]) =>
      [...missing].slice(0, 3).map((number) => `${topic} ${number}`)
    );
  }

  #connected(): void {
    this.#connections++;
    this.#mostDuplicates = Math.max(this.#mostDuplicates, this.#sinceConnect);
    this.#sinceConnect = 0;
  }

  #arrived(topic: string, payload: Uint8Array): void {
    const account = this.#accounts.get(topic);
    const number = Number(new TextDecoder().decode(payload.subarray(0, 12)));
    const isKnown = account !== undefined && number < account.issued &&
      this.#payload(topic, number).every((byte, index) => payload[index] === byte);
    if (!isKnown || payload.length !== this.#bytes) {
      throw new Error(`a message arrived that nobody published: ${topic} ${number}`);
    }
    if (account.arrived.has(number)) {
      this.#duplicates++;
      this.#sinceConnect++;
      return;
    }
    account.arrived.add(number);
    account.missing.delete(number);
    if (number < account.highest) this.#disorder++;
    account.highest = Math.max(account.highest, number);
  }

  #account(topic: string): Account {
    let account = this.#accounts.get(topic);
    if (account === undefined) {
      account = { arrived: new Set(), missing: new Set(), accepted: 0, issued: 0, highest: -1 };
      this.#accounts.set(topic, account);
    }
    return account;
  }

  /** The number in 12 digits, and a filling that is its own for each message. */
  #payload(topic: string, number: number): Bytes {
    const bytes = new Uint8Array(this.#bytes);
    new TextEncoder().encodeInto(String(number).padStart(12, "0"), bytes);
    const seed = number * 31 + topic.length * 7 + topic.charCodeAt(topic.length - 1);
    for (let index = 12; index < bytes.length; index++) bytes[index] = (seed + index * 13) & 0xff;
    return bytes;
  }
}
