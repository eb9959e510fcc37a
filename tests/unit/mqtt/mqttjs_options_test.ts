import { PacketIds } from "../../../src/mqtt/mqttjs_options.ts";
import { assertEquals } from "../../deps.ts";

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
