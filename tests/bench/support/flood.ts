/** Floods a topic from the broker's side until it is killed: `flood.ts MQTT-URL TOPIC MESSAGES-PER-SECOND`. */

import { Buffer } from "node:buffer";
import { connectMqtt } from "./mqtt_client.ts";

/** How often a part of the flood goes out, in ms. */
const TICK_MS = 10;

const [url, topic, perSecond] = Deno.args;
const client = await connectMqtt(url!, "flood");
const payload = Buffer.alloc(1_024, "x");
Deno.stdout.writeSync(new TextEncoder().encode("ready\n"));
setInterval(() => {
  for (let n = 0; n < Number(perSecond) * TICK_MS / 1_000; n++) client.publish(topic!, payload);
}, TICK_MS);
