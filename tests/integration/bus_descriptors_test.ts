import { assert, assertEquals, assertLess } from "../deps.ts";
import { type BusConnection, connectBus } from "../../src/bus/client.ts";
import { tempDir } from "../support/temp.ts";
import { waitFor, within } from "../support/wait.ts";

const LIMIT = 80;

/** A server in a process of its own, as the limit of descriptors belongs to a process. */
function program(path: string): string {
  const src = new URL("../../src/", import.meta.url).href;
  return `
    import process from "node:process";
    import { startServer } from "${src}bus/server.ts";
    import { call } from "${src}bus/methods.ts";
    import { systemClock } from "${src}base/clock.ts";
    // As the daemon does: without it Deno 2.9.6 sets its signals up later, and panics when no descriptor is left for that.
    Deno.addSignalListener("SIGTERM", () => Deno.exit(0));
    const cpu = () => {
      const { user, system } = process.cpuUsage();
      return BigInt(user + system);
    };
    const write = (level) => (text) => console.error(level + " " + text);
    const log = { debug: () => {}, info: write("info"), warn: write("warn"), error: write("error") };
    await startServer({
      path: ${JSON.stringify(path)},
      table: { ping: call({}, () => null), cpu: call({}, cpu) },
      clock: systemClock,
      log,
    });
    console.log("ready");
  `;
}

/** Seconds of CPU that the server has spent, told over a connection that it has. */
async function cpuSeconds(client: BusConnection): Promise<number> {
  const micros = await client.call("cpu");
  assert(typeof micros === "bigint");
  return Number(micros) / 1e6;
}

Deno.test("out of descriptors, accepting pauses without spinning, says so, and goes on when room is there", async () => {
  await using dir = await tempDir();
  const path = `${dir.path}/iface`;
  const source = `${dir.path}/server.ts`;
  await Deno.writeTextFile(source, program(path));
  const child = new Deno.Command("sh", {
    args: [
      "-c",
      `ulimit -n ${LIMIT}; exec "$0" run --no-config --no-check -A "$1"`,
      Deno.execPath(),
      source,
    ],
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const errors = new Response(child.stderr).text();
  try {
    const stdout = child.stdout.getReader();
    const ready = await within("the server", stdout.read(), 20_000);
    assert(new TextDecoder().decode(ready.value).includes("ready"));
    await stdout.cancel();

    const clients = await Promise.all(Array.from({ length: LIMIT + 20 }, () => connectBus(path)));
    const answered = new Set<number>();
    clients.forEach((client, at) =>
      client.call("ping").then(() => answered.add(at), () => undefined)
    );
    // The first of those that were accepted are served while the rest wait.
    await waitFor("the first answers", () => answered.size >= 20);
    const connected = clients[[...answered][0]!]!;
    const before = await cpuSeconds(connected);
    await new Promise((resolve) => setTimeout(resolve, 1_000));
    assertLess(await cpuSeconds(connected) - before, 0.5);
    const stuck = clients.length - answered.size;
    assert(stuck > 0, "the limit was never reached");

    const served = [...answered];
    for (const at of served) clients[at]!.close();
    await waitFor("the rest", () => answered.size === clients.length, 20_000);
    for (const client of clients) client.close();
  } finally {
    child.kill("SIGKILL");
    await child.status;
  }
  const lines = (await errors).split("\n").filter((line) => line.includes("Cannot accept clients"));
  assert(lines.length >= 1 && lines.length <= 5, `${lines.length} lines`);
  assertEquals(lines[0], "warn Cannot accept clients");
});
