/**
 * The baseline of publishing with a connection per call: accepts, reads, writes a fixed frame and closes, as fast as the
 * runtime can. With `end` it leaves closing to the client, as a server must that takes further requests on a connection. With
 * a broker it also publishes each message with MQTT.js. What no daemon on this runtime can be below.
 *
 * `bare_server.ts SOCKET ANSWER_HEX once|end [MQTT_URL CA CERT KEY TOPIC PAYLOAD_BYTES]`
 *
 * @module
 */

import { connectMqtt } from "./mqtt_client.ts";

const [path = "", answerHex = "", until = "", url, ca, cert, key, topic = "", payloadBytes] =
  Deno.args;
const answer = Uint8Array.fromHex(answerHex);
const client = url === undefined ? undefined : await connectMqtt(url, "bare", { ca, cert, key });
const payload = new Uint8Array(Number(payloadBytes ?? 0)) as Uint8Array as Parameters<
  NonNullable<typeof client>["publish"]
>[1];
const buffer = new Uint8Array(4096);

async function serve(conn: Deno.Conn): Promise<void> {
  while (await conn.read(buffer) !== null) {
    client?.publish(topic, payload, { qos: 0 });
    await conn.write(answer);
    if (until === "once") break;
  }
  conn.close();
}

const listener = Deno.listen({ transport: "unix", path });
await Deno.stdout.write(new TextEncoder().encode("ready\n"));
// A line on stdin stops it, so that it can be profiled.
void Deno.stdin.read(new Uint8Array(16)).then(() => listener.close());
for await (const conn of listener) void serve(conn);
await client?.endAsync();
await Deno.stdout.write(new TextEncoder().encode("stopped\n"));
