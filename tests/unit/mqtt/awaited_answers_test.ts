import { AwaitedAnswers } from "../../../src/mqtt/awaited_answers.ts";
import { ProtocolError } from "../../../src/mqtt/protocol_error.ts";
import { assertThrows, pureTest } from "../../deps.ts";

const properties = {};

pureTest("each answer comes once, for a packet that waits for it, with a code per filter", () => {
  const awaited = new AwaitedAnswers();
  awaited.sent({ cmd: "publish", qos: 1, messageId: 1 });
  awaited.sent({ cmd: "subscribe", messageId: 2, subscriptions: ["a", "b"] });
  awaited.sent({ cmd: "unsubscribe", messageId: 3, unsubscriptions: ["a"] });
  awaited.sent({ cmd: "unsubscribe", messageId: 4, unsubscriptions: ["a"] });
  awaited.sent({ cmd: "publish", qos: 0 });
  const puback = { type: "puback", id: 1, code: 0, properties } as const;
  awaited.came(puback, true);
  assertThrows(() => awaited.came(puback, true), ProtocolError, "does not wait for one");
  const suback = { type: "suback", id: 2, codes: [0, 1], properties } as const;
  assertThrows(() => awaited.came({ ...puback, id: 2 }, true), ProtocolError);
  awaited.came(suback, true);
  awaited.came({ ...suback, type: "unsuback", id: 3, codes: [] }, false);
  assertThrows(
    () => awaited.came({ ...suback, type: "unsuback", id: 4 }, true),
    ProtocolError,
    "2 codes for 1 filters",
  );
});
