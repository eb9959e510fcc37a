import { assertEquals, pureTest } from "../../deps.ts";
import type { Bytes } from "../../../src/base/bytes.ts";
import { ConnectionStatusFeed } from "../../../src/daemon/readiness.ts";
import { decodeFrame } from "../../../src/wire/frame.ts";
import { decodeValue } from "../../../src/wire/object.ts";

function client() {
  const heard: unknown[] = [];
  let leave = (): void => {};
  return {
    heard,
    leave: () => leave(),
    accept: () => void heard.push("accepted"),
    send: (frame: Bytes) => void heard.push(decodeValue(decodeFrame(frame).payload)),
    onClose: (fn: () => void) => void (leave = fn),
  };
}

pureTest(
  "a client of connection_status hears at once how it is, then each change and nothing else",
  () => {
    const status = new ConnectionStatusFeed();
    const early = client();
    status.add(early);
    status.set(false);
    status.set(true);
    status.set(true);
    const late = client();
    status.add(late);
    status.set(false);
    assertEquals(early.heard, ["accepted", false, true, false]);
    assertEquals(late.heard, ["accepted", true, false]);
  },
);

pureTest("a client of connection_status that left hears nothing more", () => {
  const status = new ConnectionStatusFeed();
  const one = client();
  status.add(one);
  one.leave();
  status.set(true);
  assertEquals([one.heard, status.connected], [["accepted", false], true]);
});
