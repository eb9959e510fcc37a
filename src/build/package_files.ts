import { gzipSync } from "node:zlib";
import { SHELLS } from "../cli/completions.ts";
import type { Command } from "../cli/help.ts";
import { manPages } from "./man.ts";

/** A file of a package. */
export interface PackageFile {
  /** From the root of the device, without a slash in front. */
  readonly path: string;
  /** Permission bits. */
  readonly mode: number;
  /** What is in it, or the path of the file that it is a copy of. */
  readonly content: Uint8Array | { readonly copyOf: string };
}

/** What the files of a package are made from. */
export interface PackageSource {
  /** The folder of the project, with a slash at its end. */
  readonly root: string;
  /** The compiled program. */
  readonly binary: string;
  /** `x.y.z`. */
  readonly version: string;
  /** When the source was changed last. */
  readonly date: Date;
  /** Every subcommand, `run` first. */
  readonly commands: readonly Command[];
  /** The software bill of materials, as JSON. */
  readonly sbom: string;
}

const DOC = "usr/share/doc/iotcored";

/** Where the completions of a shell belong in a package [Debian: each shell's own README]. */
const COMPLETIONS: Readonly<Record<string, string>> = {
  bash: "usr/share/bash-completion/completions/iotcored",
  zsh: "usr/share/zsh/vendor-completions/_iotcored",
  fish: "usr/share/fish/vendor_completions.d/iotcored.fish",
};

/** Files that are copied as they are. */
const COPIES: readonly (readonly [from: string, to: string])[] = [
  ["src/build/systemd/iotcored.service", "usr/lib/systemd/system/iotcored.service"],
  ["src/build/systemd/iotcored.socket", "usr/lib/systemd/system/iotcored.socket"],
  ["src/build/sysusers.d/iotcored.conf", "usr/lib/sysusers.d/iotcored.conf"],
  ["src/build/tmpfiles.d/iotcored.conf", "usr/lib/tmpfiles.d/iotcored.conf"],
  ["src/build/debian/options", `${DOC}/examples/options`],
];

/** The files of the archive: those that every system takes. */
export async function archiveFiles(source: PackageSource): Promise<PackageFile[]> {
  const { root, binary, commands, date, sbom } = source;
  return [
    { path: "usr/bin/iotcored", mode: 0o755, content: { copyOf: binary } },
    ...COPIES.map(([from, path]) => ({ path, mode: 0o644, content: { copyOf: root + from } })),
    ...manPages(commands, date).map(({ file, text }) =>
      made(`usr/share/man/man${file.at(-1)}/${file}.gz`, compressed(text))
    ),
    ...Object.entries(SHELLS).map(([shell, script]) =>
      made(COMPLETIONS[shell]!, encoded(script(commands)))
    ),
    ...(await documents(root)).map((name) => ({
      path: `${DOC}/${name}`,
      mode: 0o644,
      content: { copyOf: root + name },
    })),
    made(`${DOC}/changelog.gz`, compressed(await Deno.readTextFile(`${root}CHANGELOG.md`))),
    made(`${DOC}/copyright`, encoded(await copyright(root))),
    made(`${DOC}/iotcored.cdx.json`, encoded(sbom)),
  ];
}

/** The files of the Debian package: also those that only dpkg knows how to treat. */
export async function debianFiles(source: PackageSource): Promise<PackageFile[]> {
  const { root, version, date } = source;
  return [
    ...await archiveFiles(source),
    {
      path: "etc/iotcored/options",
      mode: 0o644,
      content: { copyOf: `${root}src/build/debian/options` },
    },
    {
      path: "usr/share/lintian/overrides/iotcored",
      mode: 0o644,
      content: { copyOf: `${root}src/build/debian/lintian-overrides` },
    },
    made(`${DOC}/changelog.Debian.gz`, compressed(debianChangelog(version, date))),
  ];
}

/** The version as Debian writes it: the first package of this source. */
export function debianVersion(version: string): string {
  return `${version.replace("-", "~")}-1`;
}

/** The documents in the package: those of the top folder, and of `docs`; the changelog has a name of its own there. */
async function documents(root: string): Promise<string[]> {
  const names: string[] = [];
  for (const folder of ["", "docs/"]) {
    for await (const { name, isFile } of Deno.readDir(root + folder)) {
      if (isFile && name.endsWith(".md") && name !== "CHANGELOG.md") names.push(folder + name);
    }
  }
  return names.sort();
}

/** The file of Debian with the text of the license in it, which the Expat license wants beside each copy. */
async function copyright(root: string): Promise<string> {
  const [head, license] = await Promise.all([
    Deno.readTextFile(`${root}src/build/debian/copyright`),
    Deno.readTextFile(`${root}LICENSE`),
  ]);
  const terms = license.slice(license.indexOf("Permission")).trim().split("\n");
  return head + terms.map((line) => line === "" ? " .\n" : ` ${line}\n`).join("");
}

function debianChangelog(version: string, date: Date): string {
  const day = date.toUTCString().replace("GMT", "+0000");
  return `iotcored (${debianVersion(version)}) unstable; urgency=medium

  * Version ${version}; changelog.gz says what has changed.

 -- the iotcored authors <iotcored@users.noreply.github.com>  ${day}
`;
}

function made(path: string, content: Uint8Array): PackageFile {
  return { path, mode: 0o644, content };
}

function encoded(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}

function compressed(text: string): Uint8Array {
  return gzipSync(text, { level: 9 });
}
