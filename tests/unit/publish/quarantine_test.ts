import { assertEquals } from "../../deps.ts";
import { Quarantine } from "../../../src/publish/quarantine.ts";
import { REFUSAL_MS } from "../../../src/publish/standings.ts";
import { OK, setUp } from "./publisher_scene.ts";

const pure = { permissions: "none" } as const;

/** Three messages on a topic that the broker closes for, in quarantine. */
function condemned() {
  const scene = setUp();
  const { clock, gate, link, spool, publish, lose, up } = scene;
  const quarantine = new Quarantine({ spool, gate });
  for (const text of ["1", "2", "3"]) publish(text, 1, { topic: "forbidden" });
  up();
  for (let close = 0; close < 3; close++) {
    lose();
    clock.advance(1_000);
    up();
  }
  assertEquals(quarantine.list(0, 10).map(({ seq }) => seq), [1, 2, 3]);
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
    lose();
    clock.advance(1_000);
    up();
  }
  assertEquals(quarantine.list(0, 10).map(({ seq }) => seq), [1, 2, 3]);
});

Deno.test(
  "when a topic's refusal is over and one message passes, those that waited for it go",
  pure,
  () => {
    const { quarantine, clock, link, publish } = condemned();
    clock.advance(REFUSAL_MS);
    publish("new", 1, { topic: "forbidden" });
    assertEquals(link.texts, ["new"]);
    link.answer("new");
    assertEquals(link.texts, ["new", "2", "3"]);
    assertEquals(quarantine.list(0, 10).map(({ seq }) => seq), [1]);
  },
);

Deno.test("dropped messages are gone, chosen ones or all", pure, () => {
  const { quarantine, spool } = condemned();
  assertEquals(quarantine.drop([2, 2, 99]), 1);
  assertEquals(spool.stats().messages, 2);
  assertEquals(quarantine.drop(undefined), 2);
  assertEquals([spool.stats().messages, quarantine.list(0, 10)], [0, []]);
});
