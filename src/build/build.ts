import { Exit, ExitError } from "../base/errors.ts";
import { permissionFlags, permissionsOf } from "./permissions.ts";
import { bundle, ENTRY } from "./bundle.ts";
import { firstError, runDeno } from "./deno.ts";
import type { BuildOptions, Target } from "./options.ts";

/** Unstable features: datagrams for `sd_notify`. */
export const FEATURES: readonly string[] = ["net"];

/**
 * A small young generation, and a heap that grows by half before the garbage in it is collected: by itself V8 lets some 60 MB
 * more of it pile up under a flood, for no speed worth it. The same as in the task `iotcored`.
 */
export const V8_FLAGS: readonly string[] = ["--max-semi-space-size=1", "--heap-growing-percent=50"];

/** Arguments that come before those of the user. */
export function bakedArgs(options: BuildOptions): string[] {
  return ["--connection-ceiling", String(options.ceiling)];
}

/** The arguments of `deno compile`, which is run on the bundle in `dir`. */
export function compileArgs(
  options: BuildOptions,
  dir: string,
  output: string,
  target?: Target,
): string[] {
  return [
    "compile",
    "-q",
    ...["--no-config", "--no-lock", "--no-check"],
    // V8's cache would be a file in /tmp under a name that anyone can take.
    "--no-code-cache",
    `--v8-flags=${V8_FLAGS.join(",")}`,
    ...FEATURES.map((feature) => `--unstable-${feature}`),
    ...permissionFlags(permissionsOf(options)),
    ...target === undefined ? [] : ["--target", target],
    ...["--app-name", "iotcored", "-o", output],
    `${dir}/${ENTRY}`,
    ...bakedArgs(options),
  ];
}

/**
 * Compiles into `output`. `base` is the binary to put the program into, instead of the one that Deno downloads.
 *
 * @throws {ExitError} 69 when there is no base, 70 when Deno fails otherwise
 */
export async function build(
  options: BuildOptions,
  output: string,
  target?: Target,
  base?: string,
): Promise<void> {
  if (base !== undefined) await checkBase(base, target);
  const dir = await Deno.makeTempDir({ prefix: "iotcored-" });
  try {
    await bundle(dir, permissionsOf(options));
    const { code, stderr } = await runDeno(
      compileArgs(options, dir, output, target),
      base === undefined ? {} : { DENORT_BIN: base },
    );
    if (code === 0) return;
    if (/Setting up base binary|denort/.test(stderr)) throw noBase(target, firstError(stderr));
    throw new ExitError(Exit.INTERNAL, `Cannot compile: ${firstError(stderr)}`);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

/** `e_machine` of the architectures [ELF-64 Object File Format, and their ABIs]. */
const MACHINES = { x86_64: 62, aarch64: 183 } as const;

async function checkBase(base: string, target: Target | undefined): Promise<void> {
  try {
    if (target === undefined || await isProgramFor(base, target)) return void await Deno.stat(base);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
    throw new ExitError(Exit.UNAVAILABLE, `Cannot compile: DENORT_BIN names no file, ${base}`);
  }
  throw new ExitError(
    Exit.USAGE,
    `Cannot compile for ${target}: DENORT_BIN (${base}) is a program for another machine`,
  );
}

/** Whether a file is an ELF program for the machine of a target. @throws {Deno.errors.NotFound} */
export async function isProgramFor(path: string, target: Target): Promise<boolean> {
  const head = new Uint8Array(20);
  using file = await Deno.open(path);
  await file.read(head);
  const wanted = MACHINES[target.split("-")[0] as keyof typeof MACHINES];
  const elf = head[0] === 0x7f && head[1] === 0x45 && head[2] === 0x4c && head[3] === 0x46;
  return elf && new DataView(head.buffer).getUint16(18, true) === wanted;
}

function noBase(target: Target | undefined, why: string): ExitError {
  const triple = target ?? Deno.build.target;
  const url = `https://dl.deno.land/release/v${Deno.version.deno}/denort-${triple}.zip`;
  return new ExitError(
    Exit.UNAVAILABLE,
    [
      `Cannot compile for ${triple}: the base binary, Deno's runtime ${Deno.version.deno}, cannot be had here (${
        why.replace(/^Writing deno compile executable[^;]*; (Setting up base binary\.; )?/, "")
          .split(";")[0]
      })`,
      `To supply it: download ${url} where that works,`,
      `unpack it, and run this again with DENORT_BIN=/path/to/denort`,
      `(for several targets: DENORT_BIN_X86_64 and DENORT_BIN_AARCH64)`,
    ].join("\n"),
  );
}

/** The base binary that the environment names for a target. */
export function suppliedBase(target: Target | undefined): string | undefined {
  const arch = (target ?? Deno.build.target).split("-")[0]!.toUpperCase();
  return Deno.env.get(`DENORT_BIN_${arch}`) || Deno.env.get("DENORT_BIN") || undefined;
}
