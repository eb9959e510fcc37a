import { type Entry, Index } from "../../../src/spool/log/index.ts";
import { assert, assertEquals } from "../../deps.ts";
import { Random } from "../../support/random.ts";

const pure = { permissions: "none" } as const;

function entry(seq: number, isQos0 = seq % 3 === 0, offset = seq * 10): Entry {
  return { seq, segment: seq % 7, offset, length: 100 + seq % 50, isQos0, acceptedAt: 1_000 + seq };
}

Deno.test(
  "an index gives back what was set, ascending, whatever the order of setting",
  pure,
  () => {
    for (const seed of [1, 2, 3]) {
      const random = new Random(seed);
      const index = new Index();
      const wanted = new Map<number, Entry>();
      for (let step = 0; step < 20_000; step++) {
        const seq = 1 + random.int(6_000);
        if (random.int(3) === 0) {
          assertEquals(index.remove(seq), wanted.get(seq));
          wanted.delete(seq);
        } else {
          const one = entry(seq, undefined, step);
          index.set(one);
          wanted.set(seq, one);
        }
      }
      const ascending = [...wanted.values()].sort((a, b) => a.seq - b.seq);
      assertEquals([...index.after(0)], ascending);
      assertEquals(index.size, wanted.size);
      const middle = ascending[ascending.length >> 1]!.seq;
      assertEquals([...index.after(middle)], ascending.filter(({ seq }) => seq > middle));
      assertEquals([...index.qos0After(middle)], [...index.after(middle)].filter((e) => e.isQos0));
      const seen: number[] = [];
      index.forEach((seq) => seen.push(seq));
      assertEquals(seen, ascending.map(({ seq }) => seq));
    }
  },
);

Deno.test("an index that is drained from the front, or thinned out, stays small", pure, () => {
  const index = new Index();
  for (let seq = 1; seq <= 100_000; seq++) index.set(entry(seq));
  for (let seq = 1; seq <= 100_000; seq++) if (seq % 100 > 0) assert(index.remove(seq));
  assertEquals([index.size, [...index.after(0)].length], [1_000, 1_000]);
  assertEquals(index.get(500)?.seq, 500);
  assertEquals(index.get(501), undefined);
  for (let seq = 100; seq <= 100_000; seq += 100) assert(index.remove(seq));
  assertEquals([index.size, [...index.after(0)]], [0, []]);
});
