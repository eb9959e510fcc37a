import { RejectedMessages } from "../../../src/subscribe/rejected_messages.ts";
import { assertEquals, pureTest } from "../../deps.ts";
import { FakeClock } from "../../support/fake_clock.ts";
import { fakeLog } from "../../support/fake_log.ts";

pureTest("rejected messages are counted, and told once a minute with their number", () => {
  const [clock, log] = [new FakeClock(), fakeLog()];
  const rejected = new RejectedMessages(clock, log);
  const told = (): unknown[] => log.lines.map(({ fields }) => fields?.["messages"]);
  for (let n = 0; n < 100; n++) rejected.add("its topic holds a wildcard");
  assertEquals([rejected.count, told()], [100, [1]]);
  clock.advance(59_999);
  rejected.add("its topic holds a wildcard");
  assertEquals(told(), [1]);
  clock.advance(1);
  rejected.add("its topic holds a wildcard");
  assertEquals([rejected.count, told()], [102, [1, 101]]);
});
