import { assertEquals, assertLessOrEqual } from "../../deps.ts";
import { MOST_SOLE_CLOSES } from "../../../src/publish/standings.ts";
import { BAD_NETWORK, GOOD_NETWORK, type Network, type Outcome, run } from "./poison_model.ts";

const pure = { permissions: "none" } as const;

/** `deno task fuzz:poison` runs 10,000 of each. */
const HISTORIES = 500;

function* histories(network: Network): Generator<Outcome & { readonly seed: number }> {
  for (let seed = 1; seed <= HISTORIES; seed++) yield { seed, ...run({ seed, ...network }) };
}

Deno.test(
  "in random histories no innocent is condemned, every culprit is, and everyone else's messages arrive",
  pure,
  () => {
    let closes = 0;
    for (const { seed, innocents, missed, lost, mostForOne, ...rest } of histories(GOOD_NETWORK)) {
      assertEquals(
        { innocents, missed, lost },
        { innocents: [], missed: [], lost: [] },
        `seed ${seed}`,
      );
      // One or two as one of many, the rest alone.
      assertLessOrEqual(mostForOne, MOST_SOLE_CLOSES + 2, `seed ${seed}`);
      closes += rest.closes;
    }
    // A model whose broker never closes would prove nothing.
    assertLessOrEqual(HISTORIES * 2, closes);
  },
);

Deno.test(
  "a network that cuts the link every 3 s condemns nobody, and culprits are found all the same",
  pure,
  () => {
    for (const { seed, innocents, missed, lost } of histories(BAD_NETWORK)) {
      assertEquals(
        { innocents, missed, lost },
        { innocents: [], missed: [], lost: [] },
        `seed ${seed}`,
      );
    }
  },
);
