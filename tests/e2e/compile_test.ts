import { problems } from "../../src/build/check.ts";
import { importMapFlags } from "../../src/build/deno.ts";
import { sourceCommit } from "../../src/build/source.ts";
import { assert, assertEquals, assertStringIncludes } from "../deps.ts";
import { smoke } from "../dev/smoke.ts";
import { type Compiled, compileInto } from "../support/compiled.ts";
import { FROM_SOURCE, type Program, programCommand, startCommand } from "../support/program.ts";
import { tempDir } from "../support/temp.ts";
import { within } from "../support/wait.ts";

/** A command to its end. */
async function run(
  command: readonly string[],
  env: Record<string, string> = {},
): Promise<{ code: number; output: string; log: string }> {
  await using program: Program = startCommand(command, env);
  const code = await within(`${command.join(" ")} to end`, program.exited, 60_000);
  return { code, output: program.output(), log: program.log() };
}

function compileTask(...args: string[]): string[] {
  const task = ["run", "-q", "-P=compile", ...importMapFlags(), "src/build/compile.ts"];
  return [Deno.execPath(), ...task, ...args];
}

/** A port that nobody listens on. */
function freePort(): number {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  return (listener.addr as Deno.NetAddr).port;
}

Deno.test("iotcored-6: what is compiled holds one file, the ceiling and the outer box, and nothing else", async () => {
  await using dir = await tempDir();
  const { payload, options } = await compileInto(dir.path, ["--max-connections", "3"]);
  assertEquals(problems(payload, options), []);
  assertEquals(payload.metadata.argv, ["--connection-ceiling", "3"]);
  const { allow_net: net, allow_run, allow_ffi, allow_sys, prompt } = payload.metadata.permissions;
  const { permissions } = JSON.parse(await Deno.readTextFile("deno.json"));
  assertEquals(net, permissions.iotcored.net);
  assertEquals([allow_run, allow_ffi, allow_sys, prompt], [null, null, null, false]);
});

Deno.test("the program that is embedded is ASCII, has its imports first, and loads no code at run time", async () => {
  await using dir = await tempDir();
  const { payload } = await compileInto(dir.path, []);
  const text = new TextDecoder().decode(payload.files.get("main.js"));
  const [beyond] = /[^\0-\x7f]/.exec(text) ?? [];
  assertEquals(beyond, undefined);
  const lines = text.split("\n");
  const statements = lines.findIndex((line) => !line.startsWith("import "));
  assert(statements > 5, `${statements} imports`);
  assertEquals(lines.slice(statements).filter((line) => /^import\b/.test(line)), []);
  // Deno checks no permission for `import()` of a path as text.
  const code = text.replaceAll(/\/\*[^]*?\*\/|^\s*\/\/.*$/gm, "");
  assertEquals(code.match(/\bimport\s*\(|\beval\s*\(|(?<![\w.$])Function\s*\(/g), null);
  const required = [...code.matchAll(/\b(?:__require|require)\s*\(([^)]*)\)/g)].map(([, what]) =>
    what!
  );
  assert(required.length > 20, "the search for what is required is broken");
  assertEquals(required.filter((what) => !/^"node:[a-z_/]+"$/.test(what)), []);
  assertEquals(
    new Set([...text.matchAll(/npm:mqtt-packet\/([^/]+)\//g)].map(([, version]) => version)).size,
    1,
  );
});

Deno.test("iotcored --version --verbose prints what the program was compiled with", async () => {
  await using dir = await tempDir();
  const { command } = await compileInto(dir.path, [
    ...["--endpoint", "broker.example.org", "--only-read", "/etc/iotcored"],
  ]);
  const { code, output } = await run([...command, "--version", "--verbose"]);
  assertEquals(code, 0);
  assertStringIncludes(output, "network       broker.example.org:8883/443\n");
  assertStringIncludes(output, "reads         /etc/iotcored\n              /run/greengrass\n");
  assertStringIncludes(output, "all else      refused\n");
  assertStringIncludes(output, `\ncommit ${await sourceCommit()}\n`);
});

Deno.test("the check finds another ceiling, another permission and a package that nobody listed", async () => {
  await using dir = await tempDir();
  const { payload, options } = await compileInto(dir.path, []);
  const text =
    'x\n// npm:left-pad/1.0.0/index.js\nvar __commonJS({\n  "npm:@types/node/1.0.0/a.js"() {}';
  const files = new Map([...payload.files, ["main.js", new TextEncoder().encode(text)]]);
  const found = [
    ...problems(payload, { ...options, ceiling: 2 }),
    ...problems(payload, { ...options, endpoints: ["example.org"] }),
    ...problems({ ...payload, files }, options),
    ...problems({ ...payload, bytes: 6_000_000 }, options),
  ];
  assertEquals(found.map((line) => line.split(" must be ")[0]), [
    "arguments",
    "permissions",
    "unlisted packages",
    "payload",
  ]);
  assertStringIncludes(found[2]!, '["@types/node","left-pad"]');
});

Deno.test(
  "the task, the tests and the compiled program run with the same flags of V8",
  FROM_SOURCE,
  async () => {
    await using dir = await tempDir();
    const { payload } = await compileInto(dir.path, []);
    const { tasks } = JSON.parse(await Deno.readTextFile("deno.json"));
    const flags = (words: readonly string[]): string[] =>
      words.flatMap((word) => /^--v8-flags=(.*)$/.exec(word)?.[1]?.split(",") ?? []);
    const ofTask = flags(tasks.iotcored.command.split(" "));
    assert(ofTask.length > 0);
    assertEquals(flags(await programCommand()), ofTask);
    assertEquals(payload.metadata.v8_flags.slice(-ofTask.length), ofTask);
  },
);

Deno.test("equal sources give equal payloads", async () => {
  await using one = await tempDir();
  await using two = await tempDir();
  const [a, b] = [await compileInto(one.path, []), await compileInto(two.path, [])];
  for (const [name, bytes] of a.payload.files) assertEquals(b.payload.files.get(name), bytes);
  assertEquals(a.payload.metadata, b.payload.metadata);
});

Deno.test("what is embedded does the whole job with the permissions that are embedded", async () => {
  await using dir = await tempDir();
  const port = freePort();
  const places = {
    busDir: `${dir.path}/bus`,
    credentials: `${dir.path}/credentials`,
    spool: `${dir.path}/spool`,
  };
  await Deno.mkdir(places.credentials);
  const { command } = await compileInto(dir.path, [
    ...["--endpoint", `localhost:${port}`, "--read", places.credentials],
    ...["--bus-dir", places.busDir, "--spool", places.spool],
  ]);
  const { startMs } = await smoke({ command, host: "localhost", port, ...places });
  assert(startMs > 0);
});

/** Something that a compiled program may not do, and the words that say so. */
const REFUSED: readonly (readonly [what: string, args: string[], said: string])[] = [
  ["another endpoint", ["-e", "broker.example.org"], "reach broker.example.org:8883"],
  ["another port", ["--port", "1883"], "reach x.iot.eu-west-1.amazonaws.com:1883"],
  ["another service of AWS", ["-e", "s3.eu-west-1.amazonaws.com"], "reach s3.eu-west-1."],
  ["another file", ["-k", "/opt/key.pem"], "read /opt/key.pem"],
  ["another spool folder", ["--spool", "/opt/spool"], "write /opt/spool"],
  ["another bus folder", ["--bus-dir", "/opt/bus"], "use /opt/bus/aws_iot_mqtt"],
  ["a proxy", ["--proxy", "http://u:hunter2@proxy.local:3128"], "reach proxy.local:3128"],
];

Deno.test("a missing permission is named in one line with exit code 78, without prompt or stack trace", async (t) => {
  await using dir = await tempDir();
  const { command }: Compiled = await compileInto(dir.path, []);
  const args = [
    ...["-e", "x.iot.eu-west-1.amazonaws.com", "-i", "thing", "-r", "/etc/greengrass/ca.pem"],
    ...["-c", "/etc/greengrass/cert.pem", "-k", "/etc/greengrass/key.pem", "--spool", "memory"],
  ];
  for (const [what, more, said] of REFUSED) {
    await t.step(what, async () => {
      const { code, log } = await run([...command, ...args, ...more]);
      assertEquals(code, 78, log);
      assertStringIncludes(log, ` error Cannot ${said}`);
      assertStringIncludes(log, "without the permission");
      assertEquals(log.trimEnd().split("\n").length, 1, log);
      assert(!log.includes("hunter2"), log);
    });
  }
  await t.step("a file that a tool is to read", async () => {
    const { code, log } = await run([...command, "publish", "-t", "t", "-f", "/etc/passwd"]);
    assert(code !== 0);
    assertStringIncludes(log, "no permission for read /etc/passwd");
    assertEquals(log.trimEnd().split("\n").length, 1, log);
  });
});

const WRONG: readonly (readonly [args: string[], said: string])[] = [
  [["--max-connections", "0"], "--max-connections: it must be a whole number from 1 to 999"],
  [["--max-connections", "x"], "--max-connections: it must be a whole number from 1 to 999"],
  [["--endpoint", "*"], "--endpoint: it must be HOST, HOST:PORT or *.DOMAIN[:PORT]"],
  [["--endpoint", "*.com"], "--endpoint: it must be HOST"],
  [["--endpoint", "a,b"], "--endpoint: it must be HOST"],
  [["--endpoint", "a:0"], "--endpoint: it must be HOST"],
  [["--proxy", "proxy"], "--proxy: it must be HOST:PORT"],
  [["--read", "here"], "--read: it must be an absolute path"],
  [["--read", "/"], "--read: it must be an absolute path"],
  [["--read", "/a/../b"], "--read: it must be an absolute path"],
  [["--spool", "/a,/b"], "--spool: it must be an absolute path"],
  [["--interface-name", "../x"], "--interface-name"],
  [["--target", "armv7-unknown-linux-gnueabihf"], "--target: it must be x86_64-unknown-linux-gnu"],
  [["--what"], "unknown option --what; see deno task compile --help"],
  [["there"], "unexpected argument there"],
];

Deno.test("a mistake on the command line of the compile task is named, with exit code 64", async (t) => {
  for (const [args, said] of WRONG) {
    await t.step(args.join(" "), async () => {
      const { code, log } = await run(compileTask(...args));
      assertEquals(code, 64, log);
      assertStringIncludes(log, said);
      assertEquals(log.trimEnd().split("\n").length, 1, log);
    });
  }
});

Deno.test("without its base binary the compile task says what is missing and how to supply it", async (t) => {
  await t.step("one that is not there", async () => {
    const { code, log } = await run(compileTask(), { DENORT_BIN: "/none" });
    assertEquals([code, log], [69, "Cannot compile: DENORT_BIN names no file, /none\n"]);
  });
  await t.step("one for another machine", async () => {
    const other = Deno.build.arch === "x86_64" ? "aarch64" : "x86_64";
    const args = ["--target", `${other}-unknown-linux-gnu`];
    const { code, log } = await run(compileTask(...args), { DENORT_BIN: Deno.execPath() });
    assertEquals(code, 64, log);
    assertStringIncludes(log, "is a program for another machine");
  });
  await t.step("none, and no network", async () => {
    await using dir = await tempDir();
    const { code, log } = await run(compileTask(), {
      DENO_DIR: await cacheWithoutBase(dir.path),
      http_proxy: "http://127.0.0.1:9",
      https_proxy: "http://127.0.0.1:9",
    });
    assertEquals(code, 69, log);
    assertStringIncludes(log, "the base binary, Deno's runtime");
    assertStringIncludes(log, `/v${Deno.version.deno}/denort-${Deno.build.target}.zip`);
    assertStringIncludes(log, "DENORT_BIN=/path/to/denort");
    assert(!/backtrace|Caused by/.test(log), log);
  });
});

/** Deno's cache, but for base binaries that were downloaded before. */
async function cacheWithoutBase(dir: string): Promise<string> {
  const { output } = await run([Deno.execPath(), "info", "--json"]);
  const { denoDir }: { denoDir: string } = JSON.parse(output);
  const cache = `${dir}/cache`;
  await Deno.mkdir(`${cache}/dl`, { recursive: true });
  for (const [from, to] of [[denoDir, cache], [`${denoDir}/dl`, `${cache}/dl`]] as const) {
    for await (const { name } of Deno.readDir(from)) {
      if (name !== "dl" && name !== "release") {
        await Deno.symlink(`${from}/${name}`, `${to}/${name}`);
      }
    }
  }
  return cache;
}
