import { utf8 } from "../../../src/base/bytes.ts";
import type { BrokerLimits } from "../../../src/mqtt/broker_limits.ts";
import type { LinkEnd, OutgoingPublish, PublishResult } from "../../../src/mqtt/link.ts";
import { FakeClock } from "../../support/fake_clock.ts";
import { fakeLog } from "../../support/fake_log.ts";
import { publishing, type PublishingOptions } from "../../support/publishing.ts";

const PING = "PINGREQ";

/** What a message may have that is not usual. */
interface More {
  readonly topic?: string;
  /** Seconds. */
  readonly expiry?: number;
  /** Whether the answer waits for PUBACK. */
  readonly ack?: boolean;
}

export const LOST: LinkEnd = { by: "peer", reason: "the broker closed the connection" };
export const OK: PublishResult = { code: 0, reason: "" };

/** A link that keeps what is sent, with its time, and answers when the test says so. */
export class FakeLink {
  buffered = 0;
  readonly renewals: string[] = [];
  readonly sent: (OutgoingPublish & { readonly at: number })[] = [];
  #open: { readonly text: string; readonly done: (result: PublishResult | undefined) => void }[] =
    [];
  /** Answers QoS 1 at once when set. */
  auto: ((text: string) => PublishResult | undefined) | undefined;

  constructor(readonly clock: FakeClock) {}

  publish(message: OutgoingPublish, done: (result: PublishResult | undefined) => void): boolean {
    const text = new TextDecoder().decode(message.payload);
    this.sent.push({ ...message, at: this.clock.now() });
    if (message.qos === 0) done(OK);
    else this.#open.push({ text, done });
    const result = message.qos === 1 ? this.auto?.(text) : undefined;
    if (result !== undefined) this.answer(text, result);
    return true;
  }

  /** Answers one message, or all. */
  answer(text?: string, result: PublishResult = OK): void {
    const isMeant = (entry: { text: string }): boolean => text === undefined || entry.text === text;
    const answered = this.#open.filter(isMeant);
    this.#open = this.#open.filter((entry) => !isMeant(entry));
    for (const { done } of answered) done(result);
  }

  /** Answered with everything that was sent before. */
  ping(done: () => void): void {
    this.#open.push({ text: PING, done });
    if (this.auto !== undefined) this.answer(PING);
  }

  renew(reason: string): void {
    this.renewals.push(reason);
  }

  /** The broker discards a message. */
  discard(text: string): void {
    this.#open = this.#open.filter((entry) => entry.text !== text);
  }

  /** What has no PUBACK. */
  get open(): string[] {
    return this.#open.map(({ text }) => text).filter((text) => text !== PING);
  }

  /** The link ends: nothing more is answered. */
  lose(): void {
    // A ping is answered by a PINGRESP only.
    for (const { text, done } of this.#open.splice(0)) if (text !== PING) done(undefined);
  }

  get texts(): string[] {
    return this.sent.map(({ payload }) => new TextDecoder().decode(payload));
  }
}

export function setUp(options: PublishingOptions = {}) {
  const clock = new FakeClock();
  const log = fakeLog();
  const { spool, queue, waiters, gate, publisher, intake } = publishing(clock, log, options);
  const link = new FakeLink(clock);
  const publish = (text: string, qos: 0 | 1 = 1, more: More = {}) => {
    const reply = { is: "asked" };
    intake.publish({
      topic: more.topic ?? "t",
      payload: utf8(text),
      qos,
      messageExpiry: more.expiry,
      untilAcknowledged: more.ack ?? false,
    }, {
      respond: () => reply.is = "ok",
      refuse: (error) => reply.is = `${error.code}${error.reason ? ` ${error.reason}` : ""}`,
    });
    return reply;
  };
  const publishMany = (from: number, to: number): void => {
    for (let number = from; number < to; number++) publish(`${number}`);
  };
  const lose = (end = LOST): void => {
    link.lose();
    publisher.down(gate.down(end).culprit);
  };
  const up = (receiveMaximum = 65_535, limits: BrokerLimits = {}): void => {
    gate.up(link);
    publisher.up(link, receiveMaximum, limits);
  };
  /** Has messages acknowledged until the window is as wide as it gets. */
  const widen = (): void => {
    link.auto = () => OK;
    for (let number = 0; number < 100; number++) {
      publish("wide");
      clock.advance(1_000);
    }
    link.auto = undefined;
    link.sent.length = 0;
  };
  return {
    clock,
    log,
    spool,
    queue,
    waiters,
    gate,
    intake,
    publisher,
    link,
    publish,
    publishMany,
    lose,
    up,
    widen,
  };
}

/** Texts of numbers. */
export function numbers(from: number, to: number): string[] {
  return Array.from({ length: to - from }, (_, index) => `${from + index}`);
}

/** A link of which the test holds each answer, those of one message that is sent twice included. */
export function heldLink() {
  const held: ((result: PublishResult | undefined) => void)[] = [];
  const link = {
    buffered: 0,
    renew: (): void => {},
    ping: (): void => {},
    publish: (_: OutgoingPublish, done: (result: PublishResult | undefined) => void): boolean =>
      held.push(done) > 0,
  };
  return { held, link };
}
