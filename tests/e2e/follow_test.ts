import { assertEquals } from "../deps.ts";
import { startAwsIotCore } from "../support/aws_iot_core.ts";
import { writePki } from "../support/pki.ts";
import { daemonArgs, type Program, startProgram } from "../support/program.ts";
import { tempDir } from "../support/temp.ts";
import { waitFor, within } from "../support/wait.ts";

Deno.test("subscribe --follow waits for the daemon and outlives it; publish -l repeats nothing that was answered", async () => {
  await using core = await startAwsIotCore({ behaviour: { connectSpacingMs: 0 } });
  await using dir = await tempDir();
  const files = await writePki(dir.path, core.pki);
  core.register(files.device);
  const bus = `${dir.path}/bus`;
  const args = daemonArgs(core, files, bus, "--spool", `${dir.path}/spool`);
  const start = async (): Promise<Program> => {
    const daemon = await startProgram(args);
    await daemon.logged("Connected");
    return daemon;
  };
  await using subscriber = await startProgram([
    "subscribe",
    "--bus-dir",
    bus,
    "-t",
    "n",
    "--follow",
  ]);
  await subscriber.logged("no daemon listens at");
  await using publisher = await (async () => {
    await using daemon = await start();
    await waitFor("the subscription", () => core.connections[0]?.subscriptions.includes("n"));
    const publisher = await startProgram(
      ["publish", "--bus-dir", bus, "-t", "n", "-l", "-q", "1"],
    );
    await publisher.stdin.write(new TextEncoder().encode("1\n2\n3\n"));
    await waitFor("the first lines", () => subscriber.output() === "1\n2\n3\n");
    daemon.signal("SIGTERM");
    await daemon.exited;
    return publisher;
  })();
  await subscriber.logged("hung up");
  // Sent while there is no daemon: they wait in the publisher.
  await publisher.stdin.write(new TextEncoder().encode("4\n5\n"));
  await using _daemon = await start();
  await subscriber.logged("subscribed again");
  await publisher.stdin.close();
  assertEquals(await within("publish to end", publisher.exited), 0);
  await waitFor("all lines", () => new Set(core.published.map(textOf)).size === 5);
  const answered = core.published.map(textOf).filter((text) => ["1", "2", "3"].includes(text));
  assertEquals(answered, ["1", "2", "3"]);
  subscriber.signal("SIGTERM");
  assertEquals(await within("subscribe to end", subscriber.exited), 0);
});

function textOf({ payload }: { readonly payload: Uint8Array }): string {
  return new TextDecoder().decode(payload);
}
