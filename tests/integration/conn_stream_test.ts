import { once } from "node:events";
import { type Bytes, fromUtf8, utf8 } from "../../src/base/bytes.ts";
import { ConnStream } from "../../src/mqtt/conn_stream.ts";
import { assert, assertEquals, assertLess } from "../deps.ts";
import { waitFor, within } from "../support/wait.ts";

/** A stream, and the other end of its connection. */
async function pair() {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const connecting = Deno.connect({ hostname: "127.0.0.1", port: listener.addr.port });
  const [peer, conn] = await Promise.all([listener.accept(), connecting]);
  listener.close();
  return { peer, stream: new ConnStream(conn), port: listener.addr.port };
}

async function readAll(conn: Deno.Conn): Promise<Uint8Array> {
  return new Uint8Array(await new Response(conn.readable).arrayBuffer());
}

Deno.test("bytes go both ways whole and in order, and each side can end by itself", async () => {
  const { peer, stream, port } = await pair();
  assertEquals(stream.address, `127.0.0.1:${port}`);
  const bytes = crypto.getRandomValues(new Uint8Array(60_000));
  const chunks: Bytes[] = [];
  stream.on("data", (chunk: Bytes) => void chunks.push(chunk));
  const ended = once(stream, "end");
  await peer.write(utf8("back"));
  const all = readAll(peer);
  for (let i = 0; i < 50; i++) stream.write(bytes);
  stream.end();
  const received = await within("what was written", all);
  assertEquals(received.length, 3_000_000);
  assertEquals(received.subarray(-60_000), bytes);
  // Reading all of it closed the other side.
  await within("the end", ended);
  assertEquals(chunks.map((bytes) => fromUtf8(bytes)), ["back"]);
  assertEquals(stream.bytesRead, 4);
  await waitFor("the stream to be closed", () => stream.destroyed);
});

Deno.test("what nobody asks for is not read, so that the sender is held back", async () => {
  const { peer, stream } = await pair();
  const chunk = new Uint8Array(1_000_000);
  let written = 0;
  const writing = (async () => {
    while (true) written += await peer.write(chunk);
  })().catch((error: Error) => error.name);
  stream.on("readable", () => {});
  await waitFor("the buffers to be full", async () => {
    const before = written;
    await new Promise((resolve) => setTimeout(resolve, 200));
    return written === before && written > 0;
  });
  assertLess(stream.bytesRead, 200_000);
  stream.destroy();
  assert(["BrokenPipe", "ConnectionReset"].includes(await within("the end of writing", writing)));
  peer.close();
});

Deno.test("a peer that is gone is an error for what is written, and destroys the stream", async () => {
  const { peer, stream } = await pair();
  const failed = once(stream, "error");
  peer.close();
  const writer = setInterval(() => stream.write(new Uint8Array(100_000)), 1);
  const [error] = await within("the error", failed);
  clearInterval(writer);
  assert(/BrokenPipe|ConnectionReset/.test((error as Error).name), String(error));
  assert(stream.destroyed);
});

Deno.test("a stream that is destroyed while it reads says nothing but that it is closed", async () => {
  const { peer, stream } = await pair();
  const heard: string[] = [];
  for (const event of ["data", "end", "error"]) stream.on(event, () => heard.push(event));
  const closed = once(stream, "close");
  await waitFor("it to read", () => stream.readableFlowing === true);
  stream.destroy();
  await within("the close", closed);
  assertEquals(heard, []);
  peer.close();
});
