import { utf8 } from "../../../src/base/bytes.ts";
import { crc32c } from "../../../src/spool/log/crc32c.ts";
import {
  encodeNote,
  Kind,
  messageBytes,
  messageHead,
  nextRecord,
  readMessage,
  readNote,
  recordAt,
  sizeOfRecord,
  writeMessage,
} from "../../../src/spool/log/record.ts";
import { decodeHead, encodeHead, readRecords } from "../../../src/spool/log/segment.ts";
import { sizeOf } from "../../../src/spool/policy.ts";
import type { NewRecord } from "../../../src/spool/storage.ts";
import { assert, assertEquals } from "../../deps.ts";

const pure = { permissions: "none" } as const;
const SPOOL = 0xfedcba98;

const MESSAGES: readonly NewRecord[] = [
  { topic: "t", payload: utf8("payload"), qos: 1, acceptedAt: 1_700_000_000_000.25 },
  { topic: "ä/€/😀", payload: new Uint8Array(0), qos: 0, acceptedAt: 0, expiresAt: 9e12 },
  { topic: "", payload: utf8("\xf5IOR"), qos: 1, acceptedAt: 5 },
];

function written(message: NewRecord, seq = 2 ** 52) {
  const bytes = new Uint8Array(messageBytes(message));
  assertEquals(writeMessage(bytes, 0, SPOOL, seq, message), bytes.length);
  return bytes;
}

Deno.test(
  "the CRC is CRC-32C: the check value of its standard, at any length and place",
  pure,
  () => {
    const text = utf8("123456789");
    assertEquals(crc32c(text, 0, 9), 0xe3069283);
    assertEquals(crc32c(utf8("..123456789."), 2, 11), 0xe3069283);
    assertEquals(crc32c(new Uint8Array(32), 0, 32), 0x8a9136aa);
    assertEquals(crc32c(new Uint8Array(32).fill(0xff), 0, 32), 0x62a8ab43);
  },
);

Deno.test("a message is read as it was written, and counts what it should", pure, () => {
  for (const message of MESSAGES) {
    const bytes = written(message);
    const found = recordAt(bytes, 0, SPOOL)!;
    assertEquals([found.kind, found.seq, found.at, found.end], [
      Kind.MESSAGE,
      2 ** 52,
      0,
      bytes.length,
    ]);
    const read = readMessage(bytes, found);
    assertEquals({ ...read, payload: read.payload.slice() }, message);
    assertEquals(messageHead(bytes, found), [message.acceptedAt, message.qos === 0]);
    assertEquals(sizeOfRecord(bytes.length), sizeOf(message.topic, message.payload.length));
  }
});

Deno.test(
  "no record with any bit turned over, cut short, or of another spool is taken",
  pure,
  () => {
    const bytes = written(MESSAGES[0]!);
    for (let bit = 0; bit < bytes.length * 8; bit++) {
      const damaged = bytes.slice();
      damaged[bit >> 3]! ^= 1 << (bit & 7);
      assertEquals(recordAt(damaged, 0, SPOOL), undefined, `bit ${bit}`);
    }
    for (let end = 0; end < bytes.length; end++) {
      assertEquals(recordAt(bytes.subarray(0, end), 0, SPOOL), undefined, `cut at ${end}`);
    }
    assertEquals(recordAt(bytes, 0, SPOOL + 1), undefined);
    assertEquals(recordAt(bytes, 0)?.spoolId, SPOOL);
  },
);

Deno.test("every other record has a body of JSON", pure, () => {
  const bytes = encodeNote(SPOOL, Kind.QUARANTINE, 7, "why €");
  const found = recordAt(bytes, 0, SPOOL)!;
  assertEquals([found.kind, found.seq, readNote(bytes, found)], [Kind.QUARANTINE, 7, "why €"]);
});

Deno.test("behind damage reading goes on at the next whole record", pure, () => {
  const parts = [encodeHead(SPOOL, 1), ...MESSAGES.map((message, n) => written(message, n + 1))];
  const bytes = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 100));
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  const seqsOf = (of: typeof bytes) => {
    const seqs: number[] = [];
    const scan = readRecords(of, SPOOL, ({ seq }) => void seqs.push(seq));
    return { seqs, ...scan };
  };
  assertEquals(seqsOf(bytes), { seqs: [1, 2, 3], end: at, isSound: true, isTorn: false });
  const damaged = bytes.slice();
  damaged[parts[0]!.length + 40]! ^= 1;
  assertEquals(seqsOf(damaged), { seqs: [2, 3], end: at, isSound: false, isTorn: false });
  const torn = bytes.slice(0, at - 1);
  const end = at - parts[3]!.length;
  assertEquals(seqsOf(torn), { seqs: [1, 2], end, isSound: true, isTorn: true });
  assertEquals(seqsOf(bytes.slice(0, 20)), { seqs: [], end: 32, isSound: false, isTorn: false });
  assert(nextRecord(bytes, 33, SPOOL)!.seq === 2);
});

Deno.test("the head of a segment says the spool, or which other version wrote it", pure, () => {
  const head = encodeHead(SPOOL, 17);
  assertEquals(decodeHead(head), { is: "sound", spoolId: SPOOL });
  const newer = head.slice();
  const view = new DataView(newer.buffer);
  view.setUint32(8, 2);
  assertEquals(decodeHead(newer), { is: "damaged" });
  view.setUint32(28, crc32c(newer, 0, 28));
  assertEquals(decodeHead(newer), { is: "unknown version", version: 2 });
});
