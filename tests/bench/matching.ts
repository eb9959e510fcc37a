import { matches } from "../../src/topic/filter.ts";
import { Trie } from "../../src/topic/trie.ts";
import { rounds } from "./support/measure.ts";
import { type Bench, row } from "./support/report.ts";

const SIZES = [10, 1_000, 50_000];

/** The filters that the topics match; the others are like them, but for other devices. */
const MATCHING = ["fleet/+/telemetry/#", "fleet/truck-1/#", "fleet/truck-1/telemetry/speed"];

const TOPICS = Array.from({ length: 64 }, (_, i) => `fleet/truck-${i % 4}/telemetry/speed`);

/** Comparisons of a filter with a topic in one run of the naive matcher, about. */
const COMPARISONS = { short: 100_000, full: 4_000_000 };

/** Topics that the trie matches in one run. */
const MATCHES = { short: 2_000, full: 400_000 };

function filters(size: number): string[] {
  const others = Array.from({ length: size - MATCHING.length }, (_, i) => {
    const device = `fleet/van-${i}`;
    return [`${device}/telemetry/speed`, `${device}/#`, `${device}/+/speed`][i % 3]!;
  });
  return [...MATCHING, ...others];
}

/** Finding who gets a message, among many filters. */
export async function matching(bench: Bench): Promise<void> {
  const kind = bench.short ? "short" : "full";
  const options = { runs: bench.runs, warm: true };
  const tries = new Map(SIZES.map((size) => [size, trieOf(filters(size))]));
  for (const size of SIZES) {
    bench.progress(`${size} filters`);
    const list = filters(size);
    const times = Math.max(TOPICS.length, COMPARISONS[kind] / size);
    const figures = await rounds(options, {
      naive: () => nanosOf(times, (topic) => naive(list, topic)),
      ours: () => nanosOf(MATCHES[kind], (topic) => tries.get(size)!.match(topic).length),
    });
    bench.add(row({
      family: "matching",
      what: `${size.toLocaleString("en")} filters`,
      unit: "ns per topic",
      ours: figures.ours,
      baseline: figures.naive,
      baselineIs: "the naive matcher",
    }));
  }
  const [, some, many] = SIZES as [number, number, number];
  const figures = await rounds(options, {
    some: () => nanosOf(MATCHES[kind], (topic) => tries.get(some)!.match(topic).length),
    many: () => nanosOf(MATCHES[kind], (topic) => tries.get(many)!.match(topic).length),
  });
  bench.add(row({
    family: "matching",
    what: `${many.toLocaleString("en")} filters`,
    unit: "ns per topic",
    ours: figures.many,
    baseline: figures.some,
    baselineIs: `the same with ${some.toLocaleString("en")} filters`,
    goal: { atMost: 2 },
  }));
}

function trieOf(list: readonly string[]): Trie<number> {
  const trie = new Trie<number>();
  list.forEach((filter, index) => trie.add(filter, index));
  return trie;
}

function naive(list: readonly string[], topic: string): number {
  const found: number[] = [];
  for (let i = 0; i < list.length; i++) if (matches(list[i]!, topic)) found.push(i);
  return found.length;
}

/** Nanoseconds per topic; the number of filters found is checked. */
function nanosOf(times: number, match: (topic: string) => number): number {
  const wanted = TOPICS.map((topic) => naive(MATCHING, topic));
  let wrong = 0;
  const start = performance.now();
  for (let i = 0; i < times; i++) {
    if (match(TOPICS[i % TOPICS.length]!) !== wanted[i % TOPICS.length]) wrong++;
  }
  const nanos = (performance.now() - start) * 1e6 / times;
  if (wrong > 0) throw new Error(`${wrong} of ${times} topics matched another number of filters`);
  return nanos;
}
