import { type Bytes, utf8 } from "../../../src/base/bytes.ts";
import {
  decodeMeta,
  decodePrev,
  decodeRecord,
  encodeMeta,
  encodeRecord,
  RECORD_HEADER_BYTES,
  recordLengthAt,
  sizeOfBlob,
  sizeOfRecord,
} from "../../../src/spool/record.ts";
import { sizeOf } from "../../../src/spool/policy.ts";
import { assertEquals } from "../../deps.ts";

const place = { spoolId: 0xfedcba98, seq: 2 ** 40, prev: 2 ** 40 - 3, floor: 17 };
const message = {
  topic: "a/ä",
  payload: utf8("payload"),
  qos: 1,
  acceptedAt: 1e12,
  expiresAt: 2e12,
} as const;
const meta = {
  spoolId: 1,
  schema: 1,
  nextSeq: 10,
  lastSeq: 8,
  floor: 4,
  messages: 3,
  bytes: 300,
  qos0Bytes: 100,
  commits: 12,
};

Deno.test("a record is read back as it was written", () => {
  const blob = encodeRecord(message, place);
  const { payload, ...record } = decodeRecord(blob)!;
  assertEquals(payload.slice(), message.payload);
  const { payload: _, ...rest } = message;
  assertEquals(record, {
    ...rest,
    ...place,
    length: blob.length,
    quarantined: false,
    reason: "",
  });
  assertEquals(recordLengthAt(blob, 0), blob.length);
  assertEquals(decodePrev(blob.subarray(52, 60)), place.prev);
});

Deno.test("a record in quarantine keeps its reason, which does not count", () => {
  const blob = encodeRecord({ ...message, qos: 0 }, place, "why");
  const record = decodeRecord(blob)!;
  assertEquals([record.quarantined, record.reason, record.qos], [true, "why", 0]);
  assertEquals(sizeOfRecord(record), sizeOf(message.topic, message.payload.length));
  assertEquals(sizeOfBlob(encodeRecord(message, place).length), sizeOf(message.topic, 7));
});

Deno.test("not one bit of a record or of the counters can change unseen", () => {
  const blobs: [Bytes, (blob: Bytes) => unknown][] = [
    [encodeRecord(message, place, "why"), decodeRecord],
    [encodeMeta(meta), decodeMeta],
  ];
  for (const [blob, decode] of blobs) {
    for (let bit = 0; bit < blob.length * 8; bit++) {
      const copy = blob.slice();
      copy[bit >> 3]! ^= 1 << (bit & 7);
      assertEquals(decode(copy), undefined, `bit ${bit}`);
    }
    assertEquals(decode(blob.slice(0, -1)), undefined);
  }
});

Deno.test("the counters are read back as they were written", () => {
  assertEquals(decodeMeta(encodeMeta(meta)), meta);
});

Deno.test("what is too short or too long to be a record is none", () => {
  const blob = encodeRecord(message, place);
  assertEquals(recordLengthAt(blob, 1), undefined);
  assertEquals(recordLengthAt(blob.subarray(0, 11), 0), undefined);
  const view = new DataView(blob.buffer);
  for (const length of [0, RECORD_HEADER_BYTES - 1, 0xffffffff]) {
    view.setUint32(8, length);
    assertEquals(recordLengthAt(blob, 0), undefined);
  }
});
