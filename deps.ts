/**
 * The one gate for third-party packages of the program; `tests/deps.ts` is the one of the tests.
 *
 * @module
 */

import { parseArgs as parse } from "@std/cli/parse-args";

/** The options of {@linkcode parseArgs} that are used. */
export interface ParseOptions {
  /** Flags whose value is a text. */
  string: string[];
  /** Flags that may be given several times; their value is always a list. */
  collect: string[];
}

/** What {@linkcode parseArgs} found: flags by name, the rest in `_`. */
export type ParsedArgs = Record<string, unknown> & { _: (string | number)[] };

/**
 * `parseArgs` of `@std/cli`, without its inference: its flags come from a table here, and are not known to the compiler.
 */
export const parseArgs = parse as unknown as (
  args: readonly string[],
  options: ParseOptions,
) => ParsedArgs;

export type {
  ClientSubscribeCallback,
  IClientOptions,
  IClientPublishOptions,
  IPublishPacket,
  MqttClient,
} from "mqtt";

/**
 * Loads MQTT.js, which only the daemon needs: the tools start without it. Its codec keeps no table of the 65,536 numbers that a
 * packet may hold: that would cost 8 to 10 MB at the first packet.
 */
export async function loadMqtt(): Promise<typeof import("mqtt")> {
  const [mqtt, { default: { writeToStream } }] = await Promise.all([
    import("mqtt"),
    import("mqtt-packet"),
  ]);
  // Its types do not know of this switch.
  (writeToStream as unknown as { cacheNumbers: boolean }).cacheNumbers = false;
  return mqtt;
}
