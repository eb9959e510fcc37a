import { assertEquals } from "../../deps.ts";
import type { OutgoingPublish, PublishResult } from "../../../src/mqtt/link.ts";
import { FakeClock } from "../../support/fake_clock.ts";
import { fakeLog } from "../../support/fake_log.ts";
import { publishing } from "../../support/publishing.ts";

Deno.test(
  "a message that expires between its taking and its sending is not sent, and counted once",
  {
    permissions: "none",
  },
  () => {
    const clock = new FakeClock();
    const log = fakeLog();
    const { spool, gate, publisher, intake } = publishing(clock, log, {
      limits: { count: 1, bytes: 1e6, windowMs: 1_000 },
    });
    const sent: string[] = [];
    gate.up({ ping: () => {} });
    publisher.up({
      buffered: 0,
      renew: () => {},
      publish: ({ topic }: OutgoingPublish, done: (result: PublishResult) => void) => {
        sent.push(topic);
        done({ code: 0, reason: "" });
        return true;
      },
    }, 100);
    const publish = (topic: string, messageExpiry?: number): void =>
      intake.publish(
        { topic, payload: new Uint8Array(1), qos: 1, messageExpiry, untilAcknowledged: false },
        { respond: () => {}, refuse: (error) => assertEquals(error, undefined) },
      );
    publish("first");
    // Taken from the spool at once, it waits for the rate of one a second.
    publish("short", 1);
    publish("last");
    assertEquals(sent, ["first"]);
    clock.advance(1_000);
    assertEquals(sent, ["first", "last"]);
    assertEquals([spool.stats().expired, spool.stats().messages, publisher.inFlight], [1, 0, 0]);
    assertEquals(publisher.counters.expired, 0, "the spool counts its own");
  },
);
