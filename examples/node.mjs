// Publishes a message over the daemon, and prints it when it comes back. With Node or Bun:
//
//   npm install iotcored-client && node node.mjs [SOCKET]
//
// deno-lint-ignore-file no-console -- it prints what it gets
import process from "node:process";
import { BusError, connect } from "iotcored-client";

const client = await connect({ socket: process.argv[2] });
try {
  const messages = client.subscribe("examples/#", { qos: 1, signal: AbortSignal.timeout(10_000) });
  await messages.accepted;
  await client.publish("examples/hello", "hello from here", { qos: 1 });
  for await (const { topic, payload } of messages) {
    console.log(topic, new TextDecoder().decode(payload));
    break;
  }
} catch (error) {
  if (!(error instanceof BusError)) throw error;
  console.error(`the daemon says ${error.code}: ${error.message}`);
  process.exitCode = 1;
} finally {
  await client.close();
}
