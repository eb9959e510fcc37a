/** What the figures were taken on. */
export interface Machine {
  readonly cpu: string;
  readonly cores: number;
  readonly kernel: string;
  readonly deno: string;
  /** Where the spools on disk are. */
  readonly disk: string;
  /** Runnable processes of the minute before. */
  readonly load: number;
  readonly at: string;
}

/** Looks at the machine; `dir` is on the disk that is used. */
export async function machine(dir: string): Promise<Machine> {
  const cpu = /^model name\s*:\s*(.+)$/m.exec(await Deno.readTextFile("/proc/cpuinfo"))?.[1];
  return {
    cpu: cpu ?? Deno.build.arch,
    cores: navigator.hardwareConcurrency,
    kernel: Deno.osRelease(),
    deno: Deno.version.deno,
    disk: await filesystem(dir),
    load: Deno.loadavg()[0]!,
    at: new Date().toISOString().slice(0, 16) + "Z",
  };
}

/** The type of the file system that holds a folder: the mount with the longest path that leads to it. */
async function filesystem(dir: string): Promise<string> {
  const mounts = (await Deno.readTextFile("/proc/mounts")).split("\n").map((line) =>
    line.split(" ")
  );
  const above = mounts.filter(([, place]) =>
    place !== undefined && (dir === place || dir.startsWith(place === "/" ? "/" : `${place}/`))
  );
  return above.sort((a, b) => a[1]!.length - b[1]!.length).at(-1)?.[2] ?? "unknown";
}

/** The machine in a sentence. */
export function describe(of: Machine): string {
  return `${of.cpu}, ${of.cores} cores, Linux ${of.kernel}, Deno ${of.deno}, spools on ${of.disk}; load before the start ${
    of.load.toFixed(2)
  }; ${of.at}`;
}
