/**
 * MQTT.js without a daemon: the baseline of what has a broker at its end.
 *
 * `mqtt_alone.ts URL CA CERT KEY connect`
 * `mqtt_alone.ts URL CA CERT KEY publish TOPIC PAYLOAD_BYTES QOS WINDOW`: for each line "COUNT" on stdin, publishes and prints
 *     the seconds that it took.
 * `mqtt_alone.ts URL CA CERT KEY receive TOPIC SOCKET`: writes a 0 to who connects to the socket, and then a 1 per message.
 *
 * `mqtt_alone.ts URL CA CERT KEY count TOPIC COUNT`: prints the seconds that so many messages took.
 *
 * @module
 */

import { setImmediate } from "node:timers";
import type { MqttClient } from "../../../deps.ts";
import { connectMqtt } from "./mqtt_client.ts";

type Payload = Parameters<MqttClient["publish"]>[1];

const [url = "", ca, cert, key, mode, ...args] = Deno.args;
const client = await connectMqtt(url, `alone-${mode}`, { ca, cert, key });
client.on("error", (error) => {
  throw error;
});

async function say(line: string): Promise<void> {
  await Deno.stdout.write(new TextEncoder().encode(line + "\n"));
}

/** Resolves with the seconds until the last of `count` messages is written (QoS 0) or acknowledged (QoS 1). */
function publish(
  topic: string,
  payload: Payload,
  qos: 0 | 1,
  count: number,
  window: number,
): Promise<number> {
  return new Promise((resolve, reject) => {
    const start = performance.now();
    let sent = 0;
    let done = 0;
    const answered = (error?: Error | null): void => {
      if (error) return reject(error);
      if (++done === count) return resolve((performance.now() - start) / 1000);
      // As the client of the daemon does: a new burst when half of the window is free.
      if (sent - done < window / 2 || window === 1) fill();
    };
    const fill = (): void => {
      while (sent < count && sent - done < window) {
        sent++;
        client.publish(topic, payload, { qos }, answered);
      }
    };
    fill();
  });
}

async function receive(topic: string, path: string): Promise<void> {
  const ticks = new Uint8Array(65536).fill(1);
  let listener: Deno.UnixConn | undefined;
  let due = 0;
  let writing = false;
  const flush = async (): Promise<void> => {
    if (writing || listener === undefined) return;
    writing = true;
    while (due > 0) due -= await listener.write(ticks.subarray(0, Math.min(due, ticks.length)));
    writing = false;
  };
  let scheduled = false;
  client.on("message", () => {
    due++;
    if (scheduled) return;
    scheduled = true;
    setImmediate(() => {
      scheduled = false;
      void flush();
    });
  });
  await client.subscribeAsync(topic, { qos: 0 });
  const server = Deno.listen({ transport: "unix", path });
  await say("ready");
  for await (const conn of server) {
    listener = conn;
    // What is fed before this end has the connection would be missed.
    await conn.write(new Uint8Array(1));
    // Until it is closed by the other side.
    await conn.read(new Uint8Array(1));
    listener = undefined;
    due = 0;
    conn.close();
  }
}

/** Prints the seconds from the first of so many messages to the last. */
async function count(topic: string, messages: number): Promise<void> {
  let came = 0;
  let started = 0;
  client.on("message", () => {
    if (++came === 1) started = performance.now();
    if (came === messages) void say(String((performance.now() - started) / 1_000));
  });
  await client.subscribeAsync(topic, { qos: 0 });
  await say("ready");
}

if (mode === "connect") await say("ready");
else if (mode === "count") await count(args[0]!, Number(args[1]));
else if (mode === "receive") await receive(args[0]!, args[1]!);
else if (mode === "publish") {
  const [topic = "", bytes, qos, window] = args;
  const payload = new Uint8Array(Number(bytes)) as Uint8Array as Payload;
  await say("ready");
  const lines = Deno.stdin.readable.pipeThrough(new TextDecoderStream());
  for await (const line of lines) {
    const seconds = await publish(
      topic,
      payload,
      Number(qos) as 0 | 1,
      Number(line),
      Number(window),
    );
    await say(String(seconds));
  }
  await client.endAsync();
} else throw new Error("usage: see the top of this file");
