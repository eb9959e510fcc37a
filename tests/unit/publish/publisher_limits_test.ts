import { BusErrorCode } from "../../../src/base/errors.ts";
import { assertEquals, assertStringIncludes, pureTest } from "../../deps.ts";
import { OK, setUp } from "./publisher_scene.ts";

const LARGE = "x".repeat(500);

pureTest("while connected, a message beyond the broker's limits is refused at once", () => {
  const { publish, up, link, lose } = setUp();
  up(10, { maximumPacketSize: 200 });
  assertEquals([publish(LARGE).is, publish(LARGE, 0).is], [
    `${BusErrorCode.RANGE}`,
    `${BusErrorCode.RANGE}`,
  ]);
  lose();
  assertEquals(publish(LARGE).is, "ok");
  up(10, { maximumQos: 0 });
  assertStringIncludes(publish("one").is, `${BusErrorCode.REMOTE} the broker takes QoS 0 alone`);
  assertEquals(publish("zero", 0).is, "ok");
  assertEquals(link.texts, ["zero"]);
});

pureTest("a spooled message beyond the limits waits in quarantine, and others go on", () => {
  const { publish, up, link, spool } = setUp();
  publish("before");
  const reply = publish(LARGE, 1, { ack: true });
  publish("behind");
  up(10, { maximumPacketSize: 200 });
  assertEquals(link.texts, ["before", "behind"]);
  assertStringIncludes(reply.is, "at most 200 bytes");
  const [kept] = spool.stats().quarantined;
  assertStringIncludes(kept!.reason, "at most 200 bytes");
});

pureTest(
  "what quarantine has no room for stays in the spool, and goes over a link that takes it",
  () => {
    const { publish, up, link, spool, lose } = setUp({ maxBytes: 8_000 });
    for (let count = 0; count < 8; count++) publish(`${count} ${LARGE}`);
    up(10, { maximumQos: 0 });
    assertEquals(link.sent.length, 0);
    const { messages, quarantined } = spool.stats();
    assertEquals([messages, quarantined.length], [8, 3]);
    lose();
    link.auto = () => OK;
    up();
    assertEquals(link.texts.map((text) => text[0]), ["3", "4", "5", "6", "7"]);
    assertEquals(spool.stats().messages, 3);
  },
);

pureTest(
  "a message is told from others by its number in the spool, however often it is sent",
  () => {
    const { publish, up, link, lose } = setUp();
    publish("a");
    publish("b");
    up();
    lose({ by: "network", reason: "no route" });
    up();
    const keys = link.sent.map(({ key, dup }) => [key, dup]);
    assertEquals(keys.slice(2), keys.slice(0, 2).map(([key]) => [key, true]));
    assertEquals(new Set(keys.map(([key]) => key)).size, 2);
  },
);
