import { assertEquals, pureTest } from "../../deps.ts";
import { utf8 } from "../../../src/base/bytes.ts";
import { crc32 } from "../../../src/wire/crc.ts";

pureTest("crc32 is the one of gzip, unsigned", () => {
  assertEquals(crc32(utf8("123456789")), 0xcbf43926);
  assertEquals(crc32(new Uint8Array(0)), 0);
});

pureTest("crc32 goes on from the CRC of the bytes before", () => {
  assertEquals(crc32(utf8("56789"), crc32(utf8("1234"))), 0xcbf43926);
});
