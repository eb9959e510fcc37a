import { Inbox } from "../../../src/client/inbox.ts";
import { assertEquals, assertRejects, assertStrictEquals, pureTest } from "../../deps.ts";

const BOUND = { items: 3, bytes: 100 };

async function settled(promise: Promise<void>): Promise<boolean> {
  const pending = Symbol();
  return await Promise.race([promise, Promise.resolve(pending)]) !== pending;
}

pureTest("an inbox gives what was put in, in order, and then waits for more", async () => {
  const inbox = new Inbox<string>(BOUND);
  inbox.put("a", 1);
  inbox.put("b", 1);
  assertEquals(await inbox.next(), { done: false, value: "a" });
  assertEquals(await inbox.next(), { done: false, value: "b" });
  const third = inbox.next();
  inbox.put("c", 1);
  assertEquals(await third, { done: false, value: "c" });
  assertEquals(inbox.length, 0);
});

pureTest("an inbox asks for a pause at its bound of items until one is taken", async () => {
  const inbox = new Inbox<number>(BOUND);
  assertEquals(inbox.put(1, 0), undefined);
  assertEquals(inbox.put(2, 0), undefined);
  const room = inbox.put(3, 0);
  assertEquals(await settled(room!), false);
  await inbox.next();
  await room;
  assertEquals(inbox.length, 2);
});

pureTest("an inbox asks for a pause at its bound of bytes until enough are taken", async () => {
  const inbox = new Inbox<number>(BOUND);
  assertEquals(inbox.put(1, 60), undefined);
  const room = inbox.put(2, 60);
  assertEquals(await settled(room!), false);
  await inbox.next();
  await room;
});

pureTest("an inbox with a waiting reader never asks for a pause", () => {
  const inbox = new Inbox<number>({ items: 1, bytes: 1 });
  void inbox.next();
  assertEquals(inbox.put(1, 1_000), undefined);
});

pureTest("an ended inbox gives what waits, throws its error once, and is done", async () => {
  const inbox = new Inbox<number>(BOUND);
  inbox.put(1, 0);
  inbox.end(new Error("gone"));
  inbox.end(new Error("too late"));
  assertEquals(inbox.put(2, 0), undefined);
  assertEquals(await inbox.next(), { done: false, value: 1 });
  await assertRejects(() => inbox.next(), Error, "gone");
  assertEquals(await inbox.next(), { done: true, value: undefined });
});

pureTest("ending an inbox wakes its reader and whoever waits for room", async () => {
  const failing = new Inbox<number>(BOUND);
  const reading = failing.next();
  failing.end(new Error("gone"));
  await assertRejects(() => reading, Error, "gone");

  const full = new Inbox<number>({ items: 1, bytes: 1 });
  const room = full.put(1, 0);
  full.end();
  await room;
  assertStrictEquals((await full.next()).value, 1);
  assertEquals((await full.next()).done, true);
});

pureTest("a cleared inbox drops what waits and is done", async () => {
  const inbox = new Inbox<number>(BOUND);
  inbox.put(1, 0);
  inbox.clear();
  assertEquals((await inbox.next()).done, true);
});
