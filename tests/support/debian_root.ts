import { type TempDir, tempDir } from "./temp.ts";

/** What the scripts of a package call. */
const PROGRAMS = [
  ...[
    "sh",
    "getent",
    "groupadd",
    "useradd",
    "chgrp",
    "chmod",
    "rm",
    "rmdir",
    "dpkg-divert",
    "readlink",
  ],
];

/** Packages that count as installed. */
const INSTALLED = ["libc6", "libgcc-s1", "passwd"];

/** A root folder of its own with as much of Debian in it as dpkg and the scripts of a package need. As root alone. */
export class DebianRoot implements AsyncDisposable {
  private constructor(private readonly dir: TempDir) {}

  /** Makes the folder; its `systemctl` writes down how it is called. */
  static async create(): Promise<DebianRoot> {
    const root = new DebianRoot(await tempDir());
    await root.#fill();
    return root;
  }

  /** The path of a file of this root on this machine. */
  path(name: string): string {
    return `${this.dir.path}/root/${name}`;
  }

  read(name: string): Promise<string> {
    return Deno.readTextFile(this.path(name));
  }

  async write(name: string, text: string, mode = 0o644): Promise<void> {
    const path = this.path(name);
    await Deno.mkdir(path.slice(0, path.lastIndexOf("/")), { recursive: true });
    await Deno.writeTextFile(path, text);
    await Deno.chmod(path, mode);
  }

  async exists(name: string): Promise<boolean> {
    try {
      await Deno.lstat(this.path(name));
      return true;
    } catch (error) {
      if (error instanceof Deno.errors.NotFound) return false;
      throw error;
    }
  }

  /** Runs dpkg on this root. Throws with what it says when it fails. */
  async dpkg(...args: string[]): Promise<void> {
    await output("dpkg", [`--root=${this.path("")}`, "--log=/dev/null", ...args]);
  }

  /** How systemctl was called since the last look, a line each. */
  async systemctlCalls(): Promise<string[]> {
    const calls = await this.read("calls");
    await this.write("calls", "", 0o666);
    return calls.split("\n").filter((line) => line !== "");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.dir[Symbol.asyncDispose]();
  }

  async #fill(): Promise<void> {
    for (const dir of ["var/lib/dpkg/info", "var/lib/dpkg/updates", "run/systemd/system", "tmp"]) {
      await Deno.mkdir(this.path(dir), { recursive: true });
    }
    for (const name of ["bin", "sbin", "lib", "lib64"]) {
      await Deno.mkdir(this.path(`usr/${name}`), { recursive: true });
      await Deno.symlink(`usr/${name}`, this.path(name));
    }
    for (const program of PROGRAMS) await this.#copyProgram(program);
    const status = INSTALLED.map((name) =>
      `Package: ${name}\nStatus: install ok installed\nMaintainer: nobody\n` +
      `Architecture: ${
        Deno.build.arch === "x86_64" ? "amd64" : "arm64"
      }\nVersion: 99\nDescription: none\n`
    );
    await this.write("var/lib/dpkg/status", status.join("\n"));
    await this.write("etc/passwd", "root:x:0:0:root:/root:/bin/sh\n");
    await this.write("etc/group", "root:x:0:\n");
    for (const name of ["etc/shadow", "etc/gshadow"]) await this.write(name, "", 0o600);
    await this.write("etc/login.defs", "SYS_UID_MIN 100\nSYS_GID_MIN 100\n");
    await this.write("dev/null", "", 0o666);
    await this.write("calls", "", 0o666);
    await this.write("usr/bin/systemctl", '#!/bin/sh\necho "$@" >>/calls\n', 0o755);
  }

  /** Copies a program and its libraries. */
  async #copyProgram(name: string): Promise<void> {
    const path = (await output("sh", ["-c", `command -v ${name}`])).trim();
    const real = await Deno.realPath(path);
    const libraries = (await output("ldd", [real])).matchAll(/(\/\S+) \(0x/g);
    for (const file of [path, ...[...libraries].map((match) => match[1]!)]) {
      const to = this.path(file.slice(1));
      await Deno.mkdir(to.slice(0, to.lastIndexOf("/")), { recursive: true });
      await Deno.copyFile(file, to);
    }
  }
}

/** What a command prints on stdout. Throws with its stderr when it fails. */
async function output(command: string, args: readonly string[]): Promise<string> {
  const { success, stdout, stderr } = await new Deno.Command(command, {
    args: [...args],
    stdin: "null",
    env: { LC_ALL: "C", DEBIAN_FRONTEND: "noninteractive" },
  }).output();
  const decoder = new TextDecoder();
  if (success) return decoder.decode(stdout);
  throw new Error(`${command} ${args.join(" ")}: ${decoder.decode(stderr)}`);
}
