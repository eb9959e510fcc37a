import { stripVTControlCharacters } from "node:util";
import { assert, assertEquals, assertMatch } from "../deps.ts";
import { startAwsIotCore } from "../support/aws_iot_core.ts";
import { writePki } from "../support/pki.ts";
import { daemonArgs, type Program, runProgram, startProgram } from "../support/program.ts";
import { tempDir } from "../support/temp.ts";
import { waitFor, within } from "../support/wait.ts";

/** A terminal of 80 columns and 24 rows around the program. */
const TERMINAL = [
  "bash",
  "-c",
  'exec script -qefc "stty rows 24 cols 80; exec ${*@Q}" /dev/null',
  "bash",
] as const;

/** The pages that a terminal was shown, without escape sequences; not what stays behind at the end. */
function pages(program: Program): string[][] {
  const [shown = ""] = program.output().split("\x1b[?1049l");
  return shown.split("\x1b[H").slice(2).map((page) =>
    stripVTControlCharacters(page).replace(/\^C.*/s, "").split(/\r+\n/)
  );
}

Deno.test("status --watch shows a spool of 2,000 that drains, as bars within 80 columns and 24 rows", async () => {
  await using core = await startAwsIotCore({ behaviour: { connectSpacingMs: 0 } });
  await using dir = await tempDir();
  const files = await writePki(dir.path, core.pki);
  core.register(files.device);
  await core.close();
  const bus = ["--bus-dir", `${dir.path}/bus`];
  await using daemon = await startProgram(daemonArgs(core, files, `${dir.path}/bus`));
  await daemon.logged("serving the core bus");
  const terminal = { TERM: "xterm", NO_COLOR: "" };
  await using lines = await startProgram(["publish", ...bus, "-t", "n", "-l", "-q", "1"]);
  await lines.stdin.write(new TextEncoder().encode("x\n".repeat(2_000)));
  await lines.stdin.close();
  assertEquals(await within("2,000 lines", lines.exited), 0);

  await using unicode = await startProgram(
    ["status", ...bus, "--watch"],
    { ...terminal, LANG: "C.UTF-8" },
    TERMINAL,
  );
  await using ascii = await startProgram(
    ["status", ...bus, "--watch"],
    { TERM: "xterm", LANG: "C" },
    TERMINAL,
  );
  await waitFor("pages", () => pages(unicode).length > 1 && pages(ascii).length > 1);
  await core.reopen();
  await runProgram(["reconnect", ...bus]);
  await waitFor("the spool to drain", () => core.published.length === 2_000, 60_000);
  await waitFor("the last page", () => /depth.* [▁-█]* /.test(pages(unicode).at(-1)!.join("\n")));
  for (const program of [unicode, ascii]) {
    await program.stdin.write(new Uint8Array([3]));
    assertEquals(await within("Ctrl-C to end it", program.exited), 0);
  }
  for (const page of [...pages(unicode), ...pages(ascii)]) {
    assert(page.length <= 24 && page.every((line) => [...line].length < 80), page.join("\n"));
  }
  const sent = pages(unicode).map((page) => page.find((line) => line.startsWith("sent/s")) ?? "");
  assert(sent.some((line) => /[▁-█]/.test(line)), sent.join("\n"));
  assert(unicode.output().includes("\x1b[31mDOWN\x1b[39m"), "DOWN is red on a terminal");
  assert(!ascii.output().includes("\x1b[31m"), "no colour with NO_COLOR");
  assert(!/[▁-█]/.test(ascii.output()), "no blocks without UTF-8");
  assertMatch(ascii.output(), /sent\/s {5}.*@/);
});
