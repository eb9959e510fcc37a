// Publishes a message over the daemon, and prints it when it comes back: deno run -A deno.ts [SOCKET]
// deno-lint-ignore-file no-console -- it prints what it gets
import { connect } from "../src/client/mod.ts"; // elsewhere it is "jsr:@iotcored/client"

await using client = await connect({ socket: Deno.args[0] });
const messages = client.subscribe("examples/#", { qos: 1 });
await messages.accepted;
await client.publish("examples/hello", "hello from here", { qos: 1 });
for await (const { topic, payload } of messages) {
  console.log(topic, new TextDecoder().decode(payload));
  break;
}
