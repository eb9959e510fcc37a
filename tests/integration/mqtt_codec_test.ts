import { createRequire } from "node:module";
import { loadMqtt } from "../../deps.ts";
import { assertEquals, assertStrictEquals, generatePacket } from "../deps.ts";

/** The codec as MQTT.js itself requires it. */
function codecOfMqttJs(): { generate: unknown; writeToStream: { cacheNumbers: boolean } } {
  return createRequire(import.meta.resolve("mqtt"))("mqtt-packet");
}

Deno.test("MQTT.js writes with the codec whose table of numbers is off", async () => {
  await loadMqtt();
  assertEquals(codecOfMqttJs().writeToStream.cacheNumbers, false);
});

Deno.test("the codec that is named in deno.json is the very module that MQTT.js uses", () => {
  assertStrictEquals(codecOfMqttJs().generate, generatePacket);
});
