import { onUncaught } from "../../src/base/uncaught.ts";
import { fuzzBroker } from "../fuzz/broker.ts";
import { assertEquals, assertGreater } from "../deps.ts";

Deno.test("300 packets of a broker with one thing wrong each end their link or do nothing; none hangs, none goes uncaught", async () => {
  const uncaught: unknown[] = [];
  const unwatch = onUncaught((error) => uncaught.push(error));
  const { lived, ended, hung } = await fuzzBroker(300, 1);
  unwatch();
  assertEquals([lived + ended, hung, uncaught], [300, 0, []]);
  assertGreater(lived, 30);
  assertGreater(ended, 100);
});
