/** Without a rate limit it is the socket that says how fast messages may go. */

import { assert, assertEquals } from "../../deps.ts";
import { BusError } from "../../../src/base/errors.ts";
import { FENCE_SPACING_MS } from "../../../src/publish/poison_detector.ts";
import { MAX_UNWRITTEN_BYTES } from "../../../src/publish/send_throttle.ts";
import type { PublishLink } from "../../../src/publish/publisher.ts";
import { QOS0_QUEUE_BYTES } from "../../../src/publish/qos0_queue.ts";
import type { OutgoingPublish, PublishResult } from "../../../src/mqtt/link.ts";
import { FakeClock } from "../../support/fake_clock.ts";
import { fakeLog } from "../../support/fake_log.ts";
import { publishing } from "../../support/publishing.ts";

const PAYLOAD = new Uint8Array(30_000);
const FITTING = Math.ceil(MAX_UNWRITTEN_BYTES / PAYLOAD.length);

/** A link whose socket takes bytes when the test says so, and whose broker is silent when the test says so. */
class SlowLink implements PublishLink {
  buffered = 0;
  /** Whether QoS 1 is acknowledged at once. */
  auto = true;
  readonly sent: OutgoingPublish[] = [];
  #written: (() => void)[] = [];

  publish(message: OutgoingPublish, done: (result: PublishResult | undefined) => void): boolean {
    this.sent.push(message);
    this.buffered += message.payload.length;
    if (message.qos === 0) this.#written.push(() => done({ code: 0, reason: "" }));
    else if (this.auto) done({ code: 0, reason: "" });
    return true;
  }

  renew(): void {}

  ping(done: () => void): void {
    this.#written.push(done);
  }

  /** The socket takes bytes and says so, as at its `drain`. */
  take(bytes: number): void {
    this.buffered = Math.max(0, this.buffered - bytes);
    if (this.buffered === 0) { for (const done of this.#written.splice(0)) done(); }
  }
}

function setUp() {
  const clock = new FakeClock();
  const log = fakeLog();
  const { queue, gate, publisher, intake } = publishing(clock, log, {
    maxBytes: 100_000_000,
  });
  const link = new SlowLink();
  const codes: (number | undefined)[] = [];
  const publish = (qos: 0 | 1): void =>
    intake.publish({
      topic: "t",
      payload: PAYLOAD,
      qos,
      messageExpiry: undefined,
      untilAcknowledged: false,
    }, { respond: () => codes.push(undefined), refuse: ({ code }: BusError) => codes.push(code) });
  gate.up(link);
  publisher.up(link, 1_000);
  // The window is as wide as it gets when 100 were acknowledged.
  for (let i = 0; i < 100; i++) {
    publish(1);
    link.take(link.buffered);
  }
  link.auto = false;
  link.sent.length = 0;
  codes.length = 0;
  return { clock, queue, gate, publisher, link, publish, codes };
}

Deno.test("QoS 0 waits while the socket does not take what it has, and goes on when it does", {
  permissions: "none",
}, () => {
  const { clock, queue, link, publish } = setUp();
  for (let i = 0; i < 3 * FITTING; i++) publish(0);
  assertEquals([link.sent.length, queue.length], [FITTING, 2 * FITTING]);
  clock.advance(60_000);
  assertEquals(link.sent.length, FITTING);
  link.take(link.buffered);
  assertEquals(link.sent.length, 2 * FITTING);
  link.take(link.buffered);
  assertEquals([link.sent.length, queue.length], [3 * FITTING, 0]);
  link.take(link.buffered);
  clock.advance(FENCE_SPACING_MS);
  link.take(0);
  assertEquals(clock.timers, 0);
});

Deno.test("messages of the spool wait for the socket too, though nothing tells when it took them", {
  permissions: "none",
}, () => {
  const { clock, link, publish } = setUp();
  for (let i = 0; i < 2 * FITTING; i++) publish(1);
  assertEquals(link.sent.length, FITTING);
  link.take(5 * PAYLOAD.length);
  clock.advance(1_000);
  assert(link.sent.length > FITTING && link.buffered < MAX_UNWRITTEN_BYTES + PAYLOAD.length);
  link.take(link.buffered);
  clock.advance(1_000);
  assertEquals(link.sent.length, 2 * FITTING);
});

Deno.test(
  "what waits for a socket that takes nothing is bounded; then QoS 0 is refused with NOMEM",
  {
    permissions: "none",
  },
  () => {
    const { queue, link, publish, codes } = setUp();
    for (let i = 0; i < 1_000; i++) publish(0);
    assertEquals(codes.at(-1), 9);
    assert(queue.bytes <= QOS0_QUEUE_BYTES);
    assert(link.buffered <= MAX_UNWRITTEN_BYTES + PAYLOAD.length);
  },
);

Deno.test("a new link does not wait for the socket of the one before", {
  permissions: "none",
}, () => {
  const { clock, gate, publisher, link, publish } = setUp();
  for (let i = 0; i < FITTING; i++) publish(1);
  publish(0);
  assertEquals(link.sent.length, FITTING);
  gate.down({ by: "keep-alive", reason: "frozen" });
  publisher.down();
  assertEquals(clock.timers, 0);
  const next = new SlowLink();
  gate.up(next);
  publisher.up(next, 1_000);
  assertEquals(next.sent.filter(({ qos }) => qos === 0).length, 1);
});
