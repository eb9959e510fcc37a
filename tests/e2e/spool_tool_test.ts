/** `iotcored spool`, on what a daemon left behind. */

import { assertEquals, assertMatch } from "../deps.ts";
import { publishMany, statusOf } from "../support/numbered.ts";
import { startAwsIotCore } from "../support/aws_iot_core.ts";
import { Ledger } from "../support/ledger.ts";
import { writePki } from "../support/pki.ts";
import { daemonArgs, runProgram, startProgram } from "../support/program.ts";
import { flipBit } from "../support/spool_damage.ts";
import { namesIn, segmentsIn } from "../support/spool_disk.ts";
import { tempDir } from "../support/temp.ts";
import { within } from "../support/wait.ts";

/** The bytes of all files of a folder, by name. */
function filesOf(dir: string): [string, string][] {
  return namesIn(dir).map((name) => [name, Deno.readFileSync(`${dir}/${name}`).toHex()]);
}

Deno.test("a spool is counted and exported when its daemon is stopped, refused while it runs, and never changed", async () => {
  await using core = await startAwsIotCore();
  await using dir = await tempDir();
  const files = await writePki(dir.path, core.pki);
  core.register(files.device);
  await core.close();
  const spool = `${dir.path}/spool`;
  const socket = `${dir.path}/bus/aws_iot_mqtt`;
  const ledger = new Ledger();
  {
    await using program = await startProgram(
      daemonArgs(core, files, `${dir.path}/bus`, "--spool", spool),
    );
    await program.logged("serving the core bus");
    await publishMany(socket, ledger, ["left/a"], 30);
    await publishMany(socket, ledger, ["left/b"], 12);
    assertEquals((await statusOf(socket)).spool.messages, 42);
    const refused = await runProgram(["spool", spool]);
    assertEquals([refused.code, refused.stdout], [73, ""]);
    assertMatch(refused.stderr, /another daemon uses it/);
    program.signal("SIGTERM");
    assertEquals(await within("the program to end", program.exited), 0, program.log());
  }
  const before = filesOf(spool);

  const text = await runProgram(["spool", spool]);
  assertEquals(text.code, 0, text.stderr);
  assertMatch(text.stdout, /^messages +42$/m);
  assertMatch(text.stdout, /^damage +none$/m);
  const exported = `${dir.path}/rescued.jsonl`;
  const json = await runProgram(["spool", spool, "--json", "--export", exported]);
  assertEquals(json.code, 0, json.stderr);
  const { messages, quarantined, topics, damage } = JSON.parse(json.stdout);
  assertEquals([messages, quarantined], [42, 0]);
  assertEquals(
    topics.map(({ topic, messages }: { topic: string; messages: number }) => [topic, messages]),
    [["left/a", 30], ["left/b", 12]],
  );
  assertEquals(damage, { lost: 0, repeated: 0, files: [] });
  const lines = (await Deno.readTextFile(exported)).trimEnd().split("\n").map((line) =>
    JSON.parse(line) as { seq: number; topic: string; payload_base64: string; qos: number }
  );
  assertEquals(lines.length, 42);
  assertEquals(lines.map(({ seq }) => seq), lines.map(({ seq }) => seq).sort((a, b) => a - b));
  const first = Uint8Array.fromBase64(lines[0]!.payload_base64);
  assertEquals(new TextDecoder().decode(first.subarray(0, 12)), "000000000000");
  const again = await runProgram(["spool", spool, "--export", exported]);
  assertEquals([again.code, again.stdout], [74, ""], "a file that exists stays");
  assertEquals(filesOf(spool), before);

  const [name] = segmentsIn(spool);
  const bytes = Deno.readFileSync(`${spool}/${name}`);
  const at = new TextDecoder("latin1").decode(bytes).indexOf("left/b");
  Deno.writeFileSync(`${spool}/${name}`, flipBit(bytes, at * 8));
  const damaged = await runProgram(["spool", spool, "--json"]);
  assertEquals(JSON.parse(damaged.stdout).damage, { lost: 1, repeated: 0, files: [name] });
  assertEquals(JSON.parse(damaged.stdout).messages, 41);
});

Deno.test("the spool tool refuses what is no spool, and wrong usage, with one line", async () => {
  await using dir = await tempDir();
  const cases = [
    [["spool"], 64, /needs the folder/],
    [["spool", dir.path, "more"], 64, /unexpected argument more/],
    [["spool", `${dir.path}/nowhere`], 73, /nowhere/],
    [["spool", `${dir.path}/file`], 73, /must be a folder/],
  ] as const;
  await Deno.writeTextFile(`${dir.path}/file`, "mine");
  for (const [args, code, why] of cases) {
    const result = await runProgram(args);
    assertEquals([result.code, result.stdout], [code, ""], result.stderr);
    assertMatch(result.stderr, why);
  }
});
