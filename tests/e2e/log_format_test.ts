import { assert, assertEquals, assertMatch } from "../deps.ts";
import { startAwsIotCore } from "../support/aws_iot_core.ts";
import { writePki } from "../support/pki.ts";
import { daemonArgs, runProgram } from "../support/program.ts";
import { tempDir } from "../support/temp.ts";

Deno.test("what ends the daemon is the last line of its log, in its format, with level and exit code", async () => {
  await using core = await startAwsIotCore();
  await using dir = await tempDir();
  // Not registered: the broker refuses it.
  const files = await writePki(dir.path, core.pki);
  const args = daemonArgs(core, files, `${dir.path}/bus`);
  const lines = async (more: readonly string[], env: Record<string, string> = {}) => {
    const { code, stderr } = await runProgram([...args, ...more], env);
    return [code, stderr.trim().split("\n")] as const;
  };

  const [code, json] = await lines(["--log-format", "json"]);
  assertEquals(code, 77);
  const objects = json.map((line) => JSON.parse(line));
  const { level, exit, message } = objects.at(-1);
  assertEquals([level, exit], ["error", 77]);
  assertMatch(message, /^Cannot authenticate/);

  const [, journald] = await lines(["--log-format", "journald"]);
  assert(journald.every((line) => /^<[346]>/.test(line)), journald.join("\n"));
  assertMatch(journald.at(-1)!, /^<3>Cannot authenticate.* exit=77$/);
  const [, stream] = await lines([], { JOURNAL_STREAM: "8:1" });
  assertMatch(stream.at(-1)!, /^<3>Cannot authenticate.* exit=77$/);

  const [, text] = await lines([]);
  assertMatch(text.at(-1)!, /^\S+Z error Cannot authenticate.* exit=77$/);
  const [usage, mistake] = await lines(["--log-format=json", "--prot", "1"]);
  assertEquals([usage, JSON.parse(mistake.at(-1)!).exit, mistake.length], [64, 64, 1]);
});
