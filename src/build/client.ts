/**
 * `deno task client`: makes the packages of the client library: `dist/jsr`, a folder for `deno publish`, and
 * `dist/iotcored-client-<version>.tgz` for npm.
 *
 * @module
 */

import config from "../../deno.json" with { type: "json" };
import { Exit, ExitError } from "../base/errors.ts";
import { firstError, importMapFlags, orExit, ROOT, run, runDeno, say } from "./deno.ts";

/** The name of the client library in each registry. */
export const CLIENT_NAMES = { jsr: "@iotcored/client", npm: "iotcored-client" } as const;

const ENTRY = "src/client/mod.ts";

/** Node 20.16 is the first with `process.getBuiltinModule` and with `crc32` of `node:zlib`. */
const ENGINES = { node: ">=20.16", bun: ">=1.2", deno: ">=2" } as const;

/** Where the packages are. */
export interface ClientPackages {
  /** The folder that `deno publish` is run in. */
  readonly jsr: string;
  /** The archive that `npm publish` is given. */
  readonly npm: string;
}

/**
 * Makes both packages in a folder, and has `deno publish` check the one for JSR.
 *
 * @throws {ExitError} 69 without npm, 70 when Deno or npm refuses
 */
export async function makeClientPackages(output: string): Promise<ClientPackages> {
  const jsr = `${output}/jsr`;
  await stage(jsr);
  await deno(jsr, "publish", "--dry-run", "--allow-dirty");
  const dir = await Deno.makeTempDir({ prefix: "iotcored-client-" });
  try {
    const packed = `${dir}/packed.tgz`;
    await deno(jsr, "pack", "--allow-dirty", "--no-source-maps", "-o", packed);
    await run("tar", ["-xzf", packed, "-C", dir]);
    await describeForNpm(`${dir}/package`);
    const args = ["pack", "--silent", "--pack-destination", output, `${dir}/package`];
    const name = (await run("npm", args)).trim();
    return { jsr, npm: `${output}/${name}` };
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

/** Copies the modules of the library and what describes them. */
async function stage(dir: string): Promise<void> {
  await Deno.remove(dir, { recursive: true }).catch((error) => {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  });
  for (const module of await modules()) await copy(ROOT + module, `${dir}/${module}`);
  await copy(`${ROOT}LICENSE`, `${dir}/LICENSE`);
  await copy(`${ROOT}src/client/README.md`, `${dir}/README.md`);
  const { version, license } = config;
  const about = { name: CLIENT_NAMES.jsr, version, license, exports: `./${ENTRY}` };
  await Deno.writeTextFile(`${dir}/deno.json`, JSON.stringify(about, undefined, 2) + "\n");
}

/** The files that the library is made of, relative to the project. */
async function modules(): Promise<string[]> {
  const { code, stdout, stderr } = await runDeno(["info", "--json", ...importMapFlags(), ENTRY]);
  if (code !== 0) throw new ExitError(Exit.INTERNAL, `Cannot list modules: ${firstError(stderr)}`);
  const graph: { modules: { specifier: string }[] } = JSON.parse(stdout);
  const root = new URL("../../", import.meta.url).href;
  const outside = graph.modules.filter(({ specifier }) =>
    !specifier.startsWith(root) && !specifier.startsWith("node:")
  );
  if (outside.length > 0) {
    const names = outside.map(({ specifier }) => specifier).join(", ");
    throw new ExitError(
      Exit.INTERNAL,
      `Cannot package: the client must need nothing, got ${names}`,
    );
  }
  return graph.modules.flatMap(({ specifier }) =>
    specifier.startsWith(root) ? [specifier.slice(root.length)] : []
  );
}

/** What npm shows and checks beside what `deno pack` writes. */
async function describeForNpm(dir: string): Promise<void> {
  const path = `${dir}/package.json`;
  const about = JSON.parse(await Deno.readTextFile(path));
  const described = {
    ...about,
    name: CLIENT_NAMES.npm,
    description:
      "Client of iotcored: publish and subscribe over a device's connection to AWS IoT Core",
    engines: ENGINES,
    os: ["linux"],
  };
  await Deno.writeTextFile(path, JSON.stringify(described, undefined, 2) + "\n");
  for (const name of ["LICENSE", "README.md"]) {
    await copy(ROOT + (name === "LICENSE" ? name : `src/client/${name}`), `${dir}/${name}`);
  }
}

async function copy(from: string, to: string): Promise<void> {
  await Deno.mkdir(to.slice(0, to.lastIndexOf("/")), { recursive: true });
  await Deno.copyFile(from, to);
}

/** Runs Deno in another folder, whose configuration counts. */
async function deno(cwd: string, ...args: string[]): Promise<void> {
  const { code, stderr } = await runDeno(args, {}, cwd);
  if (code === 0) return;
  throw new ExitError(Exit.INTERNAL, `Cannot ${args[0]} the client: ${firstError(stderr)}`);
}

if (import.meta.main) {
  await orExit(async () => {
    const { jsr, npm } = await makeClientPackages(`${ROOT}dist`);
    say(`${jsr}\n${npm}`);
  });
}
