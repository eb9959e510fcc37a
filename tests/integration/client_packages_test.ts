import { CLIENT_NAMES, makeClientPackages } from "../../src/build/client.ts";
import { importMapFlags, ROOT } from "../../src/build/deno.ts";
import { assertEquals, assertStringIncludes } from "../deps.ts";
import { type AwsIotCore, startAwsIotCore } from "../support/aws_iot_core.ts";
import { startTestDaemon, type TestDaemon, untilConnected } from "../support/daemon.ts";
import { isInstalled } from "../support/shells.ts";
import { type TempDir, tempDir } from "../support/temp.ts";

const EXPECTED = [0, "examples/hello hello from here\n", ""];

const PROGRAM =
  `import { type Client, BusErrorCode, connect, type Message, type Status } from "${CLIENT_NAMES.npm}";
const client: Client = await connect({ socket: "s" });
const status: Status = await client.status();
const connected: boolean = (await client.connectionStatus().next()).value ?? false;
const use = (topic: Message["topic"]): unknown => [topic, status.version, connected, BusErrorCode.NOCONN];
for await (const { topic } of client.subscribe("a")) use(topic);
`;

/** A daemon that is connected, and a folder in which the npm package is installed. */
interface Scene extends AsyncDisposable {
  readonly socket: string;
  readonly dir: string;
}

async function scene(install: boolean): Promise<Scene> {
  await using stack = new AsyncDisposableStack();
  const dir: TempDir = stack.use(await tempDir());
  const core: AwsIotCore = stack.use(await startAwsIotCore());
  const daemon: TestDaemon = stack.use(await startTestDaemon(core));
  await untilConnected(daemon.socket);
  if (install) {
    const { npm } = await makeClientPackages(dir.path);
    const modules = `${dir.path}/node_modules/${CLIENT_NAMES.npm}`;
    await Deno.mkdir(modules, { recursive: true });
    await run(dir.path, "tar", "-xzf", npm, "-C", modules, "--strip-components=1");
    await Deno.copyFile(`${ROOT}examples/node.mjs`, `${dir.path}/node.mjs`);
  }
  const kept = stack.move();
  return {
    socket: daemon.socket,
    dir: dir.path,
    [Symbol.asyncDispose]: () => kept.disposeAsync(),
  };
}

async function run(cwd: string, command: string, ...args: string[]) {
  const { code, stdout, stderr } = await new Deno.Command(command, {
    ...{ cwd, args, stdin: "null" },
    signal: AbortSignal.timeout(60_000),
  }).output();
  const decoder = new TextDecoder();
  return [code, decoder.decode(stdout), decoder.decode(stderr)] as const;
}

Deno.test({ name: "the npm package, installed", ignore: !isInstalled("npm") }, async (t) => {
  await using its = await scene(true);

  for (const runtime of ["node", "bun"]) {
    await t.step({
      name: `publishes and subscribes with ${runtime}, as the example does`,
      ignore: !isInstalled(runtime),
      fn: async () => {
        assertEquals([...await run(its.dir, runtime, "node.mjs", its.socket)], EXPECTED);
      },
    });
  }

  const about = { dependencies: { [CLIENT_NAMES.npm]: "*" } };
  await Deno.writeTextFile(`${its.dir}/package.json`, JSON.stringify(about));
  const check = async (text: string) => {
    await Deno.writeTextFile(`${its.dir}/use.ts`, text);
    return await run(
      its.dir,
      Deno.execPath(),
      "check",
      "-q",
      "--node-modules-dir=manual",
      "use.ts",
    );
  };

  await t.step("has types for a program that uses them well", async () => {
    assertEquals([...await check(PROGRAM)], [0, "", ""]);
  });

  await t.step("has types for a program that does not", async () => {
    const [code, , said] = await check(`${PROGRAM}await client.publish("a", 5);\n`);
    assertEquals(code, 1);
    assertStringIncludes(said, "not assignable to parameter of type");
  });

  await t.step("has no dependencies", async () => {
    const path = `${its.dir}/node_modules/${CLIENT_NAMES.npm}/package.json`;
    assertEquals(JSON.parse(await Deno.readTextFile(path)).dependencies, undefined);
  });
});

Deno.test("the example for Deno publishes and subscribes", async () => {
  await using its = await scene(false);
  const flags = ["run", "-q", "-A", ...importMapFlags()];
  const path = `${ROOT}examples/deno.ts`;
  assertEquals([...await run(ROOT, Deno.execPath(), ...flags, path, its.socket)], EXPECTED);
});
