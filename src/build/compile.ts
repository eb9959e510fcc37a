/**
 * `deno task compile`: makes `dist/iotcored`, with its permissions and arguments baked in.
 *
 * @module
 */

import { helpText } from "../cli/help.ts";
import { build, suppliedBase } from "./build.ts";
import { orExit, ROOT, say } from "./deno.ts";
import { BUILD_OPTIONS, parseBuildArgs, type Target } from "./options.ts";

async function compile(args: readonly string[]): Promise<void> {
  const options = parseBuildArgs(args);
  if (options.help) return say(help());
  const targets: readonly (Target | undefined)[] = options.targets.length > 0
    ? options.targets
    : [undefined];
  await Deno.mkdir(`${ROOT}dist`, { recursive: true });
  for (const target of targets) {
    const output = `dist/iotcored${target === undefined ? "" : `-${target}`}`;
    await build(options, `${ROOT}${output}`, target, suppliedBase(target));
    const { size } = await Deno.stat(`${ROOT}${output}`);
    say(`${output}: ${(size / 2 ** 20).toFixed(1)} MiB`);
  }
}

function help(): string {
  return helpText({
    name: "compile",
    summary: "Compiles iotcored into one file that may do one thing.",
    usage: [],
    options: BUILD_OPTIONS,
    examples: [],
  }).replace(/Usage:\n/, "Usage:\n  deno task compile [options]\n").trimEnd();
}

await orExit(() => compile(Deno.args));
