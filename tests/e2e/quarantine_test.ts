/** `iotcored quarantine` against the program, with the spool on disk. */

import { assertEquals, assertMatch, assertStringIncludes } from "../deps.ts";
import { startAwsIotCore } from "../support/aws_iot_core.ts";
import { writePki } from "../support/pki.ts";
import { daemonArgs, runProgram, startProgram } from "../support/program.ts";
import { tempDir } from "../support/temp.ts";
import { waitFor, within } from "../support/wait.ts";

Deno.test("a message in quarantine is listed, outlives a restart, and is sent or dropped on request", async () => {
  await using dir = await tempDir();
  let isForbidden = true;
  await using core = await startAwsIotCore({
    behaviour: {
      connectSpacingMs: 0,
      refusePublish: (topic) => isForbidden && topic === "forbidden" ? "close" : undefined,
    },
  });
  const files = await writePki(dir.path, core.pki);
  core.register(files.device);
  const bus = `${dir.path}/bus`;
  const args = daemonArgs(core, files, bus, "--spool", `${dir.path}/spool`);
  const tool = (name: string, ...rest: string[]): ReturnType<typeof runProgram> =>
    runProgram([name, "--bus-dir", bus, ...rest]);
  const listed = async (): Promise<{ seq: number; topic: string; reason: string }[]> => {
    const { code, stdout, stderr } = await tool("quarantine", "list", "--json");
    assertEquals([code, stderr], [0, ""]);
    return stdout.split("\n").filter((line) => line !== "").map((line) => JSON.parse(line));
  };
  {
    await using program = await startProgram(args);
    await program.logged("Connected");
    for (const text of ["1", "2", "3"]) {
      assertEquals((await tool("publish", "-t", "forbidden", "-m", text, "-q", "1")).code, 0);
    }
    await waitFor("quarantine", async () => (await listed()).length === 3, 20_000);
    const refused = await tool("publish", "-t", "forbidden", "-m", "4", "-q", "1");
    assertStringIncludes(refused.stderr, "the broker closed the connection for it");
    const { stdout: metrics } = await tool("status", "--prometheus");
    assertMatch(metrics, /^iotcored_refused_subjects 1$/m);
    program.signal("SIGTERM");
    assertEquals(await within("the end", program.exited), 0);
  }
  await using program = await startProgram(args);
  await program.logged("Connected");
  const [first, second, third] = await listed();
  assertEquals([first?.topic, second?.topic, third?.topic], Array(3).fill("forbidden"));
  assertEquals((await tool("quarantine", "drop", `${second!.seq}`)).stdout, "1 message dropped\n");

  // Still forbidden: it closes the connection again and is back.
  const closes = core.sent("connack").length;
  const again = await tool("quarantine", "retry", `${first!.seq}`);
  assertEquals([again.code, again.stdout], [0, "1 message to be sent again\n"]);
  await waitFor("two closes", () => core.sent("connack").length === closes + 2, 20_000);
  await waitFor("it to be back", async () => (await listed()).length === 2, 20_000);

  isForbidden = false;
  assertEquals(
    (await tool("quarantine", "retry", "--all")).stdout,
    "2 messages to be sent again\n",
  );
  const texts = (): string[] =>
    core.published.map(({ payload }) => new TextDecoder().decode(payload));
  await waitFor("both", () => texts().length === 2, 20_000);
  assertEquals(texts(), ["1", "3"]);
  await waitFor("an empty quarantine", async () => (await listed()).length === 0);
});

Deno.test("quarantine says what is wrong with its arguments", async () => {
  for (
    const [args, what] of [
      [[], "needs list, retry or drop, got nothing"],
      [["purge"], "needs list, retry or drop, got purge"],
      [["list", "1"], "unexpected argument 1"],
      [["list", "--all"], "option --all cannot be used with list"],
      [["retry"], "needs either numbers of messages or --all"],
      [["drop", "--all", "1"], "needs either numbers of messages or --all"],
      [["drop", "x"], 'must be a whole number from 1, got "x"'],
      [["retry", "1", "--json"], "option --json cannot be used with retry"],
    ] as const
  ) {
    const { code, stderr } = await runProgram(["quarantine", ...args]);
    assertEquals(code, 64, args.join(" "));
    assertStringIncludes(stderr, what);
  }
});
