import { assert, assertEquals, assertStringIncludes } from "../deps.ts";
import type { CheckStep } from "../../src/process/check.ts";
import { type AwsIotCore, startAwsIotCore } from "../support/aws_iot_core.ts";
import { type PkiFiles, writePki } from "../support/pki.ts";
import {
  daemonArgs,
  FROM_SOURCE,
  programCommand,
  runProgram,
  startCommand,
  startProgram,
} from "../support/program.ts";
import { startProxy } from "../support/proxy.ts";
import { type TempDir, tempDir } from "../support/temp.ts";
import { waitFor, within } from "../support/wait.ts";

const DAY_MS = 86_400_000;

/** A stand-in that knows the device of some files, and what is to be checked against it. */
class Scene implements AsyncDisposable {
  private constructor(
    readonly dir: TempDir,
    readonly core: AwsIotCore,
    readonly files: PkiFiles,
  ) {}

  static async start(notAfter?: Date): Promise<Scene> {
    const core = await startAwsIotCore();
    const dir = await tempDir();
    const device = await core.pki.device(notAfter === undefined ? {} : { notAfter });
    core.register(device);
    return new Scene(dir, core, await writePki(dir.path, core.pki, device));
  }

  args(...more: readonly string[]): string[] {
    const { core } = this;
    const broker = { host: core.name, port: core.port };
    return daemonArgs(broker, this.files, `${this.dir.path}/bus`, ...more);
  }

  check(...more: readonly string[]): ReturnType<typeof runProgram> {
    return runProgram(["check", ...this.args(...more)]);
  }

  /** Exit code and steps of a check. */
  async steps(...more: readonly string[]): Promise<[code: number, steps: CheckStep[]]> {
    const { code, stdout, stderr } = await this.check("--json", ...more);
    assertEquals(stderr, "");
    return [code, stdout.trim().split("\n").map((line) => JSON.parse(line) as CheckStep)];
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.core[Symbol.asyncDispose]();
    await this.dir[Symbol.asyncDispose]();
  }
}

function outcomes(steps: readonly CheckStep[]): string[] {
  return steps.map(({ step, outcome }) => `${step} ${outcome}`);
}

Deno.test("check says what each step took, while a daemon with the same thing keeps its connection", async () => {
  await using scene = await Scene.start();
  await using daemon = await startProgram(scene.args());
  await daemon.logged("Connected");
  const { code, stdout, stderr } = await scene.check("--topic", "a/b", "--filter", "c/#");
  assertEquals([code, stderr], [0, ""], stdout);
  const lines = stdout.trim().split("\n");
  const steps = [
    "configuration",
    "permissions",
    "files",
    "name",
    "tcp",
    "tls",
    "mqtt",
    "publish",
    "subscribe",
  ];
  assertEquals(lines.map((line) => line.split(" ")[0]), steps);
  for (const line of lines) assert(/^\w+ +ok +\d+ ms +\S/.test(line), line);
  assertStringIncludes(stdout, "127.0.0.1");
  assert(
    /accepted as thing-check-[0-9a-f]{8}; it takes 100 messages in flight/.test(stdout),
    stdout,
  );
  assertEquals(scene.core.published.map(({ topic, payload }) => [topic, payload.length]), [[
    "a/b",
    0,
  ]]);
  await waitFor("the check to be gone", () => scene.core.connections.length === 1);
  assertEquals(scene.core.connections[0]!.clientId, "thing");
  assert(!daemon.log().includes("was lost"), daemon.log());
});

Deno.test("check of a key that does not fit, and of files that are none, ends with 78 before the network", async () => {
  await using scene = await Scene.start();
  const { keyPem } = await scene.core.pki.device();
  await Deno.writeTextFile(`${scene.dir.path}/wrong.key`, keyPem);
  const [code, steps] = await scene.steps("--key", `${scene.dir.path}/wrong.key`);
  assertEquals(code, 78);
  assertEquals(outcomes(steps), ["configuration ok", "permissions ok", "files failed"]);
  assertStringIncludes(steps[2]!.text, "--key");
  assertStringIncludes(steps[2]!.advice!, "system/privateKeyPath");
});

Deno.test("check with a stranger's certificate ends with 77, and says what has to be registered", async () => {
  await using scene = await Scene.start();
  const stranger = await scene.core.pki.device();
  await Deno.writeTextFile(scene.files.cert, stranger.certPem);
  await Deno.writeTextFile(scene.files.key, stranger.keyPem);
  for (const unregistered of ["refuse", "close"] as const) {
    scene.core.behaviour.unregistered = unregistered;
    const [code, steps] = await scene.steps();
    assertEquals(code, 77, unregistered);
    assertEquals(outcomes(steps).slice(-2), ["tls ok", "mqtt failed"]);
    assertStringIncludes(steps.at(-1)!.advice!, "registered and active");
    assertStringIncludes(steps.at(-1)!.advice!, "--as-thing");
  }
});

Deno.test("check of a closed port, an unknown name, another root CA and another name ends with 69", async () => {
  await using scene = await Scene.start();
  const other = await scene.core.pki.otherCa();
  await Deno.writeTextFile(`${scene.dir.path}/other.pem`, other.certPem);
  using closed = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { port } = closed.addr;
  closed.close();
  await using proxy = await startProxy({ to: scene.core.port });
  const cases = [
    [["--endpoint", `127.0.0.1:${port}`], "tcp failed", "config key"],
    [["--endpoint", "nobody.invalid:8883"], "name failed", "/etc/resolv.conf"],
    [["--rootca", `${scene.dir.path}/other.pem`], "tls failed", "Amazon Root CA 1"],
    [
      ["--endpoint", "other.example:8883", "--proxy", `http://127.0.0.1:${proxy.port}`],
      "tls failed",
      "another name",
    ],
  ] as const;
  for (const [args, last, advice] of cases) {
    const [code, steps] = await scene.steps(...args);
    assertEquals([code, outcomes(steps).at(-1)], [69, last], JSON.stringify(steps));
    assertStringIncludes(steps.at(-1)!.advice!, advice);
  }
});

Deno.test("check through a proxy that refuses ends with 69 and names its options", async () => {
  await using scene = await Scene.start();
  await using proxy = await startProxy({ login: "me:secret" });
  const url = `127.0.0.1:${proxy.port}`;
  const [code, steps] = await scene.steps("--proxy", `http://me:wrong@${url}`);
  assertEquals(code, 69);
  assertEquals(outcomes(steps).slice(-2), ["tcp ok", "proxy failed"]);
  assertStringIncludes(steps.at(-1)!.text, "407");
  assertStringIncludes(steps.at(-1)!.advice!, "--no-proxy");
  assert(!JSON.stringify(steps).includes("wrong"), "the password is not shown");
  const [good, through] = await scene.steps("--proxy", `http://me:secret@${url}`);
  assertEquals([good, outcomes(through).includes("proxy ok")], [0, true]);
});

Deno.test("check says which topic and filter the policy does not allow, with 77", async () => {
  await using scene = await Scene.start();
  scene.core.behaviour.refusePublish = () => 0x87;
  scene.core.behaviour.refuseSubscribe = () => 0x87;
  const [published, publish] = await scene.steps("--topic", "not/mine");
  assertEquals([published, outcomes(publish).at(-1)], [77, "publish failed"]);
  assertStringIncludes(publish.at(-1)!.advice!, "iot:Publish");
  scene.core.behaviour.refuseSubscribe = () => "close";
  const [subscribed, subscribe] = await scene.steps("--filter", "not/mine/#");
  assertEquals([subscribed, outcomes(subscribe).at(-1)], [77, "subscribe failed"]);
  assertStringIncludes(subscribe.at(-1)!.advice!, "iot:Subscribe");
});

Deno.test("check --offline leaves the network alone, and warns of a certificate that ends within 30 days", async () => {
  await using scene = await Scene.start(new Date(Date.now() + 20.5 * DAY_MS));
  await scene.core.close();
  const [code, steps] = await scene.steps("--offline");
  assertEquals(code, 0);
  assertEquals(outcomes(steps), ["configuration ok", "permissions ok", "files warning"]);
  assertStringIncludes(steps[2]!.text, "expires in 20 days");
});

Deno.test("check --as-thing uses the thing's own client id and says what that does", async () => {
  await using scene = await Scene.start();
  const { code, stdout } = await scene.check("--as-thing");
  assertEquals(code, 0, stdout);
  assertStringIncludes(stdout, "a daemon that runs loses its connection");
  assertStringIncludes(stdout, "accepted as thing;");
});

Deno.test("check ends with 64 for an option that cannot be, and 78 for what is given nowhere", async () => {
  await using scene = await Scene.start();
  assertEquals((await scene.check("--port", "0")).code, 64);
  assertEquals((await scene.check("--topic", "a/#")).code, 64);
});

Deno.test(
  "check needs no more than the permissions that a program is compiled with",
  FROM_SOURCE,
  async () => {
    await using scene = await Scene.start();
    const { path } = scene.dir;
    const [deno, ...command] = await programCommand();
    const bus = `${path}/bus`;
    const paths = [`unix:${bus}/aws_iot_mqtt`, `unix:${bus}/.aws_iot_mqtt/s`];
    const flags = [
      `--allow-net=${["localhost:" + scene.core.port, ...paths].join(",")}`,
      `--allow-read=${path}`,
      `--allow-write=${bus}`,
      "--ignore-env",
    ];
    const narrow = command.map((arg) => arg === "-P=dev" ? flags : [arg]).flat();
    await using program = startCommand([deno!, ...narrow, "check", "--json", ...scene.args()]);
    assertEquals(await within("the check to end", program.exited), 0, program.log());
    const steps = program.output().trim().split("\n").map((line) => JSON.parse(line) as CheckStep);
    assertEquals(outcomes(steps).slice(3), ["name skipped", "tcp ok", "tls ok", "mqtt ok"]);
  },
);
