import { assertEquals } from "../../deps.ts";
import { QOS0_QUEUE_BYTES, Qos0Queue } from "../../../src/publish/qos0_queue.ts";

const pure = { permissions: "none" } as const;

function take(lane: Qos0Queue): void {
  const first = lane.peek()!;
  lane.shift();
  lane.done(first);
}

Deno.test("the lane gives messages out in order, through many thousands", pure, () => {
  const lane = new Qos0Queue();
  let [pushed, taken] = [0, 0];
  for (let round = 0; round < 50; round++) {
    for (let i = 0; i < 300; i++) lane.push(`${pushed++}`, new Uint8Array(1), undefined);
    for (let i = 0; i < 250; i++) {
      assertEquals(lane.peek()!.topic, `${taken++}`);
      take(lane);
    }
  }
  assertEquals(lane.length, pushed - taken);
  while (lane.length > 0) take(lane);
  assertEquals([lane.bytes, lane.peek()], [0, undefined]);
});

Deno.test("the lane is bounded in bytes, with an overhead for each message", pure, () => {
  const lane = new Qos0Queue();
  let count = 0;
  while (lane.push("", new Uint8Array(0), undefined)) count++;
  assertEquals(lane.bytes <= QOS0_QUEUE_BYTES, true);
  assertEquals(count, QOS0_QUEUE_BYTES / 64);
  const first = lane.peek()!;
  lane.shift();
  assertEquals(
    lane.push("", new Uint8Array(0), undefined),
    false,
    "what was taken out still counts",
  );
  lane.done(first);
  assertEquals(lane.push("", new Uint8Array(0), undefined), true);
});

Deno.test("taking from an empty lane does nothing", pure, () => {
  const lane = new Qos0Queue();
  lane.shift();
  assertEquals([lane.length, lane.bytes], [0, 0]);
});
