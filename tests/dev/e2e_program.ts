/**
 * Makes a program that the end-to-end tests can start in the place of the source, with permissions for their folders:
 *
 *     deno run -A tests/dev/e2e_program.ts [--joined] DIR
 *     IOTCORED=DIR/iotcored deno test -P tests/e2e/start_test.ts
 *
 * It is compiled as a release is. With `--joined`, for where Deno's base binary cannot be had, it is what would be compiled: the one
 * file, run by Deno with the flags and arguments that would be embedded.
 *
 * @module
 */

import { parseOptions } from "../../src/cli/args.ts";
import { build, suppliedBase } from "../../src/build/build.ts";
import { orExit } from "../../src/build/deno.ts";
import { parseBuildArgs } from "../../src/build/options.ts";
import { compileInto } from "../support/compiled.ts";
import { FOLDERS } from "../support/temp.ts";

/** The bus folders that tests make, or fail to make, within their own. */
const BUS_FOLDERS = ["", "/bus", "/other", "/file/bus"];

/** The daemons of the benchmarks, each with a bus folder of its name. */
const BENCH_DAEMONS = [
  ...["busy", "disk", "fan", "idle", "memory", "quiet", "subscribers"],
  ...["flood-0", "flood-1", "full-disk", "full-memory"],
];

/** Where not even root may make a folder. */
const NOWHERE = { bus: "/proc/iotcored", spool: "/proc/iotcored-spool" };

/** Options of `deno task compile` for programs of the tests: brokers on this machine, and folders beside the program. */
export function compileOptions(dir: string): string[] {
  const folders = Array.from({ length: FOLDERS }, (_, number) => `${dir}/${number}`);
  const option = (name: string, values: readonly string[]): string[] =>
    values.flatMap((value) => [`--${name}`, value]);
  const busDirs = folders.flatMap((dir) => BUS_FOLDERS.map((bus) => dir + bus));
  // A benchmark takes the first one, as nothing runs beside it.
  const benchDirs = BENCH_DAEMONS.map((name) => `${folders[0]}/${name}`);
  return [
    ...option("endpoint", ["localhost:*", "127.0.0.1:*", "broker.invalid"]),
    ...option("spool", [...folders, NOWHERE.spool]),
    ...option("bus-dir", [...busDirs, ...benchDirs, NOWHERE.bus]),
    ...option("interface-name", ["aws_iot_mqtt", "bus", "other", "occupied"]),
  ];
}

async function main(args: readonly string[]): Promise<void> {
  const { values, words: [folder] } = parseOptions(args, [{ option: "joined", help: "" }]);
  if (folder === undefined) throw new Error("Cannot make a program: give the folder for it");
  const dir = await Deno.realPath(folder);
  const path = `${dir}/iotcored`;
  if (!values.has("joined")) {
    return await build(
      parseBuildArgs(compileOptions(dir)),
      path,
      undefined,
      suppliedBase(undefined),
    );
  }
  const { command } = await compileInto(dir, compileOptions(dir));
  const words = command.map((word) => `'${word}'`).join(" ");
  await Deno.writeTextFile(path, `#!/bin/sh\nexec ${words} "$@"\n`, { mode: 0o755 });
}

if (import.meta.main) await orExit(() => main(Deno.args));
