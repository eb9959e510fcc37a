/**
 * A model of a daemon, a broker and a network, in virtual time, around the real {@linkcode PoisonDetector}: random histories of good and
 * bad packets against a broker that handles packets in order and closes for the bad ones.
 */

import { PoisonDetector } from "../../../src/publish/poison_detector.ts";
import type { Subject } from "../../../src/publish/unproven.ts";
import { Random } from "../../support/random.ts";

/** What lies between daemon and broker. */
export interface Network {
  /** The link is cut every so many ms on average; `undefined`: never. */
  readonly cutEveryMs: number | undefined;
  /** From a packet to its answer, in ms, at most. */
  readonly rttMs: number;
}

export const GOOD_NETWORK: Network = { cutEveryMs: undefined, rttMs: 200 };
export const BAD_NETWORK: Network = { cutEveryMs: 3_000, rttMs: 10 };

/** One run of the model. */
export interface History extends Network {
  readonly seed: number;
}

/** How one history went. */
export interface Outcome {
  /** Good topics and filters that were condemned. */
  readonly innocents: readonly string[];
  /** Bad topics and filters that still had packets to send at the end and were not condemned. */
  readonly missed: readonly string[];
  /** Good messages that were never sent or, at QoS 1, never acknowledged, and good filters that were never granted. */
  readonly lost: readonly string[];
  /** Bad topics and filters. */
  readonly culprits: number;
  /** Closes by the broker. */
  readonly closes: number;
  /** Of these, the most for one topic or filter. */
  readonly mostForOne: number;
  /** Cuts by the network. */
  readonly cuts: number;
  /** The longest a good QoS 1 message waited for its PUBACK, in ms. */
  readonly longestMs: number;
}

interface Message {
  readonly seq: number;
  readonly topic: string;
  readonly qos: 0 | 1;
  readonly acceptedAt: number;
}

type Packet =
  | { readonly type: "publish"; readonly message: Message; readonly order: number | undefined }
  | { readonly type: "subscribe"; readonly filters: readonly string[]; readonly order: number }
  | { readonly type: "ping"; readonly order: number };

/** Link numbers tell late events of an old link apart. */
interface Link {
  closedByBroker: boolean;
}

const HORIZON_MS = 240_000;
const TOPIC = (name: string): Subject => ({ kind: "topic", name });
const FILTER = (name: string): Subject => ({ kind: "filter", name });

/** Runs one history to its end. */
export function run({ seed, cutEveryMs, rttMs }: History): Outcome {
  return new Model(new Random(seed), cutEveryMs, rttMs).run();
}

class Model {
  readonly #detector = new PoisonDetector();
  readonly #events = new Queue();
  readonly #rttMs: number;
  /** QoS 1 messages in flight at most. */
  readonly #window: number;
  /** When the policy changes, and topics that turn are forbidden. */
  readonly #turnsAt: number;
  /** How long the broker looks a topic up before it closes, in ms; what is behind is answered meanwhile. */
  readonly #lagMs: number;
  readonly #reasons: "none" | "stated";
  readonly #spool: Message[] = [];
  readonly #lane: Message[] = [];
  readonly #inFlight = new Map<number, Message>();
  readonly #wanted = new Set<string>();
  readonly #made = new Set<string>();
  #subscribing = false;
  readonly #closesFor = new Map<string, number>();
  #link: Link | undefined;
  #lastConnect = -Infinity;
  #attempt = 0;
  #seq = 0;
  #closes = 0;
  #cuts = 0;
  #longestMs = 0;
  readonly #condemned = new Set<string>();
  #now = 0;

  constructor(readonly random: Random, readonly cutEveryMs: number | undefined, rttMs: number) {
    this.#rttMs = 1 + random.int(rttMs);
    this.#window = random.pick([4, 100]);
    this.#turnsAt = random.int(30_000);
    this.#lagMs = random.pick([0, 0, random.int(45)]);
    this.#reasons = random.pick(["none", "stated"]);
  }

  run(): Outcome {
    const { random } = this;
    const good = names("good", 1 + random.int(8));
    // Some are forbidden from the start, some only later.
    const bad = [...names("bad", random.int(4)), ...names("turns", random.int(2))];
    const goodFilters = names("good-filter", random.int(12));
    const badFilters = names("bad-filter", random.int(2));
    for (const filter of [...goodFilters, ...badFilters]) {
      this.#at(random.int(5_000), () => this.#wanted.add(filter));
    }
    // Each topic in a manner of its own: a burst at once, or a stream.
    for (const topic of [...good, ...bad]) {
      const qos = random.pick([0, 1] as const);
      const count = 1 + random.int(50);
      const from = random.pick([0, 0, random.int(20_000)]);
      const gapMs = random.pick([0, 5, 50, 400, 1_500]);
      for (let n = 0; n < count; n++) {
        this.#at(from + n * gapMs, () => this.#accept(topic, qos));
      }
    }
    this.#at(0, () => this.#connect());
    if (this.cutEveryMs !== undefined) this.#planCut(60_000);
    // A broker that closes for a cause of its own, and says so, accuses nobody.
    const stated = random.pick([0, 0, 0, 5]);
    for (let n = 0; n < stated; n++) {
      const code = random.pick([0x89, 0x8b, 0x8e, 0x98, 0x9c]);
      this.#at(random.int(60_000), () => this.#close({ by: "peer", reason: "", code }));
    }
    this.#events.drain(HORIZON_MS, (at, fn) => {
      this.#now = at;
      fn();
      this.#after();
    });
    const left = [...this.#spool, ...this.#lane].map(({ topic }) => topic);
    const ungranted = [...this.#wanted].filter((filter) => !this.#made.has(filter));
    const waiting = [...left, ...ungranted];
    return {
      innocents: [...this.#condemned].filter((name) => !isBad(name)),
      missed: waiting.filter(isBad),
      lost: waiting.filter((name) => !isBad(name)),
      culprits: bad.length + badFilters.length,
      closes: this.#closes,
      mostForOne: Math.max(0, ...this.#closesFor.values()),
      cuts: this.#cuts,
      longestMs: this.#longestMs,
    };
  }

  #accept(topic: string, qos: 0 | 1): void {
    if (this.#detector.refusal(TOPIC(topic), this.#now) !== undefined) return;
    if (qos === 0 && this.#link === undefined) return;
    const message = { seq: ++this.#seq, topic, qos, acceptedAt: this.#now };
    (qos === 1 ? this.#spool : this.#lane).push(message);
  }

  /** What the daemon does at the end of each turn: innocents first, then whoever waits for a trial. */
  #after(): void {
    let before: unknown;
    while (before !== this.#detector.phase) {
      before = this.#detector.phase;
      this.#detector.tick(this.#now);
      this.#pump();
    }
    const fenceAt = this.#detector.fenceAt(this.#now);
    if (fenceAt !== undefined && fenceAt <= this.#now) {
      this.#write({ type: "ping", order: this.#detector.wroteFence(this.#now) });
    } else if (fenceAt !== undefined) this.#at(fenceAt - this.#now, () => {});
    const tickAt = this.#detector.tickAt;
    if (tickAt !== undefined && tickAt > this.#now) this.#at(tickAt - this.#now, () => {});
  }

  #pump(): void {
    if (this.#link === undefined) return;
    this.#subscribe();
    this.#publishQos1();
    this.#publishQos0();
  }

  #subscribe(): void {
    if (this.#subscribing) return;
    const packet: string[] = [];
    for (const filter of this.#wanted) {
      if (this.#made.has(filter)) continue;
      const admission = this.#detector.ask(FILTER(filter), undefined, this.#now);
      if (typeof admission === "object") this.#wanted.delete(filter);
      else if (admission === "alone" && packet.length === 0) {
        packet.push(filter);
        break;
      } else if (admission === "send" && packet.length < 8) packet.push(filter);
    }
    if (packet.length === 0) return;
    this.#subscribing = true;
    const order = this.#detector.wroteFilters(packet, this.#now);
    this.#write({ type: "subscribe", filters: packet, order });
  }

  #publishQos1(): void {
    const waiting = new Set<string>();
    for (const message of this.#spool) {
      if (this.#inFlight.size >= this.#window) return;
      const { seq, topic } = message;
      if (this.#inFlight.has(seq) || waiting.has(topic)) continue;
      const admission = this.#detector.ask(TOPIC(topic), seq, this.#now);
      if (admission === "wait" || admission === "held") waiting.add(topic);
      else if (typeof admission === "object") this.#quarantine(topic);
      else {
        this.#inFlight.set(seq, message);
        const order = this.#detector.wroteQos1(topic, seq, 100, this.#now);
        this.#write({ type: "publish", message, order });
      }
    }
  }

  #publishQos0(): void {
    const waiting = new Set<string>();
    for (const message of [...this.#lane]) {
      const { topic } = message;
      if (waiting.has(topic)) continue;
      const admission = this.#detector.ask(TOPIC(topic), undefined, this.#now);
      if (admission === "wait" || admission === "held") {
        waiting.add(topic);
        continue;
      }
      this.#lane.splice(this.#lane.indexOf(message), 1);
      if (typeof admission === "object") continue;
      this.#detector.wroteQos0(topic, 100, this.#now);
      this.#write({ type: "publish", message, order: undefined });
    }
  }

  /** The topic is condemned: what waits on it leaves the spool. */
  #quarantine(topic: string): void {
    for (let n = this.#spool.length - 1; n >= 0; n--) {
      if (this.#spool[n]!.topic === topic) this.#spool.splice(n, 1);
    }
  }

  #write(packet: Packet): void {
    const link = this.#link!;
    this.#at(this.#rttMs / 2, () => this.#arrive(link, packet));
  }

  /** The broker gets a packet. */
  #arrive(link: Link, packet: Packet): void {
    if (this.#link !== link || link.closedByBroker) return;
    const bad = subjectsOf(packet).find((name) => this.#isForbidden(name));
    if (bad !== undefined) {
      this.#at(this.#lagMs, () => this.#closeFor(link, bad, packet.type));
      return;
    }
    if (packet.type === "publish" && packet.message.qos === 0) return;
    this.#at(this.#rttMs / 2, () => this.#link === link && this.#answer(packet));
  }

  /** The broker closes for a packet. */
  #closeFor(link: Link, bad: string, type: Packet["type"]): void {
    if (this.#link !== link || link.closedByBroker) return;
    link.closedByBroker = true;
    const code = this.#reasons === "none" ? undefined : type === "publish" ? 0x90 : 0x8f;
    this.#at(this.#rttMs / 2, () => {
      if (this.#link !== link) return;
      this.#closes++;
      this.#closesFor.set(bad, (this.#closesFor.get(bad) ?? 0) + 1);
      this.#close({ by: "peer", reason: "", ...code === undefined ? {} : { code } });
    });
  }

  #isForbidden(name: string): boolean {
    return name.startsWith("turns") ? this.#now >= this.#turnsAt : isBad(name);
  }

  #answer(packet: Packet): void {
    if (packet.order !== undefined) this.#detector.answered(packet.order, this.#now);
    if (packet.type === "subscribe") {
      this.#subscribing = false;
      for (const filter of packet.filters) this.#made.add(filter);
    } else if (packet.type === "publish") {
      const { seq, acceptedAt } = packet.message;
      this.#inFlight.delete(seq);
      const at = this.#spool.findIndex((message) => message.seq === seq);
      if (at >= 0) this.#spool.splice(at, 1);
      this.#longestMs = Math.max(this.#longestMs, this.#now - acceptedAt);
    }
  }

  #close(end: { by: "peer"; reason: string; code?: number }): void {
    if (this.#link === undefined) return;
    this.#link = undefined;
    this.#subscribing = false;
    this.#inFlight.clear();
    // The session is gone now and then.
    if (this.random.int(3) === 0) this.#made.clear();
    const { culprit, trial } = this.#detector.closed(end, this.#now);
    if (culprit !== undefined) {
      const { name } = culprit.subject;
      this.#condemned.add(name);
      this.#quarantine(name);
      this.#wanted.delete(name);
    }
    const backoff = trial ? 0 : this.random.float() * Math.min(128_000, 1_000 * 2 ** this.#attempt);
    this.#attempt = trial ? 0 : this.#attempt + 1;
    const wait = Math.max(backoff, this.#lastConnect + 1_000 - this.#now, 0);
    this.#at(wait + this.#rttMs, () => this.#connect());
  }

  #connect(): void {
    this.#lastConnect = this.#now;
    const link: Link = { closedByBroker: false };
    this.#link = link;
    this.#detector.up(this.#now);
    this.#at(30_000, () => {
      if (this.#link === link) this.#attempt = 0;
    });
  }

  #planCut(until: number): void {
    const wait = -Math.log(1 - this.random.float()) * this.cutEveryMs!;
    if (this.#now + wait > until) return;
    this.#at(wait, () => {
      if (this.#link !== undefined) this.#cuts++;
      this.#close({ by: "peer", reason: "" });
      this.#planCut(until);
    });
  }

  #at(wait: number, fn: () => void): void {
    this.#events.push(this.#now + wait, fn);
  }
}

function isBad(name: string): boolean {
  return !name.startsWith("good");
}

function subjectsOf(packet: Packet): readonly string[] {
  if (packet.type === "publish") return [packet.message.topic];
  return packet.type === "subscribe" ? packet.filters : [];
}

function names(prefix: string, count: number): string[] {
  return Array.from({ length: count }, (_, n) => `${prefix}/${n}`);
}

/** What happens when: a binary heap, first in first out at the same time. */
class Queue {
  readonly #heap: { readonly at: number; readonly order: number; readonly fn: () => void }[] = [];
  #order = 0;

  push(at: number, fn: () => void): void {
    const heap = this.#heap;
    let child = heap.push({ at, order: this.#order++, fn }) - 1;
    while (child > 0) {
      const parent = (child - 1) >> 1;
      if (!this.#isBefore(child, parent)) return;
      this.#swap(child, parent);
      child = parent;
    }
  }

  /** Hands everything out in order until `end`. */
  drain(end: number, each: (at: number, fn: () => void) => void): void {
    for (let first; (first = this.#pop()) !== undefined && first.at <= end;) {
      each(first.at, first.fn);
    }
  }

  #pop(): { readonly at: number; readonly fn: () => void } | undefined {
    const heap = this.#heap;
    const first = heap[0];
    const last = heap.pop();
    if (last === undefined || heap.length === 0) return first;
    heap[0] = last;
    let parent = 0;
    for (let child; (child = 2 * parent + 1) < heap.length; parent = child) {
      if (child + 1 < heap.length && this.#isBefore(child + 1, child)) child++;
      if (!this.#isBefore(child, parent)) break;
      this.#swap(child, parent);
    }
    return first;
  }

  #isBefore(a: number, b: number): boolean {
    const [x, y] = [this.#heap[a]!, this.#heap[b]!];
    return x.at < y.at || (x.at === y.at && x.order < y.order);
  }

  #swap(a: number, b: number): void {
    [this.#heap[a], this.#heap[b]] = [this.#heap[b]!, this.#heap[a]!];
  }
}
