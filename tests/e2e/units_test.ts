import { permissionsOf } from "../../src/build/permissions.ts";
import { parseBuildArgs } from "../../src/build/options.ts";
import { assert, assertEquals, assertLess } from "../deps.ts";
import { MAX_HOLD_MS } from "../../src/process/failures.ts";
import { exists } from "../support/exists.ts";
import { Random } from "../support/random.ts";
import { type Ended, startsOf, type UnitSettings } from "../support/systemd_limits.ts";
import { tempDir } from "../support/temp.ts";

const UNITS = new URL("../../src/build/systemd/", import.meta.url).pathname;
const ANALYZE = "/usr/bin/systemd-analyze";

/** The values of a setting, in their order. */
async function settings(unit: string, name: string): Promise<string[]> {
  const text = await Deno.readTextFile(UNITS + unit);
  return [...text.matchAll(new RegExp(`^${name}=(.*)$`, "gm"))].map((match) => match[1]!);
}

/** Copies of the units whose program is there: `verify` looks. */
async function copyUnits(dir: string): Promise<string[]> {
  const copies: string[] = [];
  for await (const { name } of Deno.readDir(UNITS)) {
    const text = await Deno.readTextFile(UNITS + name);
    const path = `${dir}/${name}`;
    await Deno.writeTextFile(
      path,
      text.replace("ExecStart=/usr/bin/iotcored ", "ExecStart=/bin/true "),
    );
    copies.push(path);
  }
  return copies.sort();
}

async function analyze(...args: string[]): Promise<{ code: number; output: string }> {
  const command = new Deno.Command(ANALYZE, { args, env: { NO_COLOR: "1" } });
  const { code, stdout, stderr } = await command.output();
  const decoder = new TextDecoder();
  return { code, output: decoder.decode(stdout) + decoder.decode(stderr) };
}

Deno.test({
  name: "the units pass systemd-analyze verify without a word",
  ignore: !exists(ANALYZE),
  fn: async () => {
    await using dir = await tempDir();
    const { code, output } = await analyze("verify", ...await copyUnits(dir.path));
    assertEquals([code, output], [0, ""]);
  },
});

Deno.test({
  name: "the service is exposed less than 2.0 by systemd-analyze security",
  ignore: !exists(ANALYZE),
  fn: async () => {
    await using dir = await tempDir();
    const [service] = await copyUnits(dir.path);
    const { output } = await analyze("security", "--offline=true", service!);
    const [, score] = /Overall exposure level for \S+: ([0-9.]+)/.exec(output) ?? [];
    assert(score !== undefined, output);
    assertLess(Number(score), 2.0);
  },
});

Deno.test("the units and the permissions of the program name the same folders and sockets", async () => {
  const { net, write } = permissionsOf(parseBuildArgs([]));
  const [state] = await settings("iotcored.service", "StateDirectory");
  const [runtime] = await settings("iotcored.service", "RuntimeDirectory");
  for (const path of [`/var/lib/${state}`, `/run/${runtime}`]) assert(write.includes(path), path);
  assert(net.includes(`unix:/run/${runtime}/notify`), "the sender of notifications");
  const [socket] = await settings("iotcored.socket", "ListenStream");
  assert(net.includes(`unix:${socket}`), socket);
  assertEquals(await settings("iotcored.socket", "FileDescriptorName"), [
    socket!.split("/").at(-1)!,
  ]);
});

/** What the units in `src/build/systemd` say about starts, or `systemd-system.conf` where they say nothing [systemd 252]. */
async function unitSettings(): Promise<UnitSettings> {
  const seconds = async (unit: string, name: string, fallback: number): Promise<number> =>
    1_000 * Number((await settings(unit, name)).at(-1) ?? fallback);
  const number = async (unit: string, name: string, fallback: number): Promise<number> =>
    Number((await settings(unit, name)).at(-1) ?? fallback);
  const [service, socket] = ["iotcored.service", "iotcored.socket"];
  return {
    restart: (await settings(service, "Restart")).at(-1) as UnitSettings["restart"],
    restartMs: await seconds(service, "RestartSec", 0.1),
    prevented: (await settings(service, "RestartPreventExitStatus")).flatMap((line) =>
      line.split(" ").map(Number)
    ),
    start: {
      intervalMs: await seconds(service, "StartLimitIntervalSec", 10),
      burst: await number(service, "StartLimitBurst", 5),
    },
    trigger: {
      intervalMs: await seconds(socket, "TriggerLimitIntervalSec", 2),
      burst: await number(socket, "TriggerLimitBurst", 20),
    },
  };
}

/** Exit codes that the daemon ends with, the one of a stop among them. */
const EXITS = [0, 64, 69, 70, 73, 75, 77, 78];

/** Series of ends: each code again and again, and all of them in an order that depends on `seed`. */
function* endings(seed: number): Generator<Ended[]> {
  for (const exit of EXITS) {
    for (const ranMs of [0, 20, 500, 60_000]) yield Array(500).fill({ exit, ranMs });
  }
  for (let round = 0; round < 50; round++) {
    const random = new Random(seed + round);
    yield Array.from({ length: 500 }, () => ({
      exit: random.pick(EXITS),
      ranMs: 700 * random.int(3),
    }));
  }
}

Deno.test("no series of ends reaches a limit of systemd, whatever clients do, and starts stay 10 s apart", async () => {
  const units = await unitSettings();
  for (const ends of endings(29)) {
    const { starts, reached } = startsOf(units, ends);
    assertEquals([reached, starts.length], [undefined, ends.length]);
    for (const [i, start] of starts.entries()) {
      if (i > 0) assertLess(9_999, start - starts[i - 1]!);
    }
  }
});

Deno.test("units that do not restart after 78 reach the start limit when a client waits", () => {
  const units: UnitSettings = {
    restart: "on-failure",
    restartMs: 10_000,
    prevented: [64, 78],
    start: { intervalMs: 60_000, burst: 10 },
    trigger: { intervalMs: 2_000, burst: 20 },
  };
  const all = (exit: number, ranMs: number): Ended[] => Array(500).fill({ exit, ranMs });
  assertEquals(startsOf(units, all(78, 100)).reached, "start");
  assertEquals(startsOf(units, all(78, 100)).starts.length, 10);
  assertEquals(startsOf(units, all(0, 100)).reached, "start");
  assertEquals(startsOf(units, all(77, 100)).reached, undefined);
  const unlimited = { ...units, start: { intervalMs: 0, burst: 10 } };
  assertEquals(startsOf(unlimited, all(78, 10)).reached, "trigger");
});

Deno.test("neither unit has a limit after which it stays failed, and the service can do without its socket's success", async () => {
  for (const unit of ["iotcored.service", "iotcored.socket"]) {
    assertEquals(await settings(unit, "StartLimitIntervalSec"), ["0"], unit);
    // What is required must not fail: the start would be given up, and no restart would follow.
    for (const name of ["Requires", "BindsTo", "Requisite"]) {
      assertEquals(await settings(unit, name), [], unit);
    }
  }
});

Deno.test("a start that waits before it fails is not ended by systemd first", async () => {
  const [timeout] = await settings("iotcored.service", "TimeoutStartSec");
  // The config service may take 60 s.
  assertLess(60_000 + MAX_HOLD_MS, 1_000 * Number(timeout));
  // What the daemon writes for the next start must be there then.
  assertEquals(await settings("iotcored.service", "RuntimeDirectoryPreserve"), ["restart"]);
});
