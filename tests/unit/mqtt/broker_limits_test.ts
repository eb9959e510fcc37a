import { filterRefusal, limitsOf, publishRefusal } from "../../../src/mqtt/broker_limits.ts";
import { assertEquals, pureTest } from "../../deps.ts";

pureTest("what CONNACK does not say is not limited, and MQTT 3.1.1 says nothing", () => {
  assertEquals(limitsOf("5", {}), { identifiersAvailable: true });
  assertEquals(limitsOf("3.1.1", {}), {});
  const limits = limitsOf("5", {
    maximumPacketSize: 1_000,
    maximumQoS: 0,
    retainAvailable: 0,
    wildcardSubscriptionAvailable: 0,
    sharedSubscriptionAvailable: 0,
    subscriptionIdentifiersAvailable: 0,
    serverKeepAlive: 20,
    sessionExpiryInterval: 0,
    assignedClientIdentifier: "auto",
  });
  assertEquals(limits, {
    maximumPacketSize: 1_000,
    maximumQos: 0,
    retainAvailable: false,
    wildcardAvailable: false,
    sharedAvailable: false,
    keepAliveS: 20,
    sessionExpiryS: 0,
    assignedClientId: "auto",
  });
});

pureTest("a message fits when its packet fits, whatever properties it gets", () => {
  const message = (bytes: number, topic = "t\u{1f600}") =>
    ({ topic, payload: new Uint8Array(bytes), qos: 1 }) as const;
  const overhead = 18 + 5;
  assertEquals(publishRefusal({ maximumPacketSize: 100 }, message(100 - overhead)), undefined);
  const refusal = publishRefusal({ maximumPacketSize: 100 }, message(101 - overhead));
  assertEquals(refusal, {
    kind: "size",
    reason: "the broker takes packets of at most 100 bytes, got 101",
  });
  assertEquals(publishRefusal({}, message(1_000_000)), undefined);
});

pureTest("QoS 1 is refused where the broker takes QoS 0 alone", () => {
  const message = { topic: "t", payload: new Uint8Array(0) };
  assertEquals(publishRefusal({ maximumQos: 0 }, { ...message, qos: 1 })?.kind, "qos");
  assertEquals(publishRefusal({ maximumQos: 0 }, { ...message, qos: 0 }), undefined);
});

pureTest(
  "filters that the broker does not have are refused with the code that it would use",
  () => {
    const code = (filter: string): number | undefined =>
      filterRefusal({ wildcardAvailable: false, sharedAvailable: false }, filter)?.code;
    assertEquals(["a", "a/+", "#", "$share/g/a"].map(code), [undefined, 0xa2, 0xa2, 0x9e]);
    assertEquals(filterRefusal({}, "$share/g/+"), undefined);
  },
);
