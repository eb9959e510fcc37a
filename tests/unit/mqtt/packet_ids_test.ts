import { PacketIds } from "../../../src/mqtt/packet_ids.ts";
import { assertEquals, assertNotEquals, pureTest } from "../../deps.ts";

Deno.test("packet ids go round without meeting one in use, and end when all are", {
  permissions: "none",
}, () => {
  const ids = new PacketIds();
  assertEquals(ids.getLastAllocated(), null);
  assertEquals(ids.allocate(), 1);
  for (let id = 2; id <= 65_535; id++) {
    assertEquals(ids.allocate(), id);
    ids.deallocate(id);
  }
  assertEquals(ids.allocate(), 2);
  assertEquals(ids.getLastAllocated(), 2);
  assertEquals(ids.register(2), false);
  for (let count = 2; count < 65_535; count++) ids.allocate();
  assertEquals(ids.allocate(), null);
  ids.deallocate(40_000);
  assertEquals(ids.allocate(), 40_000);
  ids.clear();
  assertEquals(ids.register(40_000), true);
});

pureTest("a message keeps its id on a resumed session, and nothing else gets that id", () => {
  const ids = new PacketIds();
  const publish = (key: number, again: boolean): number | null => {
    ids.next({ key, again });
    return ids.allocate();
  };
  assertEquals([publish(70, false), publish(71, false), ids.allocate()], [1, 2, 3]);
  ids.deallocate(1);
  ids.connected(true);
  ids.clear();
  for (let count = 0; count < 65_534; count++) ids.deallocate(ids.allocate()!);
  assertEquals(publish(72, false), 4);
  assertEquals(publish(71, true), 2);
  assertEquals(publish(70, true), 5);
  ids.deallocate(2);
  assertEquals(ids.register(2), true);
});

pureTest("what was sent under two ids keeps both until the broker has it", () => {
  const ids = new PacketIds();
  for (const again of [false, false]) {
    ids.next({ key: 7, again });
    ids.allocate();
  }
  ids.connected(true);
  ids.next({ key: 7, again: true });
  assertEquals(ids.allocate(), 2);
  assertEquals(ids.register(1), false);
  ids.deallocate(2);
  assertEquals([ids.register(1), ids.register(2)], [true, true]);
});

pureTest("a session that is gone leaves no id reserved", () => {
  const ids = new PacketIds();
  ids.next({ key: 7, again: false });
  assertEquals(ids.allocate(), 1);
  ids.connected(false);
  ids.next({ key: 7, again: true });
  assertEquals([ids.register(1), ids.allocate()], [true, 2]);
});

pureTest("messages that are never sent again do not use up the ids", () => {
  const ids = new PacketIds();
  for (const link of [1, 2, 3]) {
    for (let count = 0; count < 32_700; count++) {
      ids.next({ key: 100_000 * link + count, again: false });
      assertNotEquals(ids.allocate(), null);
    }
    ids.connected(true);
  }
});
