/** The daemon with its spool on a disk that is full. */

import { assert, assertEquals, assertGreater, assertRejects } from "../deps.ts";
import { BusError, BusErrorCode } from "../../src/base/errors.ts";
import { type AwsIotCore, startAwsIotCore } from "../support/aws_iot_core.ts";
import { connected, publish, publishParams, untilConnected } from "../support/daemon.ts";
import { Ledger } from "../support/ledger.ts";
import { statusOf } from "../support/numbered.ts";
import { type PkiFiles, writePki } from "../support/pki.ts";
import { daemonArgs, type Program, runProgram, startProgram } from "../support/program.ts";
import { tempDir } from "../support/temp.ts";
import { canMount, mountTmpfs } from "../support/tmpfs.ts";
import { waitFor, within } from "../support/wait.ts";

const ignore = !(await canMount());
const TOPIC = "full/disk";

/** A daemon whose spool has a disk of its own. */
interface Place {
  readonly core: AwsIotCore;
  readonly disk: string;
  readonly socket: string;
  readonly ledger: Ledger;
  start(): Promise<Program>;
}

async function setUp(stack: AsyncDisposableStack, size: string): Promise<Place> {
  const dir = stack.use(await tempDir());
  const core = stack.use(
    await startAwsIotCore({ behaviour: { connectSpacingMs: 0, publishesPerSecond: Infinity } }),
  );
  const files: PkiFiles = await writePki(dir.path, core.pki);
  core.register(files.device);
  const disk = `${dir.path}/disk`;
  await Deno.mkdir(disk);
  assert(stack.use(mountTmpfs(disk, `size=${size}`) ?? null) !== null);
  const args = daemonArgs(core, files, `${dir.path}/bus`, "--spool", `${disk}/spool`);
  const start = () => startProgram([...args, "--no-rate-limit", "--max-in-flight", "5"]);
  return { core, disk, socket: `${dir.path}/bus/aws_iot_mqtt`, ledger: new Ledger(4_000), start };
}

/** Publishes one message; what became of it. */
async function publishOne({ socket, ledger }: Place): Promise<"accepted" | BusError> {
  await using client = await connected(socket);
  const { number, payload } = ledger.issue(TOPIC);
  try {
    await client.call("publish", publishParams({ topic: TOPIC, payload, qos: 1 }));
  } catch (error) {
    if (error instanceof BusError) return error;
    throw error;
  }
  ledger.accept(TOPIC, number);
  return "accepted";
}

/** Publishes until so many were refused; each has to be told that it was not stored. */
async function untilRefused(place: Place, times: number): Promise<void> {
  for (let refused = 0; refused < times;) {
    const outcome = await publishOne(place);
    if (outcome === "accepted") continue;
    assertEquals(outcome.code, BusErrorCode.NOMEM, outcome.message);
    refused++;
  }
}

async function untilDrained({ core, ledger, socket }: Place): Promise<void> {
  await waitFor("what was accepted to arrive", () => {
    ledger.absorb(core);
    return ledger.tally().missing === 0;
  });
  await waitFor("an empty spool", async () => (await statusOf(socket)).spool.messages === 0);
}

async function stop(program: Program): Promise<void> {
  program.signal("SIGTERM");
  assertEquals(await within("the program to end", program.exited), 0, program.log());
}

Deno.test({
  name:
    "a full disk: refused ones are told, QoS 0 goes out, accepted ones arrive after room is made, also after a kill",
  ignore,
  fn: async (t) => {
    await using stack = new AsyncDisposableStack();
    const place = await setUp(stack, "4m");
    const { core, disk, socket, ledger } = place;
    // Others have a part of the disk.
    Deno.writeFileSync(`${disk}/hog`, new Uint8Array(1_000_000));
    core.behaviour.ackPublish = "never";
    const refusals = 10;
    await using first = await place.start();
    await first.logged("serving the core bus");
    await untilConnected(socket);
    await untilRefused(place, refusals);
    const accepted = ledger.tally().accepted;
    assertGreater(accepted, 100);
    assertEquals((await statusOf(socket)).spool.refused, refusals);
    ledger.absorb(core);
    await publish(socket, { topic: "zero", qos: 0, payload: "out" });
    await waitFor("QoS 0", () => core.published.some(({ topic }) => topic === "zero"));
    core.clearRecords();
    assertEquals(first.log().match(/cannot write to the spool/g)?.length, 1, first.log());
    first.signal("SIGKILL");
    await first.exited;

    // Still full at the next start.
    await using second = await place.start();
    await second.logged("serving the core bus");
    await untilConnected(socket);
    await untilRefused(place, refusals);
    await Deno.remove(`${disk}/hog`);
    await waitFor("room", async () => await publishOne(place) === "accepted");
    core.behaviour.ackPublish = "auto";
    core.releaseAcks();
    await untilDrained(place);
    const { delivered, disorder, ...rest } = ledger.tally();
    const figures = `${rest.accepted} accepted, ${delivered} delivered, ${2 * refusals} refused`;
    await t.step(figures, () => {
      assertEquals([delivered, disorder], [rest.accepted, 0], "what was refused is not sent");
      assertGreater(rest.accepted, accepted);
    });
    await stop(second);
  },
});

Deno.test({
  name: "a full disk is drained without room being made, and takes messages again",
  ignore,
  fn: async () => {
    await using stack = new AsyncDisposableStack();
    const place = await setUp(stack, "3m");
    const { core, socket, ledger } = place;
    core.behaviour.ackPublish = "never";
    await using program = await place.start();
    await program.logged("serving the core bus");
    await untilConnected(socket);
    await untilRefused(place, 3);
    core.behaviour.ackPublish = "auto";
    core.releaseAcks();
    await untilDrained(place);
    await waitFor("a message to be taken", async () => await publishOne(place) === "accepted");
    await untilDrained(place);
    assertEquals(ledger.tally().disorder, 0);
    await stop(program);
  },
});

Deno.test({
  name: "a disk without room for an empty spool ends the program with 73 and one line",
  ignore,
  fn: async () => {
    await using stack = new AsyncDisposableStack();
    const { core, disk } = await setUp(stack, "8k");
    await using dir = await tempDir();
    const files = await writePki(dir.path, core.pki);
    Deno.writeFileSync(`${disk}/hog`, new Uint8Array(8_192));
    const { code, stderr } = await runProgram(
      daemonArgs(core, files, `${dir.path}/bus`, "--spool", `${disk}/spool`),
    );
    assertEquals(code, 73, stderr);
    const said = stderr.split("\n").filter((line) => / error .* exit=\d+/.test(line));
    assertEquals(said.length, 1, stderr);
    assert(said[0]!.includes(`--spool ${disk}/spool`), said[0]);
    await assertRejects(() => Deno.stat(`${dir.path}/bus/aws_iot_mqtt`), Deno.errors.NotFound);
  },
});
