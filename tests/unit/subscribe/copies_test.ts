import { utf8 } from "../../../src/base/bytes.ts";
import { CERTAIN_MESSAGES, Copies, COPY_MS } from "../../../src/subscribe/copies.ts";
import { assertEquals, pureTest } from "../../deps.ts";

/** What each of the payloads counts as, 1 ms apart, two filters matching. */
function unnamed(copies: Copies, payloads: readonly string[], from = 0): boolean[] {
  return payloads.map((payload, index) => copies.unnamed("t", utf8(payload), from + index, 2));
}

/** Has the broker send a copy for each of two filters until that is certain. */
function teach(copies: Copies, messages = CERTAIN_MESSAGES): void {
  for (let message = 0; message < messages; message++) {
    unnamed(copies, [`${message}`, `${message}`]);
  }
}

pureTest("copies are handed out until it is certain that they are copies", () => {
  const copies = new Copies();
  for (let message = 0; message <= CERTAIN_MESSAGES; message++) {
    const second = message < CERTAIN_MESSAGES;
    assertEquals(unnamed(copies, [`${message}`, `${message}`]), [true, second]);
  }
});

pureTest("a message that is published twice comes twice, also when copies are certain", () => {
  const copies = new Copies();
  teach(copies);
  assertEquals(unnamed(copies, ["x", "x", "x", "x"]), [true, false, true, false]);
  assertEquals(unnamed(copies, ["y"]), [true]);
  assertEquals(copies.unnamed("t", utf8("y"), COPY_MS + 1, 2), true);
});

pureTest("a broker that sends one copy is never taken for one that sends several", () => {
  const copies = new Copies();
  for (let message = 0; message < 100; message++) {
    assertEquals(unnamed(copies, ["same"], message * 200), [true]);
    assertEquals(
      unnamed(copies, ["same", "same", "same"], 100_000 + message * 200).includes(false),
      false,
    );
  }
});

pureTest("a message that comes for one filter alone ends the certainty", () => {
  const copies = new Copies();
  teach(copies);
  assertEquals(unnamed(copies, ["x", "y", "y"]), [true, true, true]);
  teach(copies, CERTAIN_MESSAGES);
  assertEquals(unnamed(copies, ["z", "z"]), [true, false]);
});

pureTest("something else between two messages makes them no copies", () => {
  const copies = new Copies();
  teach(copies);
  assertEquals(unnamed(copies, ["x"]), [true]);
  copies.end();
  assertEquals(unnamed(copies, ["x"]), [true]);
});

pureTest("named copies: the n-th for any of its filters is the n-th for a subscription", () => {
  const copies = new Copies();
  const come = (...filters: string[]): string => {
    const isNew = copies.named("t", utf8("x"), 0, filters);
    return [["a"], ["b"], ["a", "b"]].map((own) => `${isNew(own)}`).join(" ");
  };
  assertEquals(come("a"), "true false true");
  assertEquals(come("b"), "false true false");
  assertEquals(come("b"), "false true true");
  assertEquals(come("a"), "true false false");
  assertEquals(come("a", "b"), "true true true");
});
