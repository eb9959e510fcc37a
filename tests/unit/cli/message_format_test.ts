import { fromUtf8, utf8 } from "../../../src/base/bytes.ts";
import { parseFormat } from "../../../src/cli/message_format.ts";
import { assertEquals, assertThrows, pureTest } from "../../deps.ts";

const NOW = 1_470_818_943_786;

function shown(format: string, payload: string | Uint8Array<ArrayBuffer> = "21.5"): string {
  const bytes = typeof payload === "string" ? utf8(payload) : payload;
  return fromUtf8(parseFormat(format)({ topic: "a/b", payload: bytes }, NOW))!;
}

pureTest("a format is text with topic, payload, length, hexadecimal and time in it", () => {
  assertEquals(shown("%t %p"), "a/b 21.5");
  assertEquals(shown("[%l] %x 100%%"), "[4] 32312e35 100%");
  assertEquals(shown("%U %I"), "1470818943.786000000 2016-08-10T08:49:03.786Z");
  assertEquals(shown("%t\\t%p\\n\\\\n"), "a/b\t21.5\n\\n");
  assertEquals(shown(""), "");
});

pureTest("%p is the bytes of the payload, whatever they are", () => {
  const payload = new Uint8Array([0xff, 0x00, 0x0a]);
  const bytes = parseFormat("<%p>")({ topic: "t", payload }, NOW);
  assertEquals([...bytes], [0x3c, 0xff, 0x00, 0x0a, 0x3e]);
});

pureTest("%j is the message as JSON, %J with the payload as JSON", () => {
  const head = { tst: "2016-08-10T08:49:03.786Z", topic: "a/b" };
  assertEquals(JSON.parse(shown("%j", '{"a":1}')), {
    ...head,
    payloadlen: 7,
    payload: '{"a":1}',
  });
  assertEquals(JSON.parse(shown("%J", '{"a":1}')), { ...head, payloadlen: 7, payload: { a: 1 } });
  assertEquals(JSON.parse(shown("%J", "no json")), { ...head, payloadlen: 7, payload: null });
  const binary = JSON.parse(shown("%j", new Uint8Array([0xff])));
  assertEquals(binary, { ...head, payloadlen: 1, payload_base64: "/w==" });
});

pureTest(
  "what the core bus does not carry, and what means nothing, is refused by its letter",
  () => {
    assertThrows(() => parseFormat("%q"), TypeError, "the QoS (%q)");
    assertThrows(() => parseFormat("%r"), TypeError, "the retain flag (%r)");
    assertThrows(() => parseFormat("%z"), TypeError, '"%z"');
    assertThrows(() => parseFormat("100%"), TypeError, '"%"');
    assertThrows(() => parseFormat("\\q"), TypeError, "\\q");
  },
);
