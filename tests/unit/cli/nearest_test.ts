import { nearest } from "../../../src/cli/nearest.ts";
import { assertEquals, pureTest } from "../../deps.ts";

const WORDS = ["publish", "subscribe", "status", "check"] as const;

pureTest(
  "a word with a letter or two wrong, missing, too many or swapped is the one that was meant",
  () => {
    for (const typed of ["publsh", "pubblish", "pubilsh", "publisch", "pub", "puplish"]) {
      assertEquals(nearest(typed, WORDS), "publish", typed);
    }
    assertEquals(nearest("sub", WORDS), "subscribe");
    assertEquals(nearest("stauts", WORDS), "status");
  },
);

pureTest("a word that is near to none suggests nothing", () => {
  for (const typed of ["connect", "x", "", "topic"]) assertEquals(nearest(typed, WORDS), undefined);
});
