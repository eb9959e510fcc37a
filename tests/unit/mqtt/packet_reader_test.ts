import { type Bytes, concat } from "../../../src/base/bytes.ts";
import { MAX_PACKET_BYTES, PacketReader } from "../../../src/mqtt/packet_reader.ts";
import { ProtocolError } from "../../../src/mqtt/protocol_error.ts";
import { assertEquals, assertStringIncludes, assertThrows, pureTest } from "../../deps.ts";

const PINGRESP = Uint8Array.of(0xd0, 0);

function packetOf(body: number): Bytes {
  const lengths: number[] = [];
  for (let left = body;; left >>= 7) {
    lengths.push(left > 0x7f ? left & 0x7f | 0x80 : left);
    if (left <= 0x7f) break;
  }
  return concat([Uint8Array.of(0x30, ...lengths), new Uint8Array(body).fill(body & 0xff)]);
}

/** The packets of a stream that comes in pieces of so many bytes. */
function read(stream: Bytes, piece: number): Bytes[] {
  const reader = new PacketReader();
  const found: Bytes[] = [];
  for (let at = 0; at < stream.length; at += piece) {
    reader.push(stream.slice(at, at + piece));
    for (let raw = reader.next(); raw !== undefined; raw = reader.next()) {
      found.push(raw.bytes.subarray(raw.start, raw.end));
      assertEquals(raw.first, raw.bytes[raw.start]);
    }
  }
  assertEquals(reader.inPacket, false);
  return found;
}

pureTest("packets of every length are found, however the stream is cut", () => {
  const packets = [PINGRESP, ...[1, 127, 128, 300, 16_383, 16_384, 70_000].map(packetOf), PINGRESP];
  const stream = concat(packets);
  for (const piece of [1, 2, 3, 7, 129, 4_096, 65_536, stream.length]) {
    assertEquals(read(stream, piece).map(({ length }) => length), packets.map((one) => one.length));
  }
  assertEquals(read(stream, 5), packets);
});

pureTest("a length over the bound ends the stream before anything of the packet is kept", () => {
  const largest = packetOf(MAX_PACKET_BYTES - 4);
  assertEquals(read(largest, 10_000), [largest]);
  const tooLarge = [
    packetOf(MAX_PACKET_BYTES - 3).slice(0, 4),
    Uint8Array.of(0x30, 0xff, 0xff, 0xff, 0x7f),
  ];
  for (const head of tooLarge) {
    for (const piece of [1, 5]) {
      const error = assertThrows(() => read(head, piece), ProtocolError);
      assertEquals(error.code, 0x95);
      assertStringIncludes(error.message, "at most 262144");
    }
  }
});

pureTest("a length of five bytes, or of more than it needs, is malformed", () => {
  for (const head of [[0x30, 0x80, 0x80, 0x80, 0x80, 1], [0x30, 0x80, 0], [0x30, 0xff, 0x80, 0]]) {
    for (const piece of [1, 6]) {
      const error = assertThrows(() => read(Uint8Array.from(head), piece), ProtocolError);
      assertEquals(error.code, 0x81);
    }
  }
});
