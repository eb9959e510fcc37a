/**
 * `deno task package`: makes `dist/iotcored_<version>_<arch>.deb` and `.tar.gz` from a compiled program.
 *
 * @module
 */

import config from "../../deno.json" with { type: "json" };
import { Exit, ExitError } from "../base/errors.ts";
import { parseOptions } from "../cli/args.ts";
import { allCommands } from "../cli/commands.ts";
import { helpText } from "../cli/help.ts";
import { isProgramFor } from "./build.ts";
import { orExit, ROOT, run, say } from "./deno.ts";
import { type Target, TARGETS } from "./options.ts";
import {
  archiveFiles,
  debianFiles,
  debianVersion,
  type PackageFile,
  type PackageSource,
} from "./package_files.ts";
import { bomText } from "./sbom.ts";
import { sourceDate } from "./source.ts";

/** How Debian calls what Deno compiles for. */
const ARCHITECTURES: Readonly<Record<Target, string>> = {
  "x86_64-unknown-linux-gnu": "amd64",
  "aarch64-unknown-linux-gnu": "arm64",
};

/** The scripts and lists of the Debian package beside `control`, and whether dpkg runs them. */
const CONTROL: readonly (readonly [name: string, mode: number])[] = [
  ["conffiles", 0o644],
  ["preinst", 0o755],
  ["postinst", 0o755],
  ["prerm", 0o755],
  ["postrm", 0o755],
];

const COMMAND = {
  name: "package",
  summary: "Makes a Debian package and an archive from a compiled program.",
  usage: [],
  options: [
    {
      option: "target",
      value: "TARGET",
      repeats: true,
      help: `${TARGETS.join(" or ")}, in place of this machine; may be given several times`,
    },
    { option: "binary", value: "FILE", help: "the compiled program, in place of the one in dist" },
    { option: "output", value: "DIR", help: "where the packages are made (dist)" },
    { option: "help", short: "h", help: "print this help" },
  ],
  examples: [],
};

async function packageTask(args: readonly string[]): Promise<void> {
  const { values } = parseOptions(args[0] === "--" ? args.slice(1) : args, COMMAND.options);
  if (values.has("help")) {
    return say(helpText(COMMAND).replace("Usage:\n", "Usage:\n  deno task package [options]\n"));
  }
  const targets = values.get("target") ?? [Deno.build.target];
  const output = values.get("output")?.at(-1) ?? `${ROOT}dist`;
  for (const target of targets) {
    if (!isTarget(target)) {
      const rule = `it must be ${TARGETS.join(" or ")}, got ${JSON.stringify(target)}`;
      throw new ExitError(Exit.USAGE, `Cannot use --target: ${rule}`);
    }
    const binary = values.get("binary")?.at(-1) ?? await compiled(target);
    await checkBinary(binary, target);
    const options = { binary, target, output, version: config.version, date: await sourceDate() };
    for (const file of await makePackages(options)) {
      say(`${file}: ${((await Deno.stat(file)).size / 2 ** 20).toFixed(1)} MiB`);
    }
  }
}

function isTarget(text: string): text is Target {
  return Object.hasOwn(ARCHITECTURES, text);
}

/** What `deno task compile` has made for a target, or for this machine. */
async function compiled(target: Target): Promise<string> {
  const names = [`${ROOT}dist/iotcored-${target}`];
  if (target === Deno.build.target) names.push(`${ROOT}dist/iotcored`);
  for (const name of names) {
    if (await Deno.stat(name).then(({ isFile }) => isFile, () => false)) return name;
  }
  throw new ExitError(
    Exit.NOINPUT,
    `Cannot package: ${names[0]} is missing; deno task compile --target ${target} makes it`,
  );
}

async function checkBinary(binary: string, target: Target): Promise<void> {
  try {
    if (await isProgramFor(binary, target)) return;
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
    throw new ExitError(Exit.NOINPUT, `Cannot package: ${binary} is missing`);
  }
  throw new ExitError(Exit.USAGE, `Cannot package: ${binary} is no program for ${target}`);
}

/** What packages are made of. */
export interface PackageOptions {
  /** The compiled program. */
  readonly binary: string;
  readonly target: Target;
  /** The folder that they are made in. */
  readonly output: string;
  /** `x.y.z`. */
  readonly version: string;
  /** The time of every file that is made, so that equal sources give equal packages. */
  readonly date: Date;
}

/**
 * Makes the Debian package and the archive of one program; returns their paths.
 *
 * @throws {ExitError} 69 where `dpkg-deb` or `tar` is missing, 70 when one of them fails
 */
export async function makePackages(options: PackageOptions): Promise<string[]> {
  const { target, output, version, date } = options;
  const source: PackageSource = {
    ...{ root: ROOT, binary: options.binary, version, date },
    commands: await allCommands(),
    sbom: await bomText(),
  };
  await Deno.mkdir(output, { recursive: true });
  const dir = await Deno.makeTempDir({ prefix: "iotcored-package-" });
  try {
    const arch = ARCHITECTURES[target];
    const deb = `${output}/iotcored_${debianVersion(version)}_${arch}.deb`;
    await makeDeb(`${dir}/deb`, deb, await debianFiles(source), { version, arch, date });
    const name = `iotcored-${version}-${target}`;
    const archive = `${output}/${name}.tar.gz`;
    await write(`${dir}/${name}`, await archiveFiles(source));
    await run("tar", [
      ...["--sort=name", "--owner=0", "--group=0", "--numeric-owner"],
      ...[`--mtime=@${seconds(date)}`, "--use-compress-program=gzip -9n"],
      ...["-C", dir, "-cf", archive, name],
    ]);
    return [deb, archive];
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

async function makeDeb(
  dir: string,
  output: string,
  files: readonly PackageFile[],
  about: { readonly version: string; readonly arch: string; readonly date: Date },
): Promise<void> {
  const scripts = CONTROL.map(([name, mode]) => ({
    path: `DEBIAN/${name}`,
    mode,
    content: { copyOf: `${ROOT}src/build/debian/${name}` },
  }));
  const bytes = await write(dir, files);
  const control = (await Deno.readTextFile(`${ROOT}src/build/debian/control`))
    .replace("@VERSION@", debianVersion(about.version))
    .replace("@ARCH@", about.arch)
    .replace("@KIB@", String(Math.ceil(bytes / 1024)));
  await write(dir, [...scripts, {
    path: "DEBIAN/control",
    mode: 0o644,
    content: new TextEncoder().encode(control),
  }]);
  const args = ["--root-owner-group", "-Zxz", "--build", dir, output];
  await run("dpkg-deb", args, { SOURCE_DATE_EPOCH: seconds(about.date) });
}

/** Writes files below `dir`; returns how many bytes they are. */
async function write(dir: string, files: readonly PackageFile[]): Promise<number> {
  let bytes = 0;
  for (const { path, mode, content } of files) {
    const to = `${dir}/${path}`;
    const folder = to.slice(0, to.lastIndexOf("/"));
    await Deno.mkdir(folder, { recursive: true });
    if (content instanceof Uint8Array) await Deno.writeFile(to, content);
    else await Deno.copyFile(content.copyOf, to);
    await Deno.chmod(to, mode);
    bytes += (await Deno.stat(to)).size;
  }
  await openFolders(dir);
  return bytes;
}

/** Folders may be entered by everybody, whatever the umask here is. */
async function openFolders(dir: string): Promise<void> {
  await Deno.chmod(dir, 0o755);
  for await (const { name, isDirectory } of Deno.readDir(dir)) {
    if (isDirectory) await openFolders(`${dir}/${name}`);
  }
}

function seconds(date: Date): string {
  return String(Math.floor(date.getTime() / 1000));
}

if (import.meta.main) await orExit(() => packageTask(Deno.args));
