import { importMapFlags } from "../../src/build/deno.ts";
import { type Program, programCommand, startCommand } from "./program.ts";

const ROOT = new URL("../../", import.meta.url);

/** Modules of the program, and what stands in their place. */
const FAULTY = [
  ["src/daemon/bus_methods.ts", "tests/support/faulty_interface.ts"],
  ["src/process/signals.ts", "tests/support/faulty_signals.ts"],
] as const;

/** The import map that the program would have, with some of its modules replaced; `dir` gets it as a file. */
async function faultyMap(dir: string): Promise<string> {
  const [flag] = importMapFlags();
  const standIns = flag?.replace("--import-map=", "");
  const base = new URL(standIns === undefined ? "deno.json" : `file://${standIns}`, ROOT);
  const { imports } = JSON.parse(await Deno.readTextFile(base)) as {
    imports: Record<string, string>;
  };
  const absolute = Object.entries(imports).map(([name, to]) => [
    name,
    to.startsWith(".") ? new URL(to, base).href : to,
  ]);
  const replaced = FAULTY.map((pair) => pair.map((path) => new URL(path, ROOT).href));
  const map = {
    imports: { ...Object.fromEntries(absolute), ...Object.fromEntries(replaced) },
    // The stand-ins themselves get the real ones.
    scopes: Object.fromEntries(replaced.map(([real, faulty]) => [faulty, { [real!]: real }])),
  };
  const path = `${dir}/faulty_import_map.json`;
  await Deno.writeTextFile(path, JSON.stringify(map));
  return path;
}

/** Starts the program as a user does, but with the bugs of `faulty_interface.ts` and `faulty_signals.ts`; `dir` is for a file of its own. */
export async function startFaultyProgram(dir: string, args: readonly string[]): Promise<Program> {
  const map = await faultyMap(dir);
  const command = (await programCommand()).filter((part) => !part.startsWith("--import-map="));
  const run = command.indexOf("run");
  return startCommand([
    ...command.slice(0, run + 1),
    `--import-map=${map}`,
    ...command.slice(run + 1),
    ...args,
  ]);
}
