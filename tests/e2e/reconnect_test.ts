import { utf8 } from "../../src/base/bytes.ts";
import { call } from "../../src/bus/client.ts";
import type { Value } from "../../src/wire/object.ts";
import { assert, assertEquals, assertStringIncludes } from "../deps.ts";
import { type AwsIotCore, startAwsIotCore } from "../support/aws_iot_core.ts";
import { requiredValues, startGgConfig } from "../support/gg_config.ts";
import { createPki, writePki } from "../support/pki.ts";
import { startProgram } from "../support/program.ts";
import { tempDir } from "../support/temp.ts";
import { waitFor, within } from "../support/wait.ts";

const pki = await createPki();

function texts(core: AwsIotCore): string[] {
  return core.published.map(({ payload }) => new TextDecoder().decode(payload));
}

/** Publishes over a connection of its own, and tries again while nobody listens, as clients do. */
async function publish(socket: string, payload: string): Promise<void> {
  const params = new Map<string, Value>([
    ["topic", utf8("t")],
    ["payload", utf8(payload)],
    ["qos", 1n],
  ]);
  await waitFor(`${payload} to be accepted`, async () => {
    try {
      await call(socket, "publish", params);
      return true;
    } catch {
      return undefined;
    }
  });
}

for (const spool of ["memory", "disk"] as const) {
  Deno.test(`another endpoint gets what waited in the spool on ${spool}, in its order`, async () => {
    await using dir = await tempDir();
    const files = await writePki(dir.path, pki);
    await using old = await startAwsIotCore({ pki, devices: [files.device] });
    await using next = await startAwsIotCore({ pki, devices: [files.device] });
    await using config = await startGgConfig(dir.path, requiredValues(old, files));
    const args = ["--spool", spool === "memory" ? "memory" : `${dir.path}/spool`];
    await using program = await startProgram(["--bus-dir", dir.path, ...args]);
    const socket = `${dir.path}/aws_iot_mqtt`;
    await program.logged("Connected");
    await publish(socket, "before");
    await waitFor("the first message", () => texts(old).includes("before"));
    await old.close();
    const waiting = Array.from({ length: 20 }, (_, i) => `waiting ${i}`);
    for (const payload of waiting) await publish(socket, payload);
    await waitFor("both watches", () => config.watched.length === 2);
    config.set("iotDataEndpoint", `${next.host}:${next.port}`);
    await program.logged("the configuration has changed");
    await waitFor("everything that waited", () => texts(next).length >= waiting.length, 20_000);
    assertEquals(texts(next).filter((text) => text !== "before"), waiting);
    await publish(socket, "after");
    await waitFor("a message after it", () => texts(next).includes("after"));
    assert(!program.log().includes("given up"), program.log());
    program.signal("SIGTERM");
    assertEquals(await within("the end", program.exited), 0);
  });
}

/** The program, connected, with a config service that it watches; all of it goes with the stack. */
async function startConfigured(stack: AsyncDisposableStack) {
  const dir = stack.use(await tempDir()).path;
  const files = await writePki(dir, pki);
  const core = stack.use(await startAwsIotCore({ pki, devices: [files.device] }));
  const config = stack.use(await startGgConfig(dir, requiredValues(core, files)));
  const program = stack.use(await startProgram(["--bus-dir", dir]));
  await program.logged("Connected");
  await waitFor("both watches", () => config.watched.length === 2);
  return { dir, core, config, program };
}

Deno.test("credentials that cannot be used leave the link that stands as it is", async () => {
  await using stack = new AsyncDisposableStack();
  const { dir, core, config, program } = await startConfigured(stack);
  config.set("system/certificateFilePath", `${dir}/none.pem`);
  await program.logged("a changed config is not used; the one before stays");
  assertStringIncludes(program.log(), `Cannot use --cert ${dir}/none.pem`);
  await publish(`${dir}/aws_iot_mqtt`, "still here");
  await waitFor("the message", () => texts(core).includes("still here"));
  assertEquals(core.received("connect").length, 1);
  program.signal("SIGTERM");
  assertEquals(await within("the end", program.exited), 0);
});
