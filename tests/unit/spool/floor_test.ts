import { Floor } from "../../../src/spool/floor.ts";
import { assertEquals } from "../../deps.ts";

/** Removes messages and says what is the first that is left, with its predecessor. */
function remove(floor: Floor, removed: [number, number][], first?: [number, number]): number {
  const gone = new Map(removed);
  const link = first && { seq: first[0], prev: first[1] };
  floor.commit(gone, floor.after(gone, link, first === undefined ? 100 : undefined));
  return floor.value;
}

Deno.test("the floor rises with what is removed in order, over gaps in the numbers", () => {
  const floor = new Floor(1);
  assertEquals(remove(floor, [[1, 0]], [2, 1]), 2);
  assertEquals(remove(floor, [[2, 1]], [50, 2]), 50);
  assertEquals(remove(floor, [[50, 2]]), 100);
});

Deno.test("the floor waits for the oldest and then passes what went before it", () => {
  const floor = new Floor(1);
  assertEquals(remove(floor, [[2, 1], [7, 2]], [1, 0]), 1);
  assertEquals([floor.isGone(2), floor.isGone(7), floor.isGone(1)], [true, true, false]);
  assertEquals(remove(floor, [[1, 0]], [9, 7]), 9);
  assertEquals(floor.isGone(7), false);
});

Deno.test("the floor does not pass a message that a damaged table hides", () => {
  const floor = new Floor(1);
  assertEquals(remove(floor, [[1, 0]], [4, 3]), 1, "what became of 3?");
  const empty = new Map<number, number>();
  assertEquals(floor.after(empty, undefined, undefined), 1, "the counters say that there is more");
});
