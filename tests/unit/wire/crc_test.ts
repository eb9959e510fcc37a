import { assertEquals } from "../../deps.ts";
import { utf8 } from "../../../src/base/bytes.ts";
import { crc32 } from "../../../src/wire/crc.ts";

Deno.test("crc32 is the one of gzip, unsigned", { permissions: "none" }, () => {
  assertEquals(crc32(utf8("123456789")), 0xcbf43926);
  assertEquals(crc32(new Uint8Array(0)), 0);
});

Deno.test("crc32 goes on from the CRC of the bytes before", { permissions: "none" }, () => {
  assertEquals(crc32(utf8("56789"), crc32(utf8("1234"))), 0xcbf43926);
});
