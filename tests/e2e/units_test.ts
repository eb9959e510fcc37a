import { permissionsOf } from "../../src/build/permissions.ts";
import { parseBuildArgs } from "../../src/build/options.ts";
import { assert, assertEquals, assertLess, assertMatch } from "../deps.ts";
import { tempDir } from "../support/temp.ts";

const UNITS = new URL("../../src/build/systemd/", import.meta.url).pathname;
const ANALYZE = "/usr/bin/systemd-analyze";

function exists(path: string): boolean {
  try {
    Deno.statSync(path);
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

/** The values of a setting, in their order. */
async function settings(unit: string, name: string): Promise<string[]> {
  const text = await Deno.readTextFile(UNITS + unit);
  return [...text.matchAll(new RegExp(`^${name}=(.*)$`, "gm"))].map((match) => match[1]!);
}

/** Copies of the units whose program is there: `verify` looks. */
async function copyUnits(dir: string): Promise<string[]> {
  const copies: string[] = [];
  for await (const { name } of Deno.readDir(UNITS)) {
    const text = await Deno.readTextFile(UNITS + name);
    const path = `${dir}/${name}`;
    await Deno.writeTextFile(
      path,
      text.replace("ExecStart=/usr/bin/iotcored", "ExecStart=/bin/true"),
    );
    copies.push(path);
  }
  return copies.sort();
}

async function analyze(...args: string[]): Promise<{ code: number; output: string }> {
  const command = new Deno.Command(ANALYZE, { args, env: { NO_COLOR: "1" } });
  const { code, stdout, stderr } = await command.output();
  const decoder = new TextDecoder();
  return { code, output: decoder.decode(stdout) + decoder.decode(stderr) };
}

Deno.test({
  name: "the units pass systemd-analyze verify without a word",
  ignore: !exists(ANALYZE),
  fn: async () => {
    await using dir = await tempDir();
    const { code, output } = await analyze("verify", ...await copyUnits(dir.path));
    assertEquals([code, output], [0, ""]);
  },
});

Deno.test({
  name: "the service is exposed less than 2.0 by systemd-analyze security",
  ignore: !exists(ANALYZE),
  fn: async () => {
    await using dir = await tempDir();
    const [service] = await copyUnits(dir.path);
    const { output } = await analyze("security", "--offline=true", service!);
    const [, score] = /Overall exposure level for \S+: ([0-9.]+)/.exec(output) ?? [];
    assert(score !== undefined, output);
    assertLess(Number(score), 2.0);
  },
});

Deno.test("the units and the permissions of the program name the same folders and sockets", async () => {
  const { net, write } = permissionsOf(parseBuildArgs([]));
  const [state] = await settings("iotcored.service", "StateDirectory");
  const [runtime] = await settings("iotcored.service", "RuntimeDirectory");
  for (const path of [`/var/lib/${state}`, `/run/${runtime}`]) assert(write.includes(path), path);
  assert(net.includes(`unix:/run/${runtime}/notify`), "the sender of notifications");
  const [socket] = await settings("iotcored.socket", "ListenStream");
  assert(net.includes(`unix:${socket}`), socket);
  assertEquals(await settings("iotcored.socket", "FileDescriptorName"), [
    socket!.split("/").at(-1)!,
  ]);
});

Deno.test("a restart is tried where it can help: not after 64 and 78, but after 77", async () => {
  const [codes] = await settings("iotcored.service", "RestartPreventExitStatus");
  assertEquals(codes!.split(" "), ["64", "78"]);
  assertMatch((await settings("iotcored.service", "Restart"))[0]!, /^on-failure$/);
  const number = async (name: string): Promise<number> =>
    Number((await settings("iotcored.service", name))[0]);
  const [pause, interval, burst] = [
    await number("RestartSec"),
    await number("StartLimitIntervalSec"),
    await number("StartLimitBurst"),
  ];
  // Else a daemon whose credentials are refused for a while would stay stopped.
  assertLess(interval / pause, burst);
});
