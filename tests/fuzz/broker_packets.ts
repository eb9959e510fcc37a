import { type Bytes, concat, utf8 } from "../../src/base/bytes.ts";
import type { MqttVersion } from "../../src/mqtt/link.ts";
import type { Random } from "../support/random.ts";

/** Values of each type of property: some in range, some at its ends. */
const VALUES = {
  byte: [[0], [1], [2], [255]],
  uint16: [[0, 0], [0, 1], [0xff, 0xff]],
  uint32: [[0, 0, 0, 0], [0, 0, 0, 1], [0, 4, 0, 0], [255, 255, 255, 255]],
  varint: [[0], [1], [0x80, 1], [0xff, 0xff, 0xff, 0x7f], [0x80, 0x80, 0x80, 0x80, 1], [0x80, 0]],
  text: [text("x"), text(""), text("a/+"), text("\0"), [0, 2, 0xc3, 0x28], [0, 9, 0x61]],
  binary: [[0, 0], [0, 2, 1, 2], [0, 9, 1]],
  pair: [[...text("k"), ...text("v")], [...text("k"), 0, 1, 0xff], text("k")],
} as const;

/** Every property of MQTT 5 [MQTT5-2.2.2.2], and some that there are not. */
const PROPERTIES: readonly (readonly [id: number, type: keyof typeof VALUES])[] = [
  ...[0x01, 0x17, 0x19, 0x24, 0x25, 0x28, 0x29, 0x2a].map((id) => [id, "byte"] as const),
  ...[0x02, 0x11, 0x18, 0x27].map((id) => [id, "uint32"] as const),
  ...[0x13, 0x21, 0x22, 0x23].map((id) => [id, "uint16"] as const),
  ...[0x03, 0x08, 0x12, 0x15, 0x1a, 0x1c, 0x1f].map((id) => [id, "text"] as const),
  ...[0x09, 0x16].map((id) => [id, "binary"] as const),
  ...[[0x0b, "varint"], [0x26, "pair"], [0x00, "byte"], [0x7f, "byte"]] as const,
];

/** Which may be in which packet, by its first byte without flags. */
const ALLOWED: Readonly<Record<number, readonly number[]>> = {
  0x20: [0x11, 0x12, 0x13, 0x1f, 0x21, 0x22, 0x24, 0x25, 0x26, 0x27, 0x28, 0x29, 0x2a],
  0x30: [0x01, 0x02, 0x03, 0x08, 0x09, 0x26],
  0x40: [0x1f, 0x26],
  0x90: [0x1f, 0x26],
  0xb0: [0x1f, 0x26],
  0xe0: [0x1c, 0x1f, 0x26],
};

const TOPICS = [text("a"), text("a/b/c"), text(""), text("#"), text("a\0b"), [0, 1, 0xff], [0, 50]];

/** A packet before it is written. */
interface Draft {
  first: number;
  /** Before the properties. */
  head: number[];
  /** `undefined`: there is no place for them. */
  properties: number[][] | undefined;
  tail: number[];
  /** Instead of the true remaining length. */
  length?: readonly number[];
  /** Instead of the true length of the properties. */
  propertyLength?: readonly number[];
}

function text(value: string): number[] {
  const bytes = utf8(value);
  return [bytes.length >> 8, bytes.length & 0xff, ...bytes];
}

function varint(value: number): number[] {
  const bytes: number[] = [];
  for (let left = value;; left = left >> 7) {
    bytes.push(left > 0x7f ? left & 0x7f | 0x80 : left);
    if (left <= 0x7f) return bytes;
  }
}

/** A packet as a broker sends it, for a client that waits for an answer to packets 1 to 3. */
function valid(random: Random): Draft {
  const id = [0, 1 + random.int(3)];
  const payload = [...random.bytes(random.int(20))];
  const qos = random.int(2);
  return random.pick<() => Draft>([
    () => ({ first: 0x20, head: [0, 0], properties: [], tail: [] }),
    () => ({
      ...{ first: 0x30 | qos << 1 | random.int(2), properties: [], tail: payload },
      head: [...text("in"), ...qos === 1 ? [0, 7] : []],
    }),
    () => ({ first: 0x40, head: id, properties: undefined, tail: [] }),
    () => ({
      ...{ first: 0x40, properties: [], tail: [] },
      head: [...id, random.pick([0, 16, 0x80, 0x97, 0x95, 7])],
    }),
    () => ({ first: 0x90, head: id, properties: [], tail: [random.pick([0, 1, 0x80, 0x87])] }),
    () => ({ first: 0xb0, head: id, properties: [], tail: [random.pick([0, 0x11])] }),
    () => ({ first: 0xd0, head: [], properties: undefined, tail: [] }),
    () => ({ first: 0xe0, head: [random.pick([0, 0x81, 0x8e])], properties: [], tail: [] }),
  ])();
}

/** One property that may be in the packet, or any. */
function property(first: number, random: Random, any: boolean): number[] {
  const allowed = ALLOWED[first & 0xf0] ?? [];
  const some = PROPERTIES.filter(([id]) => any || allowed.includes(id));
  const [id, type] = random.pick(some.length > 0 ? some : PROPERTIES);
  const values: readonly (readonly number[])[] = VALUES[type];
  return [id, ...random.pick(any ? values : values.slice(0, 2))];
}

/** What is wrong with a packet: one thing each. */
const WRONGS: readonly ((draft: Draft, random: Random) => void)[] = [
  function nothing() {},
  function flags(draft, random) {
    draft.first ^= 1 + random.int(15);
  },
  function anotherType(draft, random) {
    draft.first = draft.first & 0x0f | random.int(16) << 4;
  },
  function anotherLength(draft, random) {
    draft.length = random.pick([
      ...[[0], [1], [2], [0x7f], [0x80, 0], [0xff, 0x7f], [0x80, 0x80, 0x80, 0x80, 1]],
      ...[[0xff, 0xff, 0xff, 0x7f], [0x80, 0x80, 0x10], [0xff, 0xff, 0x0f]],
    ]);
  },
  function otherLengthOfProperties(draft, random) {
    draft.propertyLength = random.pick([[0], [1], [9], [0xff, 0x7f], [0x80, 0x80, 0x80, 0x80, 0]]);
  },
  function anyProperty(draft, random) {
    draft.properties?.push(property(draft.first, random, true));
  },
  function repeatedProperty(draft, random) {
    const one = property(draft.first, random, false);
    draft.properties?.push(one, one);
  },
  function goodProperty(draft, random) {
    draft.properties?.push(property(draft.first, random, false));
  },
  function otherIdentifier(draft, random) {
    draft.head = [...random.pick([[0, 0], [0, 9], [0xff, 0xff], [1]]), ...draft.head.slice(2)];
  },
  function otherTopic(draft, random) {
    draft.first = 0x30;
    draft.head = [...random.pick(TOPICS)];
  },
  function otherCode(draft, random) {
    draft.tail = [random.int(256), ...random.int(2) === 0 ? [random.int(256)] : []];
  },
  function cut(draft, random) {
    draft.tail = [];
    draft.head = draft.head.slice(0, random.int(draft.head.length + 1));
    draft.properties = undefined;
  },
  function more(draft, random) {
    draft.tail = [...draft.tail, ...random.bytes(1 + random.int(8))];
  },
];

/** A packet of a broker with at most one thing wrong. */
export function brokerPacket(random: Random, version: MqttVersion): Bytes {
  const draft = valid(random);
  random.pick(WRONGS)(draft, random);
  const { first, head, properties, tail, length, propertyLength } = draft;
  const some = version === "5" && properties !== undefined ? properties.flat() : [];
  const lengthOfSome = version === "5" && properties !== undefined
    ? propertyLength ?? varint(some.length)
    : [];
  const body = [...head, ...lengthOfSome, ...some, ...tail];
  return concat([Uint8Array.of(first, ...length ?? varint(body.length)), Uint8Array.from(body)]);
}
