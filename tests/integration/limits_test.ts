/** Within the limits of AWS IoT Core: what a client does wrong stays between it and the daemon. */

import { assertEquals, assertLessOrEqual, assertRejects, assertStringIncludes } from "../deps.ts";
import { utf8 } from "../../src/base/bytes.ts";
import { BusError, BusErrorCode } from "../../src/base/errors.ts";
import { subscribe } from "../../src/bus/client.ts";
import type { Value } from "../../src/wire/object.ts";
import {
  type AwsIotCore,
  busiestSecond,
  LIMITS,
  startAwsIotCore,
} from "../support/aws_iot_core.ts";
import {
  connected,
  LARGEST,
  listen,
  type Message,
  publish,
  publishParams,
  startTestDaemon,
  untilConnected,
} from "../support/daemon.ts";
import { waitFor } from "../support/wait.ts";

/** What publishing something gets, and of the log line the part that names the rule. */
type Violation = readonly [what: string, code: BusErrorCode, rule: string];

const invalidUtf8 = new Uint8Array([0x61, 0xff]);

const PUBLISHES: readonly (readonly [...Violation, Message])[] = [
  ["an empty topic", BusErrorCode.INVALID, "not be empty", { topic: "" }],
  ["a topic with +", BusErrorCode.INVALID, "not hold + or #", { topic: "a/+/secret" }],
  ["a topic with #", BusErrorCode.INVALID, "not hold + or #", { topic: "secret/#" }],
  ["a topic with NUL", BusErrorCode.INVALID, "U+0000", { topic: "secret\0" }],
  ["a topic that is not UTF-8", BusErrorCode.INVALID, "UTF-8", { topic: invalidUtf8 }],
  ["a topic of 257 bytes", BusErrorCode.RANGE, "256 bytes", { topic: "x".repeat(257) }],
  ["a topic of 129 two-byte letters", BusErrorCode.RANGE, "256 bytes", { topic: "ä".repeat(129) }],
  ["a topic with 8 slashes", BusErrorCode.RANGE, "7 slashes", { topic: "/1/2/3/4/5/6/7/8" }],
  [
    "a Basic Ingest topic with 8 slashes behind its prefix",
    BusErrorCode.RANGE,
    "7 slashes",
    { topic: "$aws/rules/rule/1/2/3/4/5/6/7/8/9" },
  ],
  [
    "a payload of 131,073 bytes",
    BusErrorCode.RANGE,
    "131072 bytes",
    { topic: "secret", payload: new Uint8Array(LARGEST + 1) },
  ],
  ["QoS 2", BusErrorCode.INVALID, "0 or 1", { topic: "secret", qos: 2 }],
  ["QoS -1", BusErrorCode.INVALID, "0 or 1", { topic: "secret", qos: -1 }],
];

const SUBSCRIBES:
  readonly (readonly [...Violation, filter: Uint8Array<ArrayBuffer>, qos?: bigint])[] = [
    ["an empty filter", BusErrorCode.INVALID, "not be empty", utf8("")],
    ["a filter with + in a level", BusErrorCode.INVALID, "whole levels", utf8("secret+/a")],
    ["a filter with # before its end", BusErrorCode.INVALID, "last level", utf8("secret/#/a")],
    ["a filter with NUL", BusErrorCode.INVALID, "U+0000", utf8("secret\0")],
    ["a filter that is not UTF-8", BusErrorCode.INVALID, "UTF-8", invalidUtf8],
    ["a filter of 257 bytes", BusErrorCode.RANGE, "256 bytes", utf8("x".repeat(257))],
    ["a filter with 8 slashes", BusErrorCode.RANGE, "7 slashes", utf8("/1/2/3/4/5/6/7/8")],
    ["a shared filter without a group", BusErrorCode.INVALID, "group", utf8("$share//secret")],
    [
      "a shared filter with 8 slashes behind its prefix",
      BusErrorCode.RANGE,
      "7 slashes",
      utf8("$share/group/1/2/3/4/5/6/7/8/9"),
    ],
    ["a Basic Ingest filter", BusErrorCode.INVALID, "$aws/rules/", utf8("$aws/rules/secret/a")],
    ["a QoS 2 subscription", BusErrorCode.INVALID, "0 or 1", utf8("secret"), 2n],
  ];

async function refusedSubscribe(
  socket: string,
  filter: Uint8Array<ArrayBuffer>,
  qos = 0n,
): Promise<BusError> {
  const params = new Map<string, Value>([["topic_filter", filter], ["qos", qos]]);
  const subscription = subscribe(socket, "subscribe", params, () => {});
  const refusal = await assertRejects(() => subscription.accepted, BusError);
  await subscription.closed;
  return refusal;
}

/** The connection of before is still the only one there ever was. */
function assertUndisturbed(core: AwsIotCore): void {
  assertEquals(core.violations, []);
  assertEquals([core.accepted.length, core.connections.length], [1, 1]);
}

Deno.test("every violation is refused at the door, by code and with a log line, and the shared connection never closes", async () => {
  await using core = await startAwsIotCore();
  await using daemon = await startTestDaemon(core);
  const { socket, log } = daemon;
  await untilConnected(socket);
  const lastLines = (): { shown: string; hidden: string } => {
    const lines = log.lines.splice(0);
    const text = (debug: boolean): string =>
      lines.filter(({ level, fields }) => (level === "debug" && !("error" in fields)) === debug)
        .map(({ text, fields }) => `${text} ${JSON.stringify(fields)}`).join("\n");
    return { shown: text(false), hidden: text(true) };
  };
  lastLines();
  const check = (
    what: string,
    refusal: BusError,
    code: BusErrorCode,
    rule: string,
    bytes: number,
  ) => {
    const { shown } = lastLines();
    assertEquals([what, refusal.code], [what, code]);
    assertStringIncludes(shown, rule, what);
    assertStringIncludes(shown, `"topic_bytes":${bytes}`, what);
    assertEquals(/secret|xxx|ää|\/1\/2/.test(shown), false, `${what}: ${shown}`);
  };
  for (const [what, code, rule, message] of PUBLISHES) {
    const refusal = await assertRejects(() => publish(socket, message), BusError);
    const { topic } = message;
    check(what, refusal, code, rule, (typeof topic === "string" ? utf8(topic) : topic).length);
  }
  for (const [what, code, rule, filter, qos] of SUBSCRIBES) {
    check(what, await refusedSubscribe(socket, filter, qos), code, rule, filter.length);
  }
  await assertRejects(() => publish(socket, { topic: "secret/+" }), BusError);
  assertStringIncludes(lastLines().hidden, "secret/+");

  const longest = `$aws/rules/rule/${"x".repeat(LIMITS.topicBytes)}`;
  await publish(socket, { topic: longest, payload: new Uint8Array(LARGEST), qos: 1 });
  await publish(socket, { topic: "/1/2/3/4/5/6/7", qos: 0 });
  await using shared = await listen(socket, "$share/group/1/2/3/4/5/6/7/8");
  core.publish("1/2/3/4/5/6/7/8", "shared");
  await waitFor(
    "everything that is allowed",
    () => core.published.length === 2 && shared.messages.length === 1,
  );
  assertUndisturbed(core);
});

Deno.test("a notify that breaks a rule is only logged, and its connection goes on", async () => {
  await using core = await startAwsIotCore();
  await using daemon = await startTestDaemon(core);
  await untilConnected(daemon.socket);
  await using client = await connected(daemon.socket);
  await client.notify("publish", publishParams({ topic: "a/#" }));
  await client.notify("publish", publishParams({ topic: "a", payload: "good" }));
  await waitFor("the good one", () => core.published.length === 1);
  assertUndisturbed(core);
});

Deno.test("1,000 publishes at once all arrive, and no second of the broker holds more than 100; the same for 512 KiB", async () => {
  await Promise.all([many(), large()]);

  async function many(): Promise<void> {
    await using core = await startAwsIotCore();
    await using daemon = await startTestDaemon(core);
    await untilConnected(daemon.socket);
    await Promise.all(Array.from({ length: 20 }, async (_, client) => {
      await using connection = await connected(daemon.socket);
      await Promise.all(Array.from({ length: 50 }, (_, index) =>
        connection.call(
          "publish",
          publishParams({ topic: `many/${client}`, payload: `${index}`, qos: index % 2 }),
        )));
    }));
    await waitFor("1,000 messages", () => core.published.length >= 1_000, 30_000);
    const distinct = new Set(
      core.published.map(({ topic, payload }) => `${topic} ${new TextDecoder().decode(payload)}`),
    );
    assertEquals([distinct.size, core.published.length], [1_000, 1_000]);
    assertInOrderPerTopicAndQos(core);
    assertLessOrEqual(busiestSecond(core.published).messages, 100);
    assertUndisturbed(core);
  }

  async function large(): Promise<void> {
    await using core = await startAwsIotCore();
    await using daemon = await startTestDaemon(core);
    await untilConnected(daemon.socket);
    await using connection = await connected(daemon.socket);
    await Promise.all(Array.from({ length: 16 }, (_, index) =>
      connection.call(
        "publish",
        publishParams({
          topic: `large/${index}`,
          payload: new Uint8Array(index % 2 === 0 ? LARGEST : LARGEST / 2),
          qos: 1,
        }),
      )));
    await waitFor("16 large messages", () => core.published.length === 16, 30_000);
    assertLessOrEqual(busiestSecond(core.published).bytes, 524_288);
    assertUndisturbed(core);
  }
});

/** QoS 0 and 1 are two queues; in each, what a client published first arrives first. */
function assertInOrderPerTopicAndQos(core: AwsIotCore): void {
  const last = new Map<string, number>();
  for (const { topic, qos, payload } of core.published) {
    const index = Number(new TextDecoder().decode(payload));
    assertEquals(index > (last.get(`${topic} ${qos}`) ?? -1), true);
    last.set(`${topic} ${qos}`, index);
  }
}

Deno.test("--no-rate-limit sends as fast as the broker takes it", async () => {
  await using core = await startAwsIotCore({ behaviour: { publishesPerSecond: 1_000_000 } });
  await using daemon = await startTestDaemon(core, { noRateLimit: "true" });
  await untilConnected(daemon.socket);
  await using connection = await connected(daemon.socket);
  const started = performance.now();
  await Promise.all(
    Array.from(
      { length: 500 },
      (_, index) =>
        connection.call("publish", publishParams({ topic: "fast", payload: `${index}`, qos: 1 })),
    ),
  );
  await waitFor("500 messages", () => core.published.length === 500);
  // At 100 in a second it would be five seconds.
  assertLessOrEqual(performance.now() - started, 3_500);
  assertUndisturbed(core);
});
