import { assertEquals } from "../../deps.ts";
import { Suspects } from "../../../src/publish/suspects.ts";

const pure = { permissions: "none" } as const;

Deno.test(
  "a message that closes the connection three times in a row as the only one in flight is found",
  pure,
  () => {
    const suspects = new Suspects();
    assertEquals(suspects.closed([7]), undefined);
    assertEquals(suspects.closed([7]), undefined);
    assertEquals(suspects.closed([7]), 7);
  },
);

Deno.test("an acknowledgement between two closes clears the message", pure, () => {
  const suspects = new Suspects();
  suspects.closed([7]);
  suspects.closed([7]);
  suspects.cleared(7);
  assertEquals(suspects.closed([7]), undefined);
});

Deno.test("another message alone at a close starts the count again", pure, () => {
  const suspects = new Suspects();
  suspects.closed([7]);
  suspects.closed([7]);
  assertEquals(suspects.closed([8]), undefined);
  assertEquals(suspects.closed([7]), undefined);
});

Deno.test("a close with nothing in flight accuses nobody", pure, () => {
  const suspects = new Suspects();
  suspects.closed([7]);
  suspects.closed([7]);
  assertEquals(suspects.closed([]), undefined);
  assertEquals(suspects.closed([7]), undefined);
});

Deno.test(
  "after one close everything goes together again, after the second its suspects go alone",
  pure,
  () => {
    const suspects = new Suspects();
    suspects.closed([5, 6, 7]);
    assertEquals(suspects.mustGoAlone(5), false);
    suspects.closed([6, 7, 8]);
    assertEquals([6, 7, 8, 9].map((seq) => suspects.mustGoAlone(seq)), [true, true, true, false]);
  },
);

Deno.test(
  "the guilty one among many is found within two closes together and three alone",
  pure,
  () => {
    const suspects = new Suspects();
    const guilty = 30;
    let waiting = Array.from({ length: 100 }, (_, index) => index);
    let closes = 0;
    let found: number | undefined;
    while (found === undefined && closes < 10) {
      const alone = suspects.mustGoAlone(waiting[0]!);
      if (alone) {
        for (; waiting[0] !== guilty; waiting.shift()) suspects.cleared(waiting[0]!);
        found = suspects.closed([guilty]);
      } else {
        found = suspects.closed(waiting);
      }
      closes++;
    }
    waiting = waiting.filter((seq) => seq !== found);
    assertEquals([found, closes], [guilty, 5]);
  },
);
