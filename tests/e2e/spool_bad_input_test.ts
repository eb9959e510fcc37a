/** The program with a spool that it cannot use, or that is damaged. */

import { assert, assertEquals, assertGreater, assertMatch, assertStringIncludes } from "../deps.ts";
import { Exit } from "../../src/base/errors.ts";
import { crc32c } from "../../src/spool/log/crc32c.ts";
import { type AwsIotCore, startAwsIotCore } from "../support/aws_iot_core.ts";
import { Ledger } from "../support/ledger.ts";
import { publishMany, statusOf } from "../support/numbered.ts";
import { type PkiFiles, writePki } from "../support/pki.ts";
import { daemonArgs, type Program, runProgram, startProgram } from "../support/program.ts";
import { scrawl } from "../support/spool_damage.ts";
import { namesIn, segmentsIn } from "../support/spool_disk.ts";
import { tempDir } from "../support/temp.ts";
import { waitFor, within } from "../support/wait.ts";

const MESSAGES = 200;

/** A stand-in and a folder for everything else. */
interface Place extends AsyncDisposable {
  readonly core: AwsIotCore;
  readonly dir: string;
  readonly files: PkiFiles;
  readonly socket: string;
  /** Arguments with a spool, and with another bus folder than usual. */
  args(spool: string, bus?: string): string[];
}

async function setUp(): Promise<Place> {
  await using stack = new AsyncDisposableStack();
  const dir = stack.use(await tempDir()).path;
  const behaviour = { connectSpacingMs: 0, publishesPerSecond: Infinity };
  const core = stack.use(await startAwsIotCore({ behaviour }));
  const files = await writePki(dir, core.pki);
  core.register(files.device);
  const kept = stack.move();
  return {
    core,
    dir,
    files,
    socket: `${dir}/bus/aws_iot_mqtt`,
    args: (spool, bus = "bus") =>
      daemonArgs(core, files, `${dir}/${bus}`, "--spool", spool, "--no-rate-limit"),
    [Symbol.asyncDispose]: () => kept.disposeAsync(),
  };
}

/** Starts the program, which has to end with a code and one line that names the spool. */
async function assertRefused(
  args: string[],
  spool: string,
  code: number,
  why: RegExp,
): Promise<void> {
  const result = await runProgram(args);
  const said = result.stderr.split("\n").filter((line) => / error .* exit=\d+/.test(line));
  assertEquals([result.code, said.length, result.stdout], [code, 1, ""], result.stderr);
  assertStringIncludes(said[0]!, `--spool ${spool}`);
  assertMatch(said[0]!, why);
  assertEquals(/\n\s+at |Error:/.test(result.stderr), false, result.stderr);
}

async function stop(program: Program): Promise<void> {
  program.signal("SIGTERM");
  assertEquals(await within("the program to end", program.exited), 0, program.log());
}

/** Fills a spool with the broker away, by the program itself. */
async function fill(place: Place, spool: string): Promise<Ledger> {
  const ledger = new Ledger(500);
  await place.core.close();
  await using program = await startProgram(place.args(spool));
  await program.logged("serving the core bus");
  await publishMany(place.socket, ledger, ["left/behind"], MESSAGES);
  await stop(program);
  await place.core.reopen();
  return ledger;
}

Deno.test("a spool path that is a file, or where nobody can write, ends the program with 73 and one line", async () => {
  await using place = await setUp();
  const file = `${place.dir}/file`;
  await Deno.writeTextFile(file, "mine");
  await assertRefused(place.args(file), file, Exit.CANTCREATE, /must be a folder, got a file/);
  assertEquals(await Deno.readTextFile(file), "mine");
  // Not even root may make a folder there.
  const nowhere = "/proc/iotcored-spool";
  await assertRefused(place.args(nowhere), nowhere, Exit.CANTCREATE, /./);
});

Deno.test("a file of another version in the spool ends the program with 73 and one line, and is left as it is", async () => {
  await using place = await setUp();
  const spool = `${place.dir}/spool`;
  await fill(place, spool);
  const [name] = segmentsIn(spool);
  const bytes = await Deno.readFile(`${spool}/${name}`);
  const view = new DataView(bytes.buffer);
  view.setUint32(8, 99);
  view.setUint32(28, crc32c(bytes, 0, 28));
  await Deno.writeFile(`${spool}/${name}`, bytes);
  await assertRefused(
    place.args(spool),
    spool,
    Exit.CANTCREATE,
    /version of .*\.log must be 1, got 99/,
  );
  assertEquals(await Deno.readFile(`${spool}/${name}`), bytes);
});

Deno.test("a second daemon on the same spool ends with 73, and the first one is not disturbed", async () => {
  await using place = await setUp();
  const spool = `${place.dir}/spool`;
  await using first = await startProgram(place.args(spool));
  await first.logged("serving the core bus");
  await assertRefused(place.args(spool, "other"), spool, Exit.CANTCREATE, /another daemon uses it/);
  const ledger = new Ledger();
  await publishMany(place.socket, ledger, ["still/there"], 20);
  await waitFor("the messages of the first", () => {
    ledger.absorb(place.core);
    return ledger.tally().missing === 0;
  });
  await stop(first);
});

/** How a spool is damaged, and whether anything may be lost. */
const DAMAGE: Readonly<Record<string, { from: number; to: number; harmless?: true }>> = {
  "in the header": { from: 0, to: 32, harmless: true },
  "in the middle": { from: 40_000, to: 44_096 },
  "at several places": { from: 10_000, to: 50_000 },
};

for (const [where, { from, to, harmless }] of Object.entries(DAMAGE)) {
  Deno.test(`a spool damaged ${where} is read: one line says so, what is left arrives, and the damaged file is kept`, async () => {
    await using place = await setUp();
    const { core, socket } = place;
    const spool = `${place.dir}/spool`;
    const ledger = await fill(place, spool);
    const [name] = segmentsIn(spool);
    await Deno.writeFile(
      `${spool}/${name}`,
      scrawl(await Deno.readFile(`${spool}/${name}`), from, to),
    );
    await using program = await startProgram(place.args(spool));
    await program.logged("serving the core bus");
    await waitFor("the rest", async () => (await statusOf(socket)).spool.messages === 0);
    await publishMany(socket, ledger, ["left/behind"], 10);
    await waitFor("an empty spool", async () => (await statusOf(socket)).spool.messages === 0);
    ledger.absorb(core);
    const { delivered, missing, disorder, duplicates } = ledger.tally();
    assertEquals([disorder, duplicates], [0, 0]);
    assertGreater(delivered, 10 + MESSAGES / 4, "most is saved");
    if (harmless) assertEquals(missing, 0);
    else assertGreater(missing, 0, "the damage was none");

    const said = program.log().split("\n").filter((line) => /the spool was damaged/.test(line));
    assertEquals(said.length, 1, program.log());
    assertMatch(said[0]!, new RegExp(`error .*lost=${missing} repeated=0`));
    const kept = /kept="?([^" ]+)/.exec(said[0]!)?.[1];
    assert(kept !== undefined);
    await waitFor("the damaged file", () => namesIn(`${spool}/damaged`).length === 1);
    assert((await Deno.stat(kept)).isFile, said[0]);
    await stop(program);
  });
}
