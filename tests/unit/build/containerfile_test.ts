import { parseBuildArgs } from "../../../src/build/options.ts";
import { permissionsOf } from "../../../src/build/permissions.ts";
import { parseOptions } from "../../../src/cli/args.ts";
import { parseRunArgs } from "../../../src/cli/run.ts";
import { STATUS } from "../../../src/cli/status.ts";
import { assert, assertEquals } from "../../deps.ts";

const TEXT = await Deno.readTextFile(new URL("../../../Containerfile", import.meta.url));

/** The list behind an instruction. */
function list(instruction: string): string[] {
  const found = new RegExp(`^${instruction}.*?(\\[.*\\])$`, "m").exec(TEXT);
  return JSON.parse(found![1]!);
}

Deno.test("the container's folders are those that the compiled program may use", () => {
  const { read, write } = permissionsOf(parseBuildArgs([]));
  for (const folder of list("VOLUME")) assert(read.includes(folder), folder);
  const { given } = parseRunArgs(list("ENTRYPOINT").slice(1));
  assertEquals(given.spool, "/var/lib/iotcored/spool");
  assert(write.includes("/var/lib/iotcored") && write.includes("/run/greengrass"));
});

Deno.test("the container's health check is a call of iotcored status", () => {
  const [program, subcommand, ...args] = list("HEALTHCHECK");
  assertEquals([program, subcommand], ["/usr/bin/iotcored", STATUS.command.name]);
  parseOptions(args, STATUS.command.options, "status");
});
