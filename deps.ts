/**
 * The one gate for third-party packages of the program; `tests/deps.ts` is the one of the tests.
 *
 * @module
 */

export { parseArgs } from "@std/cli/parse-args";

export type { IClientOptions, IClientPublishOptions, IPublishPacket, MqttClient } from "mqtt";

/** Loads MQTT.js, which only the daemon needs: the tools start without it. */
export function loadMqtt(): Promise<typeof import("mqtt")> {
  return import("mqtt");
}
