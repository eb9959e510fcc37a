import { assert, assertEquals, assertMatch } from "../deps.ts";
import { utf8 } from "../../src/base/bytes.ts";
import recorded from "../fixtures/core-bus-frames.json" with { type: "json" };
import { startAwsIotCore } from "../support/aws_iot_core.ts";
import { connected, untilConnected } from "../support/daemon.ts";
import { writePki } from "../support/pki.ts";
import { daemonArgs, type Program, startCommand, startProgram } from "../support/program.ts";
import { tempDir } from "../support/temp.ts";
import { waitFor, within } from "../support/wait.ts";

const PAGE = new URL("../../docs/core-bus.md", import.meta.url);

async function hasPython(): Promise<boolean> {
  const args = ["-c", "import sys; sys.exit(sys.version_info < (3, 8))"];
  try {
    return (await new Deno.Command("python3", { args, stderr: "null" }).output()).success;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

/** Writes the programs of docs/core-bus.md into a folder; by name. */
async function programs(dir: string): Promise<ReadonlyMap<string, string>> {
  const page = await Deno.readTextFile(PAGE);
  const found = new Map<string, string>();
  for (const [, name, text] of page.matchAll(/<!-- python: (\S+) -->\n+```python\n([^]*?)```/g)) {
    found.set(name!, text!);
    await Deno.writeTextFile(`${dir}/${name}`, text!);
  }
  return found;
}

function python(dir: string, name: string, ...args: string[]): Program {
  return startCommand(["python3", `${dir}/${name}`, ...args]);
}

function frame(name: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.fromHex(recorded.frames.find((frame) => frame.name === name)!.hex);
}

const ignore = !await hasPython();

Deno.test("docs/core-bus.md prints a publisher of 30 lines and a subscriber of 40 at most", async () => {
  await using dir = await tempDir();
  const found = await programs(dir.path);
  assertEquals([...found.keys()], ["publish.py", "subscribe.py"]);
  const lines = (name: string): number => found.get(name)!.trimEnd().split("\n").length;
  assert(lines("publish.py") <= 30, `${lines("publish.py")} lines`);
  assert(lines("subscribe.py") <= 40, `${lines("subscribe.py")} lines`);
});

Deno.test({
  name: "what the Python publisher sends is what the C client was recorded to send",
  ignore,
  fn: async () => {
    await using dir = await tempDir();
    await programs(dir.path);
    const path = `${dir.path}/socket`;
    using listener = Deno.listen({ transport: "unix", path });
    await using publisher = python(dir.path, "publish.py", path, "sensors/temp", "xxxxx");
    using conn = await within("the publisher to connect", listener.accept());
    const wanted = frame("publish-call-qos1");
    const got = new Uint8Array(wanted.length);
    for (let at = 0; at < got.length;) {
      const count = await within("the request", conn.read(got.subarray(at)));
      assert(count !== null, `the request ended after ${at} bytes`);
      at += count;
    }
    assertEquals(got.toHex(), wanted.toHex());
    await conn.write(frame("publish-call-response"));
    assertEquals(await within("the publisher to end", publisher.exited), 0);
    assertEquals(publisher.log(), "");
  },
});

Deno.test({
  name: "the Python clients of docs/core-bus.md publish and subscribe through the daemon",
  ignore,
  fn: async () => {
    await using dir = await tempDir();
    await using core = await startAwsIotCore();
    const files = await writePki(dir.path, core.pki);
    core.register(files.device);
    await programs(dir.path);
    const busDir = `${dir.path}/bus`;
    const socket = `${busDir}/aws_iot_mqtt`;
    await using daemon = await startProgram(daemonArgs(core, files, busDir));
    await daemon.logged("serving the core bus");
    await untilConnected(socket);
    await using subscriber = python(dir.path, "subscribe.py", socket, "sensors/#");
    await waitFor("the subscription", async () => await subscriptions(socket) > 0);
    const payloads = ["21.5", "", "ü€𝄞", "x".repeat(100_000)];
    for (const payload of payloads) {
      await using publisher = python(dir.path, "publish.py", socket, "sensors/temp", payload);
      assertEquals(await within("the publisher to end", publisher.exited), 0, publisher.log());
    }
    const printed = payloads.map((payload) => `sensors/temp ${payload}\n`).join("");
    await waitFor("what was published", () => subscriber.output().length >= printed.length);
    assertEquals(subscriber.output(), printed);
    assertEquals(core.published.map(({ payload }) => payload.length), payloads.map(byteLength));

    await using refused = python(dir.path, "publish.py", socket, "sensors/+", "21.5");
    assertEquals(await within("the refused publisher to end", refused.exited), 1);
    assertMatch(refused.log(), /^refused with error 5$/m);
    await using unwanted = python(dir.path, "subscribe.py", socket, "sensors/#/x");
    assertEquals(await within("the refused subscriber to end", unwanted.exited), 1);
    assertMatch(unwanted.log(), /^refused with error 5$/m);

    daemon.signal("SIGTERM");
    assertEquals(await within("the daemon to stop", daemon.exited), 0);
    assertEquals(await within("the subscriber to end", subscriber.exited), 1);
    assertMatch(subscriber.log(), /^the daemon closed the connection$/m);
  },
});

function byteLength(text: string): number {
  return utf8(text).length;
}

async function subscriptions(socket: string): Promise<number> {
  await using client = await connected(socket);
  const status = await client.call("status", new Map());
  const clients = status instanceof Map ? status.get("clients") : undefined;
  return clients instanceof Map ? Number(clients.get("subscriptions")) : 0;
}
