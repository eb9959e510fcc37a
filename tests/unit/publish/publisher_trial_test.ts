/** What the publisher does with messages for which the broker closes the connection. */

import { assert, assertEquals, assertStringIncludes } from "../../deps.ts";
import { BusErrorCode } from "../../../src/base/errors.ts";
import { HEAD_START_MS, SLICE_MS } from "../../../src/publish/poison_detector.ts";
import { AWS_RATE_LIMITS } from "../../../src/aws/rate_window.ts";
import { REFUSAL_MS } from "../../../src/publish/standings.ts";
import { numbers, OK, setUp } from "./publisher_scene.ts";

const pure = { permissions: "none" } as const;

type Scene = ReturnType<typeof setUp>;

/** A broker that handles packets in order and closes for what `isBad`; the link is back a second later. */
class Broker {
  #handled = 0;

  constructor(readonly scene: Scene) {}

  /** Serves until nothing more comes. Returns how often it closed. */
  serve(isBad: (text: string) => boolean): number {
    const { clock, link } = this.scene;
    let closes = 0;
    for (let quiet = 0; quiet < 30;) {
      const next = link.sent[this.#handled];
      if (next === undefined) {
        link.answer();
        clock.advance(SLICE_MS);
        quiet = link.sent.length > this.#handled ? 0 : quiet + 1;
        continue;
      }
      this.#handled++;
      const text = new TextDecoder().decode(next.payload);
      if (isBad(text)) {
        this.#close();
        assert(++closes < 100, "the broker never stops closing");
      } else if (next.qos === 1) link.answer(text, OK);
    }
    return closes;
  }

  #close(): void {
    const { clock, link, lose, up } = this.scene;
    lose();
    this.#handled = link.sent.length;
    // A second after the last CONNECT is over by then.
    clock.advance(50);
    up();
  }
}

const isBad = (text: string): boolean => text.startsWith("bad");

Deno.test(
  "a message that closes the connection twice while alone is put in quarantine, and its topic is refused",
  pure,
  () => {
    const scene = setUp();
    const broker = new Broker(scene);
    const { clock, log, spool, publish, up } = scene;
    const reply = publish("bad", 1, { topic: "forbidden", ack: true });
    up();
    assertEquals(broker.serve(isBad), 3);
    assertEquals(spool.stats().quarantined.map(({ topic }) => topic), ["forbidden"]);
    assertStringIncludes(
      reply.is,
      `${BusErrorCode.REMOTE} the broker closed the connection for it`,
    );
    assertEquals(log.lines.filter(({ level }) => level === "error").length, 2);
    for (const qos of [0, 1] as const) {
      assertStringIncludes(
        publish("bad", qos, { topic: "forbidden" }).is,
        `${BusErrorCode.REMOTE} the broker`,
      );
    }
    assertEquals(publish("good", 1, { topic: "allowed" }).is, "ok");
    clock.advance(REFUSAL_MS);
    assertEquals(publish("good", 1, { topic: "forbidden" }).is, "ok");
    assertEquals(broker.serve(isBad), 0);
    assertEquals(scene.link.texts.slice(-1), ["good"]);
  },
);

Deno.test(
  "a culprit among many is found, and every other message is acknowledged once",
  pure,
  () => {
    const scene = setUp();
    const { spool, publish, publisher, up } = scene;
    for (const text of numbers(0, 40)) publish(text);
    publish("bad", 1, { topic: "forbidden" });
    for (const text of numbers(41, 200)) publish(text, 1, { topic: `topic/${text}` });
    up();
    assertEquals(new Broker(scene).serve(isBad), 3);
    assertEquals(publisher.counters.acknowledged, 199);
    assertEquals(spool.stats().messages, 1);
  },
);

Deno.test(
  "what was accepted on a topic before it is refused goes into quarantine with it, without another close",
  pure,
  () => {
    const scene = setUp();
    const { spool, publish, up } = scene;
    for (const text of numbers(0, 10)) publish(`bad ${text}`, 1, { topic: "forbidden" });
    up();
    assertEquals(new Broker(scene).serve(isBad), 3);
    const reasons = spool.stats().quarantined.map(({ reason }) => reason);
    assertEquals(reasons.length, 10);
    assertEquals(reasons.filter((reason) => reason.startsWith("its topic is refused: ")).length, 9);
  },
);

Deno.test(
  "quarantine takes a quarter of the spool; what does not fit is given up and said",
  pure,
  () => {
    const scene = setUp({ maxBytes: 2_000 });
    const { log, spool, publish, publisher, up } = scene;
    // 82 bytes each: six fit into 500.
    for (const text of numbers(10, 20)) publish(`bad ${text}`, 1, { topic: `bad topic ${text}` });
    const replies = numbers(0, 3).map((text) => publish(text, 1, { topic: "good", ack: true }));
    up();
    new Broker(scene).serve(isBad);
    const { quarantined, messages } = spool.stats();
    const bytes = quarantined.reduce((sum, { size }) => sum + size, 0);
    assert(bytes <= 500, `${bytes} bytes are in quarantine`);
    assertEquals([quarantined.length, messages], [6, 6]);
    assertEquals(publisher.counters.dropped, 4);
    assertEquals(log.lines.filter(({ text }) => text.includes("which is full")).length, 4);
    assertEquals(replies.map(({ is }) => is), ["ok", "ok", "ok"]);
  },
);

Deno.test(
  "a suspect QoS 0 topic costs its own messages only: others go on, and it is dropped once it is refused",
  pure,
  () => {
    const scene = setUp({ limits: AWS_RATE_LIMITS });
    const { publish, publisher, queue, up, link } = scene;
    up();
    for (const text of numbers(0, 600)) publish(`bad ${text}`, 0, { topic: "forbidden" });
    for (const text of numbers(0, 20)) publish(text, 1, { topic: `good/${text}` });
    assertEquals(new Broker(scene).serve(isBad), 3);
    assertEquals([publisher.counters.acknowledged, queue.length], [20, 0]);
    const bad = link.texts.filter(isBad).length;
    assertEquals(publisher.counters.dropped, 600 - bad);
  },
);

Deno.test(
  "while a suspect is alone in flight nothing else is sent, not even QoS 0; then everything goes on",
  pure,
  () => {
    const { clock, link, publish, lose, up } = setUp();
    up();
    publish("a", 1, { topic: "a" });
    lose();
    clock.advance(1_000);
    link.sent.length = 0;
    publish("b", 1, { topic: "b" });
    up();
    publish("zero", 0, { topic: "zero" });
    assertEquals(link.texts, ["b", "zero"]);
    clock.advance(HEAD_START_MS);
    publish("c", 1, { topic: "c" });
    assertEquals(link.texts, ["b", "zero"], "nothing goes until everything is proven");
    link.answer();
    assertEquals(link.texts, ["b", "zero", "a"]);
    publish("zero again", 0, { topic: "zero" });
    assertEquals(link.texts, ["b", "zero", "a"]);
    link.answer("a");
    assertEquals(link.texts.slice(0, 3), ["b", "zero", "a"]);
    assertEquals(link.texts.slice(3).toSorted(), ["c", "zero again"]);
  },
);

Deno.test("messages of a suspect topic keep their order", pure, () => {
  const scene = setUp();
  const { clock, link, publish, publishMany, lose, up } = scene;
  up();
  publishMany(0, 3);
  lose();
  clock.advance(1_000);
  link.sent.length = 0;
  up();
  publishMany(3, 6);
  publish("other", 1, { topic: "other" });
  assertEquals(new Broker(scene).serve(() => false), 0);
  assertEquals(link.texts.filter((text) => text !== "other"), numbers(0, 6));
});

Deno.test("a link that was given up at this end, or went silent, accuses no message", pure, () => {
  const { clock, gate, publish, lose, up } = setUp();
  publish("a");
  for (const by of ["local", "keep-alive", "local", "keep-alive"] as const) {
    up();
    lose({ by, reason: "" });
    clock.advance(1_000);
  }
  assertEquals(gate.standings(), []);
});

Deno.test("a topic that is cleared by an earlier packet lets its messages go at once", pure, () => {
  const { clock, link, publish, lose, up } = setUp();
  up();
  publish("1", 1, { topic: "late" });
  lose();
  clock.advance(1_000);
  up();
  // Tried, and without an answer for 5 s it is not held responsible; what comes meanwhile waits.
  clock.advance(1_000);
  publish("2", 1, { topic: "late" });
  publish("other", 1, { topic: "other" });
  assertEquals(link.texts, ["1", "1"]);
  link.answer("1");
  assertEquals(link.texts.slice(2).toSorted(), ["2", "other"]);
});

Deno.test(
  "a link that is ended here because an answer cannot be parsed is judged too",
  pure,
  () => {
    const { clock, spool, publish, lose, up } = setUp();
    publish("strange", 1, { topic: "strange" });
    for (let end = 0; end < 3; end++) {
      up();
      clock.advance(HEAD_START_MS);
      lose({ by: "protocol", reason: "the answer cannot be parsed" });
      clock.advance(1_000);
    }
    assertEquals(spool.stats().quarantined.map(({ topic }) => topic), ["strange"]);
  },
);
