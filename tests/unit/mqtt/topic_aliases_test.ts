import { TopicAliases } from "../../../src/mqtt/topic_aliases.ts";
import { assertEquals } from "../../deps.ts";
import { pureTest } from "../../support/pure_test.ts";
import { Random } from "../../support/random.ts";

const LONG = "a/topic/of/17/byt";

pureTest("a long topic goes once, and then its alias alone", () => {
  const aliases = new TopicAliases(8);
  assertEquals([aliases.use(LONG), aliases.use(LONG)], [
    { topic: LONG, alias: 1 },
    { topic: "", alias: 1 },
  ]);
});

pureTest(
  "topics up to 16 bytes go as they are, and all do when the broker takes no aliases",
  () => {
    const short = LONG.slice(0, 16);
    assertEquals(new TopicAliases(8).use(short), { topic: short, alias: undefined });
    assertEquals(new TopicAliases(8).use("ä".repeat(9)).alias, 1);
    assertEquals(new TopicAliases(0).use(LONG), { topic: LONG, alias: undefined });
  },
);

pureTest("the topic whose last use is longest ago gives its alias to a new one", () => {
  const aliases = new TopicAliases(2);
  const used = ["1", "2", "1", "3", "1", "2"].map((end) => aliases.use(LONG + end));
  assertEquals(used.map(({ topic, alias }) => `${topic.at(-1) ?? ""} ${alias}`), [
    "1 1",
    "2 2",
    " 1",
    "3 2",
    " 1",
    "2 2",
  ]);
});

pureTest("whatever is used in whatever order, the broker understands the topic", () => {
  const random = new Random(5);
  const aliases = new TopicAliases(8);
  const broker = new Map<number, string>();
  for (let i = 0; i < 10_000; i++) {
    const topic = LONG + random.int(20);
    const sent = aliases.use(topic);
    if (sent.topic !== "") broker.set(sent.alias!, sent.topic);
    assertEquals(broker.get(sent.alias!), topic);
  }
  assertEquals(Math.max(...broker.keys()), 8);
});
