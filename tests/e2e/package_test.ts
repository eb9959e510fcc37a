import { importMapFlags, type Ran, runDeno } from "../../src/build/deno.ts";
import { makePackages } from "../../src/build/package.ts";
import type { Target } from "../../src/build/options.ts";
import { assert, assertEquals, assertStringIncludes } from "../deps.ts";
import { DebianRoot } from "../support/debian_root.ts";
import { FROM_SOURCE } from "../support/program.ts";
import { isInstalled } from "../support/shells.ts";
import { tempDir } from "../support/temp.ts";

const DATE = new Date("2026-01-31T12:00:00Z");
const TARGET = Deno.build.target as Target;

/** A program of this machine in the place of the compiled one: what is tested is around it. */
const PLACEHOLDERS = ["/bin/true", "/bin/false"] as const;

const ignore = FROM_SOURCE.ignore || !isInstalled("dpkg-deb");

/** Whether dpkg can run the scripts of a package in another root: for that one has to be root, in a container with the right too. */
function mayChroot(): boolean {
  return Deno.uid() === 0 &&
    new Deno.Command("chroot", { args: ["/", "true"] }).outputSync().success;
}

async function make(output: string, version = "1.2.3", binary: string = PLACEHOLDERS[0]) {
  const [deb, archive] = await makePackages({
    binary,
    target: TARGET,
    output,
    version,
    date: DATE,
  });
  return { deb: deb!, archive: archive! };
}

async function output(command: string, ...args: string[]): Promise<string> {
  const { stdout, stderr } = await new Deno.Command(command, { args }).output();
  const decoder = new TextDecoder();
  return decoder.decode(stdout) + decoder.decode(stderr);
}

Deno.test({
  name: "the packages hold program, units, users, manuals, completions and documents",
  ignore,
}, async () => {
  await using dir = await tempDir();
  const { deb, archive } = await make(dir.path);
  const everywhere = [
    "usr/bin/iotcored",
    "usr/lib/systemd/system/iotcored.service",
    "usr/lib/systemd/system/iotcored.socket",
    "usr/lib/sysusers.d/iotcored.conf",
    "usr/lib/tmpfiles.d/iotcored.conf",
    "usr/share/man/man1/iotcored.1.gz",
    "usr/share/man/man5/iotcored-config.5.gz",
    "usr/share/man/man8/iotcored.8.gz",
    "usr/share/bash-completion/completions/iotcored",
    "usr/share/zsh/vendor-completions/_iotcored",
    "usr/share/fish/vendor_completions.d/iotcored.fish",
    "usr/share/doc/iotcored/changelog.gz",
    "usr/share/doc/iotcored/copyright",
    "usr/share/doc/iotcored/README.md",
    "usr/share/doc/iotcored/iotcored.cdx.json",
  ];
  const inDeb = await output("dpkg-deb", "-c", deb);
  for (const path of [...everywhere, "etc/iotcored/options"]) {
    assertStringIncludes(inDeb, ` ./${path}\n`);
  }
  const inArchive = await output("tar", "-tvf", archive);
  for (const path of everywhere) {
    assertStringIncludes(inArchive, ` iotcored-1.2.3-${TARGET}/${path}\n`);
  }
  assert(!inArchive.includes("/etc/"), "the archive must not overwrite what a user has written");
});

Deno.test({ name: "equal sources give equal packages", ignore }, async () => {
  await using dir = await tempDir();
  const [first, second] = [await make(`${dir.path}/1`), await make(`${dir.path}/2`)];
  for (const kind of ["deb", "archive"] as const) {
    assertEquals(await Deno.readFile(first[kind]), await Deno.readFile(second[kind]), kind);
  }
});

Deno.test({
  name: "lintian finds no error in the Debian package",
  ignore: ignore || !isInstalled("lintian"),
}, async () => {
  await using dir = await tempDir();
  const { deb } = await make(dir.path);
  const tags = await output("lintian", "--allow-root", deb);
  assertEquals(tags.split("\n").filter((line) => line.startsWith("E:")), []);
});

Deno.test({
  name:
    "install, upgrade, remove and purge: nothing is enabled, the spool goes with a purge alone, the C daemon comes back",
  ignore: ignore || !mayChroot(),
}, async () => {
  await using dir = await tempDir();
  await using root = await DebianRoot.create();
  await root.write("usr/bin/iotcored", "the C daemon", 0o755);

  await root.dpkg("-i", (await make(dir.path)).deb);
  assertEquals(
    await Deno.readFile(root.path("usr/bin/iotcored")),
    await Deno.readFile(PLACEHOLDERS[0]),
  );
  assertEquals(await root.read("usr/bin/iotcored.nucleus"), "the C daemon");
  assertEquals(await root.systemctlCalls(), [
    "daemon-reload",
    "try-restart --no-block iotcored.service",
  ]);
  const group = /^ggcore:x:(\d+):/m.exec(await root.read("etc/group"))?.[1];
  assertStringIncludes(await root.read("etc/passwd"), `:${group}:`);
  const folder = await Deno.stat(root.path("etc/iotcored"));
  assertEquals([folder.mode! & 0o777, folder.uid, folder.gid], [0o750, 0, Number(group)]);
  assert(!await root.exists("etc/systemd/system"), "something was enabled");

  const kept = [
    "var/lib/iotcored/spool/segment",
    "etc/iotcored/device.key",
    "etc/iotcored/options",
  ];
  for (const path of kept) await root.write(path, "mine", 0o640);
  const expectKept = async (...paths: string[]): Promise<void> => {
    for (const path of kept) assertEquals(await root.exists(path), paths.includes(path), path);
    for (const path of paths) assertEquals(await root.read(path), "mine");
  };

  await root.dpkg("-i", (await make(dir.path, "1.2.4", PLACEHOLDERS[1])).deb);
  assertEquals(
    await Deno.readFile(root.path("usr/bin/iotcored")),
    await Deno.readFile(PLACEHOLDERS[1]),
  );
  assertEquals(await root.systemctlCalls(), [
    "daemon-reload",
    "try-restart --no-block iotcored.service",
  ]);
  await expectKept(...kept);

  await root.dpkg("-r", "iotcored");
  assertEquals(await root.read("usr/bin/iotcored"), "the C daemon");
  assertEquals(await root.systemctlCalls(), [
    "disable --now iotcored.service iotcored.socket",
    "daemon-reload",
  ]);
  await expectKept(...kept);

  await root.dpkg("-P", "iotcored");
  await expectKept("etc/iotcored/device.key");
  assert(!await root.exists("var/lib/iotcored"), "the spool must go with a purge");
  assertEquals(await root.read("usr/bin/iotcored"), "the C daemon");
});

Deno.test(
  "task package names a program that is missing, or for another machine",
  FROM_SOURCE,
  async () => {
    await using dir = await tempDir();
    const other = TARGET.startsWith("x86_64") ? "aarch64" : "x86_64";
    const target = `${other}-unknown-linux-gnu`;
    const task = async (...args: string[]): Promise<Ran> =>
      await runDeno([
        ...["run", "-q", "-P=compile", ...importMapFlags(), "src/build/package.ts"],
        ...["--target", target, "--output", dir.path, ...args],
      ]);
    const wrong = await task("--binary", PLACEHOLDERS[0]);
    assertEquals([wrong.code, wrong.stderr], [
      64,
      `Cannot package: ${PLACEHOLDERS[0]} is no program for ${target}\n`,
    ]);
    const none = await task("--binary", `${dir.path}/none`);
    assertEquals([none.code, none.stderr], [66, `Cannot package: ${dir.path}/none is missing\n`]);
  },
);
