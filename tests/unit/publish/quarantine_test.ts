import { assertEquals } from "../../deps.ts";
import { Quarantine } from "../../../src/publish/quarantine.ts";
import { HEAD_START_MS } from "../../../src/publish/poison_detector.ts";
import { REFUSAL_MS } from "../../../src/publish/standings.ts";
import { OK, setUp } from "./publisher_scene.ts";

const pure = { permissions: "none" } as const;

/** Three messages on a topic that the broker closes for, in quarantine. */
function condemned() {
  const scene = setUp();
  const { clock, gate, link, spool, publish, lose, up } = scene;
  const quarantine = new Quarantine({ spool, gate, clock });
  for (const text of ["1", "2", "3"]) publish(text, 1, { topic: "forbidden" });
  up();
  for (let close = 0; close < 3; close++) {
    clock.advance(HEAD_START_MS);
    lose();
    clock.advance(1_000);
    up();
  }
  assertEquals(quarantine.list(0, 10).map(({ seq }) => seq), [1, 2, 3]);
  clock.advance(HEAD_START_MS);
  link.sent.length = 0;
  return { ...scene, quarantine };
}

Deno.test("messages in quarantine are listed in pages, with topic, size and reason", pure, () => {
  const { quarantine } = condemned();
  const [first, second] = quarantine.list(0, 2);
  assertEquals(quarantine.list(2, 2).map(({ seq }) => seq), [3]);
  assertEquals([first?.topic, first?.size], ["forbidden", 74]);
  assertEquals(
    [first?.reason.slice(0, 43), second?.reason.slice(0, 20)],
    ["the broker closed the connection for it whi", "its topic is refused"],
  );
});

Deno.test("a message that is sent again goes alone, also when its topic is refused", pure, () => {
  const { quarantine, clock, link, publish } = condemned();
  assertEquals(quarantine.retry([1, 99]), 1);
  publish("other", 1, { topic: "other" });
  assertEquals(link.texts, ["1"]);
  link.answer("1", OK);
  clock.advance(0);
  // The broker takes the topic: what waited only because of it goes too.
  assertEquals(link.texts.toSorted(), ["1", "2", "3", "other"]);
  link.answer();
  assertEquals(quarantine.list(0, 10), []);
});

Deno.test("a message that closes the connection again is back in quarantine", pure, () => {
  const { quarantine, clock, lose, up } = condemned();
  assertEquals(quarantine.retry([1]), 1);
  for (let close = 0; close < 2; close++) {
    clock.advance(HEAD_START_MS);
    lose();
    clock.advance(1_000);
    up();
  }
  assertEquals(quarantine.list(0, 10).map(({ seq }) => seq), [1, 2, 3]);
});

Deno.test(
  "when a topic's refusal is over one message is tried, and the others go when it passes",
  pure,
  () => {
    const { quarantine, clock, link } = condemned();
    clock.advance(REFUSAL_MS);
    assertEquals(link.texts, ["2"]);
    link.answer("2");
    assertEquals(link.texts, ["2", "3"]);
    assertEquals(quarantine.list(0, 10).map(({ seq }) => seq), [1]);
  },
);

Deno.test(
  "a topic that is still forbidden then costs one message more, and the others wait on",
  pure,
  () => {
    const { quarantine, clock, lose, up, link } = condemned();
    clock.advance(REFUSAL_MS);
    for (let close = 0; close < 2; close++) {
      clock.advance(HEAD_START_MS);
      assertEquals(link.texts.at(-1), "2");
      lose();
      clock.advance(1_000);
      up();
    }
    assertEquals(quarantine.list(0, 10).map(({ seq }) => seq), [1, 2, 3]);
    clock.advance(REFUSAL_MS);
    assertEquals(link.texts.at(-1), "3");
  },
);

Deno.test("nothing is tried any more after a stop", pure, () => {
  const { quarantine, clock, gate, link } = condemned();
  quarantine.stop();
  gate.stop();
  clock.advance(REFUSAL_MS);
  assertEquals([link.texts, clock.timers], [[], 0]);
});

Deno.test("dropped messages are gone, chosen ones or all", pure, () => {
  const { quarantine, spool } = condemned();
  assertEquals(quarantine.drop([2, 2, 99]), 1);
  assertEquals(spool.stats().messages, 2);
  assertEquals(quarantine.drop(undefined), 2);
  assertEquals([spool.stats().messages, quarantine.list(0, 10)], [0, []]);
});
