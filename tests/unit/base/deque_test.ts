import { Deque } from "../../../src/base/deque.ts";
import { assertEquals, pureTest } from "../../deps.ts";

pureTest(
  "what goes in comes out in order, however the two are mixed",
  () => {
    const deque = new Deque<number>();
    const plain: number[] = [];
    let next = 0;
    for (let round = 0; round < 20_000; round++) {
      // Grows for a while and shrinks for a while, so that the head passes every threshold.
      const grows = Math.floor(round / 4_000) % 2 === 0;
      if (round % 3 === 0 ? !grows : grows) {
        deque.push(next);
        plain.push(next++);
      } else assertEquals(deque.shift(), plain.shift());
      assertEquals([deque.length, deque.peek()], [plain.length, plain[0]]);
    }
    assertEquals(deque.drain(), plain);
    assertEquals([deque.length, deque.peek(), deque.shift()], [0, undefined, undefined]);
  },
);
