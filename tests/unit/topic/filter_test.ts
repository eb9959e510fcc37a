import { assert, assertEquals, assertMatch, assertThrows, pureTest } from "../../deps.ts";
import { BusError, codeName } from "../../../src/base/errors.ts";
import { checkFilter, checkTopic, localFilter, matches } from "../../../src/topic/filter.ts";
import spec from "../../fixtures/topic-match.json" with { type: "json" };

type Check = (text: string) => void;

/** The code that a check refuses with, or `OK`. */
function verdict(check: Check, text: string): string {
  try {
    check(text);
  } catch (error) {
    assert(error instanceof BusError);
    assertMatch(error.message, /^Cannot use a (topic|filter): it must [^\0\n]+, got .*\d+/);
    return codeName(error.code);
  }
  return "OK";
}

const VERDICTS: readonly (readonly [check: Check, text: string, code: string, why: string])[] = [
  [checkTopic, "a", "OK", "one byte"],
  [checkTopic, "t".repeat(256), "OK", "256 bytes"],
  [checkTopic, "t".repeat(257), "RANGE", "257 bytes"],
  [checkTopic, "é".repeat(128), "OK", "256 bytes in 128 characters"],
  [checkTopic, "é".repeat(129), "RANGE", "258 bytes in 129 characters"],
  [checkTopic, "\u07ff".repeat(128), "OK", "the last character of two bytes"],
  [checkTopic, "\u0800".repeat(86), "RANGE", "the first character of three bytes"],
  [checkTopic, "☀".repeat(85), "OK", "255 bytes in 85 characters"],
  [checkTopic, "☀".repeat(86), "RANGE", "258 bytes in 86 characters"],
  [checkTopic, "😀".repeat(64), "OK", "256 bytes in 64 characters"],
  [checkTopic, "😀".repeat(64) + "a", "RANGE", "257 bytes in 65 characters"],
  [checkTopic, "1/2/3/4/5/6/7/8", "OK", "7 slashes"],
  [checkTopic, "1/2/3/4/5/6/7/8/", "RANGE", "8 slashes"],
  [checkTopic, "///////", "OK", "7 slashes around nothing"],
  [checkTopic, "$aws/rules/rule/1/2/3/4/5/6/7/8", "OK", "7 slashes after the prefix"],
  [checkTopic, "$aws/rules/rule/1/2/3/4/5/6/7/8/9", "RANGE", "8 slashes after the prefix"],
  [checkTopic, "$aws/rules/rule/" + "t".repeat(256), "OK", "256 bytes after the prefix"],
  [checkTopic, "$aws/rules/rule/" + "t".repeat(257), "RANGE", "257 bytes after the prefix"],
  [checkTopic, "$aws/rules//" + "t".repeat(245), "RANGE", "a prefix without a rule is none"],
  [
    checkTopic,
    "$aws/commands/things/t/executions/e/response/accepted/json",
    "OK",
    "8 slashes of a reserved topic",
  ],
  [checkTopic, "$awsome/1/2/3/4/5/6/7/8", "RANGE", "8 slashes of one that only looks reserved"],
  [checkTopic, `$aws/rules/${"r".repeat(65_522)}/t`, "OK", "65,535 bytes in all"],
  [checkTopic, `$aws/rules/${"r".repeat(65_523)}/t`, "RANGE", "65,536 bytes in all"],
  [checkTopic, "$aws/rules/+/t", "INVALID", "a wildcard in the prefix"],
  [checkTopic, "$aws/rules/a\0b/t", "INVALID", "NUL in the prefix"],
  [checkTopic, "$aws/things/t/shadow/update", "OK", "a reserved topic"],
  [checkTopic, "a+b", "INVALID", "a wildcard anywhere"],
  [checkTopic, "a\ud800b", "INVALID", "half a surrogate pair"],
  [checkFilter, "#", "OK", "everything"],
  [checkFilter, "+", "OK", "every first level"],
  [checkFilter, "+/+/#", "OK", "wildcards on levels of their own"],
  [checkFilter, "f".repeat(256), "OK", "256 bytes"],
  [checkFilter, "f".repeat(257), "RANGE", "257 bytes"],
  [checkFilter, "1/2/3/4/5/6/7/#", "OK", "7 slashes"],
  [checkFilter, "1/2/3/4/5/6/7/8/#", "RANGE", "8 slashes"],
  [checkFilter, "+#", "INVALID", "two wildcards on one level"],
  [checkFilter, "a/#b", "INVALID", "more after #"],
  [checkFilter, "a/b#", "INVALID", "more before #"],
  [checkFilter, "a/+b/c", "INVALID", "more after +"],
  [checkFilter, "#/", "INVALID", "a level after #"],
  [checkFilter, "a\ud800b", "INVALID", "half a surrogate pair"],
  [checkFilter, "$share/group/1/2/3/4/5/6/7/8", "OK", "7 slashes after the prefix"],
  [checkFilter, "$share/group/1/2/3/4/5/6/7/8/9", "RANGE", "8 slashes after the prefix"],
  [checkFilter, "$share/group/" + "f".repeat(256), "OK", "256 bytes after the prefix"],
  [checkFilter, "$share/group/" + "f".repeat(257), "RANGE", "257 bytes after the prefix"],
  [checkFilter, "$share/group/#", "OK", "a wildcard right after the prefix"],
  [checkFilter, "$share/group/+/a", "OK", "another one"],
  [checkFilter, "$share//a", "INVALID", "no group"],
  [checkFilter, "$share/", "INVALID", "nothing"],
  [checkFilter, "$share/group", "INVALID", "no filter"],
  [checkFilter, "$share/group/", "INVALID", "an empty filter"],
  [checkFilter, "$share/gr+up/a", "INVALID", "+ in the group"],
  [checkFilter, "$share/#/a", "INVALID", "# as the group"],
  [checkFilter, "$share/g\0/a", "INVALID", "NUL in the group"],
  [checkFilter, "$share/group/a#", "INVALID", "a bad filter after the prefix"],
  [checkFilter, "$shared/group/a", "OK", "not the prefix"],
  [checkFilter, "$aws/rules/rule/a", "INVALID", "Basic Ingest"],
  [checkFilter, "$aws/rules/#", "INVALID", "all of Basic Ingest"],
  [checkFilter, "$share/group/$aws/rules/rule/a", "INVALID", "Basic Ingest, shared"],
  [checkFilter, "$aws/things/+/shadow/#", "OK", "reserved topics"],
  [checkFilter, "$aws/commands/things/t/executions/+/request/json/#", "OK", "deep reserved topics"],
  [checkFilter, "$share/g/$aws/1/2/3/4/5/6/7/8/9", "OK", "deep reserved topics, shared"],
];

for (const [check, text, code, why] of VERDICTS) {
  const what = check === checkTopic ? "topic" : "filter";
  pureTest(`a ${what} is ${code}: ${why} (${text.length} units)`, () => {
    assertEquals(verdict(check, text), code);
  });
}

pureTest("topics and filters that MQTT forbids are refused", () => {
  for (const { filter, why } of spec.invalid_filters) {
    assertEquals(verdict(checkFilter, filter), "INVALID", why);
  }
  for (const { topic, why } of spec.invalid_publish_topics) {
    assertEquals(verdict(checkTopic, topic), "INVALID", why);
  }
  assertEquals(spec.invalid_filters.length + spec.invalid_publish_topics.length, 13);
});

pureTest("a refusal says the length and the rule, not the topic", () => {
  assertEquals(
    assertThrows(() => checkTopic("sécret/+"), BusError).message,
    "Cannot use a topic: it must not hold + or #, got one of 9 bytes",
  );
  assertEquals(
    assertThrows(() => checkFilter("$share/g/" + "secret/".repeat(40)), BusError).message,
    "Cannot use a filter: it must have at most 256 bytes, got 280",
  );
});

pureTest("the naive matcher agrees with the specification", () => {
  for (const { filter, topic, match, why } of spec.match) {
    assertEquals(verdict(checkFilter, filter), "OK");
    assertEquals(verdict(checkTopic, topic), "OK");
    assertEquals(matches(filter, topic), match, `${filter} on ${topic}: ${why}`);
  }
  assertEquals(spec.match.length, 42);
});

pureTest("a shared filter matches by what comes after its group", () => {
  assertEquals(localFilter("$share/group/a/+"), "a/+");
  assertEquals(localFilter("$share/group//"), "/");
  assertEquals(localFilter("a/$share/group/b"), "a/$share/group/b");
  assertEquals(localFilter("$SYS/#"), "$SYS/#");
});
