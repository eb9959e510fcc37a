import { assertEquals, assertLess, assertStrictEquals, pureTest } from "../../deps.ts";
import { checkFilter, checkTopic, matches } from "../../../src/topic/filter.ts";
import { Trie } from "../../../src/topic/trie.ts";
import spec from "../../fixtures/topic-match.json" with { type: "json" };
import { Random } from "../../support/random.ts";

function trieOf(...filters: string[]): Trie<string> {
  const trie = new Trie<string>();
  for (const filter of filters) trie.add(filter, filter);
  return trie;
}

pureTest(
  "the trie agrees with the specification, one filter at a time",
  () => {
    for (const { filter, topic, match, why } of spec.match) {
      const found = trieOf(filter).match(topic);
      assertEquals(found, match ? [filter] : [], `${filter} on ${topic}: ${why}`);
    }
  },
);

pureTest(
  "the trie agrees with the specification, all filters at once",
  () => {
    const filters = new Set(spec.match.map(({ filter }) => filter));
    const trie = trieOf(...filters);
    for (const { topic } of spec.match) {
      const expected = [...filters].filter((filter) => matches(filter, topic));
      assertEquals([...trie.match(topic)].sort(), expected.sort(), topic);
    }
  },
);

const LEVELS = ["", "a", "b", "ab", "é", "$x"];

function randomTopic(random: Random): string {
  const levels = Array.from({ length: 1 + random.int(5) }, () => random.pick(LEVELS));
  return levels.join("/") || "a";
}

function randomFilter(random: Random): string {
  const levels = Array.from(
    { length: 1 + random.int(5) },
    () => random.int(3) === 0 ? "+" : random.pick(LEVELS),
  );
  if (random.int(3) === 0) levels[levels.length - 1] = "#";
  return levels.join("/") || "+";
}

pureTest("naive matcher and trie agree on 10,000 generated pairs", () => {
  const random = new Random(6);
  let matching = 0;
  for (let i = 0; i < 10_000; i++) {
    const filter = randomFilter(random);
    const topic = randomTopic(random);
    checkFilter(filter);
    checkTopic(topic);
    const expected = matches(filter, topic);
    if (expected) matching++;
    assertEquals(trieOf(filter).match(topic), expected ? [filter] : [], `${filter} on ${topic}`);
  }
  assertEquals(matching > 1_000 && matching < 9_000, true, `${matching} of them match`);
});

pureTest("naive matcher and trie agree while filters come and go", () => {
  const random = new Random(7);
  const trie = new Trie<number>();
  const held: [filter: string, value: number][] = [];
  for (let i = 0; i < 2_000; i++) {
    const at = random.int(held.length + 1);
    const leaving = random.int(5) < 2 ? held[at] : undefined;
    if (leaving !== undefined) {
      held.splice(at, 1);
      assertEquals(trie.remove(...leaving), true);
      assertEquals(trie.remove(...leaving), false);
    } else {
      const pair: [string, number] = [randomFilter(random), random.int(200)];
      if (!held.some(([filter, value]) => filter === pair[0] && value === pair[1])) held.push(pair);
      trie.add(...pair);
    }
    assertEquals(trie.size, held.length);
    const topic = randomTopic(random);
    const expected = new Set(held.filter(([f]) => matches(f, topic)).map(([, value]) => value));
    assertEquals([...trie.match(topic)].sort(), [...expected].sort(), topic);
  }
  for (const [filter, value] of held) trie.remove(filter, value);
  assertEquals([trie.size, trie.nodes], [0, 0]);
});

pureTest(
  "the trie gives a value once, however many of its filters match",
  () => {
    const trie = new Trie<string>();
    for (const filter of ["a/b", "a/+", "a/#", "+/b", "#"]) trie.add(filter, "x");
    trie.add("a/b", "y");
    assertEquals([...trie.match("a/b")].sort(), ["x", "y"]);
    assertEquals(trie.match("a"), ["x"]);
  },
);

pureTest("adding a value to its filter again changes nothing", () => {
  const trie = trieOf("a/b", "a/b");
  assertEquals(trie.size, 1);
  assertEquals(trie.remove("a/b", "a/b"), true);
  assertEquals(trie.match("a/b"), []);
});

pureTest("values may leave while what matched is gone through", () => {
  const trie = new Trie<number>();
  for (const value of [1, 2, 3]) trie.add("a", value);
  const seen: number[] = [];
  for (const value of trie.match("a")) {
    seen.push(value);
    for (const other of [1, 2, 3]) trie.remove("a", other);
  }
  assertEquals(seen, [1, 2, 3]);
});

pureTest("the trie keeps no levels of filters that are gone", () => {
  const trie = trieOf("a/b/c", "a/b", "a/+/c/#", "x");
  assertEquals([trie.size, trie.nodes], [4, 7]);
  assertEquals(trie.remove("a/b/c", "a/b/c"), true);
  assertEquals(trie.nodes, 6);
  assertEquals(trie.match("a/b"), ["a/b"]);
  assertEquals(trie.remove("a/b", "a/b"), true);
  assertEquals(trie.nodes, 5);
  assertEquals(trie.remove("a/+/c/#", "a/+/c/#"), true);
  assertEquals([trie.size, trie.nodes], [1, 1]);
});

pureTest("removing what is not there leaves the rest", () => {
  const trie = trieOf("a/b");
  for (const filter of ["a", "a/b/c", "+/b", "b"]) assertEquals(trie.remove(filter, "a/b"), false);
  assertEquals(trie.remove("a/b", "other"), false);
  assertEquals([trie.size, trie.nodes], [1, 2]);
  assertEquals(trie.match("a/b"), ["a/b"]);
});

pureTest(
  "matching takes as long among 50,000 filters as among 1,000",
  () => {
    const small = timeOf(1_000);
    const large = timeOf(50_000);
    // A search through all filters would take 50 times as long; the machine may be busy.
    assertLess(large, 10 * small);
  },
);

/** The best of several times that matching 2,000 topics took, in ms. */
function timeOf(filters: number): number {
  const trie = new Trie<number>();
  for (let i = 0; i < filters; i++) trie.add(`site/${i}/${i % 3 === 0 ? "+" : "temp"}`, i);
  let best = Infinity;
  for (let round = 0; round < 10; round++) {
    const start = performance.now();
    for (let i = 0; i < 2_000; i++) {
      if (trie.match(`site/${i % 1_000}/temp`).length !== 1) throw new Error("no match");
    }
    best = Math.min(best, performance.now() - start);
  }
  return best;
}

pureTest(
  "the topic asked for last is answered anew after each change, and answers given stay as they were",
  () => {
    const trie = trieOf("a/+");
    const before = trie.match("a/b");
    assertStrictEquals(trie.match("a/b"), before);
    trie.add("#", "all");
    assertEquals([...trie.match("a/b")].sort(), ["a/+", "all"]);
    trie.remove("a/+", "a/+");
    assertEquals(trie.match("a/b"), ["all"]);
    assertEquals(before, ["a/+"]);
  },
);
