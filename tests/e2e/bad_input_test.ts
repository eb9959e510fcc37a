/** What the program says to input that it cannot use: one line, the right exit code, and nothing left behind. */

import { assertEquals, assertMatch, assertStringIncludes } from "../deps.ts";
import { Exit } from "../../src/base/errors.ts";
import { type AwsIotCore, startAwsIotCore } from "../support/aws_iot_core.ts";
import { publish, untilConnected } from "../support/daemon.ts";
import { type PkiFiles, writePki } from "../support/pki.ts";
import { daemonArgs, runProgram, startProgram } from "../support/program.ts";
import { tempDir } from "../support/temp.ts";
import { waitFor } from "../support/wait.ts";

/** Where a case plays. */
interface Place {
  readonly dir: string;
  readonly busDir: string;
  readonly files: PkiFiles;
  /** Arguments that would do. */
  readonly good: readonly string[];
}

/** A command line, what it ends with, and what its one line names. */
interface Case {
  readonly what: string;
  readonly args: (place: Place) => readonly string[] | Promise<readonly string[]>;
  readonly code: number;
  readonly names: readonly (string | RegExp)[];
}

/** The arguments without an option and its value, or with another value. */
function change(args: readonly string[], option: string, value?: string): string[] {
  const at = args.indexOf(option);
  return [
    ...args.slice(0, at),
    ...(value === undefined ? [] : [option, value]),
    ...args.slice(at + 2),
  ];
}

async function junk(dir: string): Promise<string> {
  await Deno.writeTextFile(`${dir}/junk.pem`, "this is no PEM\n");
  return `${dir}/junk.pem`;
}

const CASES: readonly Case[] = [
  {
    what: "an unknown long option",
    args: ({ good }) => [...good, "--frobnicate"],
    code: Exit.USAGE,
    names: ["--frobnicate"],
  },
  {
    what: "an unknown short option",
    args: ({ good }) => [...good, "-z"],
    code: Exit.USAGE,
    names: ["-z"],
  },
  {
    what: "an unknown subcommand",
    args: () => ["frobnicate"],
    code: Exit.USAGE,
    names: ["frobnicate"],
  },
  {
    what: "an option without its value",
    args: ({ good }) => [...good, "--port"],
    code: Exit.USAGE,
    names: ["--port"],
  },
  {
    what: "a port that is no number",
    args: ({ good }) => [...good, "--port", "mqtt"],
    code: Exit.USAGE,
    names: ["--port", "mqtt"],
  },
  {
    what: "an interface name with a slash",
    args: ({ good }) => [...good, "--interface-name", "a/b"],
    code: Exit.USAGE,
    names: ["--interface-name", "a/b"],
  },
  {
    what: "more connections than the program was built for",
    args: ({ good }) => [...good, "--max-connections", "3"],
    code: Exit.USAGE,
    names: ["--max-connections", "1", "--connection-ceiling"],
  },
  {
    what: "a second connection ceiling",
    args: ({ good }) => ["--connection-ceiling", "2", ...good, "--connection-ceiling", "3"],
    code: Exit.USAGE,
    names: ["--connection-ceiling"],
  },
  ...["--rootca", "--cert", "--key"].flatMap((option): Case[] => [
    {
      what: `a file that is missing (${option})`,
      args: ({ good, dir }) => change(good, option, `${dir}/missing.pem`),
      code: Exit.CONFIG,
      names: [option, "missing.pem"],
    },
    {
      what: `junk in place of PEM (${option})`,
      args: async ({ good, dir }) => change(good, option, await junk(dir)),
      code: Exit.CONFIG,
      names: [option, "junk.pem", "PEM"],
    },
  ]),
  {
    what: "a key that does not belong to the certificate",
    args: ({ good, files }) => change(good, "--key", files.serverKey),
    code: Exit.CONFIG,
    names: ["--key", "belong"],
  },
  {
    what: "a bus folder that cannot be made",
    args: async ({ good, dir }) => {
      await Deno.writeTextFile(`${dir}/file`, "");
      return change(good, "--bus-dir", `${dir}/file/bus`);
    },
    code: Exit.CANTCREATE,
    names: ["file/bus"],
  },
  {
    what: "a file in the place of the socket",
    args: async ({ good, dir }) => {
      await Deno.writeTextFile(`${dir}/occupied`, "");
      return [...change(good, "--bus-dir", dir), "--interface-name", "occupied"];
    },
    code: Exit.CANTCREATE,
    names: ["occupied", "file"],
  },
];

async function setUp(core: AwsIotCore, dir: string): Promise<Place> {
  const files = await writePki(dir, core.pki);
  core.register(files.device);
  const busDir = `${dir}/bus`;
  return { dir, busDir, files, good: daemonArgs(core, files, busDir) };
}

async function namesIn(dir: string): Promise<string[]> {
  return (await Array.fromAsync(Deno.readDir(dir))).map(({ name }) => name).sort();
}

/** One line on stderr that says what is wrong, and nothing on stdout. */
function assertOneLine(
  what: string,
  result: { code: number; stdout: string; stderr: string },
  { code, names }: Pick<Case, "code" | "names">,
): void {
  const said = result.stderr.split("\n").filter((line) =>
    /^iotcored: | error .* exit=\d+/.test(line)
  );
  assertEquals([what, result.code, said.length, result.stdout], [what, code, 1, ""], result.stderr);
  for (const name of names) {
    if (typeof name === "string") assertStringIncludes(said[0]!, name, what);
    else assertMatch(said[0]!, name, what);
  }
  assertEquals(/\n\s+at |Error:/.test(result.stderr), false, `${what}: ${result.stderr}`);
}

for (const { what, args, code, names } of CASES) {
  Deno.test(`${what} ends the program with ${code} and one line, before anything is made`, async () => {
    await using core = await startAwsIotCore();
    await using dir = await tempDir();
    const given = await args(await setUp(core, dir.path));
    const before = await namesIn(dir.path);
    assertOneLine(what, await runProgram(given), { code, names });
    assertEquals([await namesIn(dir.path), core.accepted.length], [before, 0]);
  });
}

Deno.test("a bus folder that cannot be written ends the program with 73", async () => {
  await using core = await startAwsIotCore();
  await using dir = await tempDir();
  const { good } = await setUp(core, dir.path);
  // Not even root may make a folder there.
  const result = await runProgram(change(good, "--bus-dir", "/proc/iotcored"));
  assertOneLine("/proc", result, { code: Exit.CANTCREATE, names: ["/proc/iotcored"] });
});

Deno.test("a second daemon ends with 73, and the first one is not disturbed", async () => {
  await using core = await startAwsIotCore();
  await using dir = await tempDir();
  const { good, busDir } = await setUp(core, dir.path);
  const socket = `${busDir}/aws_iot_mqtt`;
  await using first = await startProgram(good);
  await first.logged("serving the core bus");
  await untilConnected(socket);
  const before = await Deno.lstat(socket);

  const second = await runProgram(good);
  assertOneLine("a second daemon", second, {
    code: Exit.CANTCREATE,
    names: [socket, "another daemon"],
  });
  const after = await Deno.lstat(socket);
  assertEquals([after.ino, after.mode! & 0o777], [before.ino, 0o660]);
  await publish(socket, { topic: "still/there", qos: 1 });
  await waitFor("the message of the first daemon", () => core.published.length === 1);
  assertEquals(core.received("connect").length, 1);
});
