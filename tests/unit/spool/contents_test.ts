import { Contents } from "../../../src/spool/log/contents.ts";
import { numbersOf, runsOf } from "../../../src/spool/log/record.ts";
import { type Entry, Segment } from "../../../src/spool/log/segment.ts";
import { assertEquals } from "../../deps.ts";
import { Random } from "../../support/random.ts";

const pure = { permissions: "none" } as const;

function entry(seq: number, isQos0 = seq % 3 === 0): Entry {
  return { seq, offset: seq * 10, length: 100 + seq % 50, isQos0, acceptedAt: 1_000 + seq };
}

Deno.test("what lives is found, counted, and listed in order, over several segments", pure, () => {
  const random = new Random(7);
  const contents = new Contents();
  const wanted = new Map<number, Entry>();
  const held = new Set<number>();
  for (let seq = 5; seq < 4_000; seq += 1 + random.int(3)) {
    if (wanted.size % 300 === 0) contents.segments.push(new Segment(seq));
    contents.add(contents.segments.at(-1)!, entry(seq));
    wanted.set(seq, entry(seq));
    const other = random.pick([...wanted.keys()]);
    const what = random.int(16);
    if (what < 4) {
      assertEquals(contents.remove(other), true);
      assertEquals(contents.remove(other), false);
      wanted.delete(other);
      held.delete(other);
    } else if (what < 7) {
      contents.hold(other, "t", "why");
      held.add(other);
    } else if (what < 8) {
      contents.release(other);
      held.delete(other);
    }
  }
  const free = [...wanted.values()].filter(({ seq }) => !held.has(seq));
  assertEquals([...contents.after(0)].map((found) => found.entry), free);
  assertEquals(
    [...contents.after(2_000, true)].map((found) => found.entry),
    free.filter(({ seq, isQos0 }) => seq > 2_000 && isQos0),
  );
  const size = ({ length }: Entry): number => length - 46 + 64;
  const sum = (entries: Iterable<Entry>): number =>
    [...entries].reduce((bytes, one) => bytes + size(one), 0);
  assertEquals(contents.usage, {
    messages: wanted.size,
    bytes: sum(wanted.values()),
    qos0Bytes: sum(free.filter(({ isQos0 }) => isQos0)),
  });
  assertEquals([...contents.held.keys()].sort(), [...held].sort());
  const [own] = contents.segments;
  const states = contents.states(own!);
  assertEquals(
    states.flatMap(({ runs }) => [...numbersOf(runs)]),
    [...wanted.keys()].filter((seq) => seq >= contents.segments[1]!.first),
  );
});

Deno.test("numbers are kept as runs", pure, () => {
  assertEquals(runsOf([1, 2, 3, 7, 9, 10]), [1, 3, 7, 1, 9, 2]);
  assertEquals([...numbersOf([1, 3, 7, 1, 9, 2])], [1, 2, 3, 7, 9, 10]);
  assertEquals([runsOf([]), [...numbersOf([])]], [[], []]);
});
