import {
  MAX_RETAINED_TOPICS,
  RETAINED_WAIT_MS,
  RetainedWait,
} from "../../../src/subscribe/retained_wait.ts";
import { assertEquals, pureTest } from "../../deps.ts";

pureTest("each topic comes once, until some time after the last SUBACK", () => {
  const wait = new RetainedWait(["a/#", "b"]);
  assertEquals([wait.takes("a/1", 0), wait.takes("a/1", 1), wait.takes("a/2", 2)], [
    true,
    false,
    true,
  ]);
  wait.granted("a/#", 10);
  assertEquals(wait.takes("a/3", 10 + RETAINED_WAIT_MS), true);
  wait.granted("b", 100_000);
  assertEquals(wait.takes("a/4", 100_000 + RETAINED_WAIT_MS - 1), true);
  const until = 100_000 + 2 * RETAINED_WAIT_MS - 1;
  assertEquals([wait.isOver(until - 1), wait.isOver(until)], [false, true]);
  wait.granted("b", until);
  assertEquals(wait.takes("a/5", until), false);
});

pureTest("what is remembered is bounded, and nothing is left out for that", () => {
  const wait = new RetainedWait(["#"]);
  for (let topic = 0; topic <= MAX_RETAINED_TOPICS; topic++) {
    assertEquals(wait.takes(`t/${topic}`, 0), true);
  }
  assertEquals(wait.takes(`t/${MAX_RETAINED_TOPICS}`, 0), true);
  assertEquals(wait.takes("t/0", 0), false);
});
