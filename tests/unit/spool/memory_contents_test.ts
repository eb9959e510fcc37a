import { MemoryStorage } from "../../../src/spool/memory_storage.ts";
import type { NewRecord } from "../../../src/spool/storage.ts";
import { assertEquals } from "../../deps.ts";

function record(topic: string, qos: 0 | 1, expiresAt?: number): NewRecord {
  const payload = new TextEncoder().encode(`of ${topic}`);
  return { topic, payload, qos, acceptedAt: 5, ...expiresAt === undefined ? {} : { expiresAt } };
}

Deno.test(
  "a memory spool goes on with the contents of another one",
  { permissions: "none" },
  () => {
    const first = new MemoryStorage();
    const records = [record("a", 1), record("b", 0), record("c", 1, 9), record("d", 1)];
    const [a, b, , d] = first.commit({ append: records, remove: [] });
    first.commit({ append: [], remove: [a!] });
    first.commit({
      append: [],
      remove: [],
      quarantine: [{ seq: d!, reason: "it closes the connection" }],
    });
    // As between threads: plain data.
    const second = new MemoryStorage(structuredClone(first.contents()));
    assertEquals(second.usage, first.usage);
    const read = second.read(0, 10, Infinity);
    assertEquals(read.map(({ topic }) => topic), ["b", "c"]);
    assertEquals(read.map(({ expiresAt }) => expiresAt), [undefined, 9]);
    assertEquals(read.map(({ payload }) => new TextDecoder().decode(payload)), ["of b", "of c"]);
    assertEquals(second.quarantined().map(({ topic, reason }) => [topic, reason]), [
      ["d", "it closes the connection"],
    ]);
    assertEquals(second.readQos0(0, 10).length, first.readQos0(b! - 1, 10).length);
  },
);

Deno.test("an empty memory spool has empty contents", { permissions: "none" }, () => {
  assertEquals(new MemoryStorage().contents(), { messages: [], quarantined: [] });
});
