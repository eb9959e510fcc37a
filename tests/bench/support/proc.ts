/** Clock ticks per second of `/proc`; 100 on every Linux that Deno runs on. */
const TICKS_PER_SECOND = 100;

/** CPU time of a process with all its threads so far, in seconds: `utime` + `stime` of `/proc/PID/stat`. */
export function cpuSeconds(pid: number): number {
  const stat = Deno.readTextFileSync(`/proc/${pid}/stat`);
  // The name, which may hold anything, ends at the last parenthesis; behind it come state, ppid and so on.
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND;
}

/** Memory of a process, in bytes. */
export interface Memory {
  /** What is resident, code shared with other processes included. */
  readonly resident: number;
  /** The part of it that is no file: heaps and stacks. */
  readonly anonymous: number;
  /** The most that was ever resident. */
  readonly peak: number;
  /** What no other process shares. */
  readonly private: number;
  /** What is resident, each page divided by the number of processes that share it. */
  readonly proportional: number;
}

/** Memory of a process as `/proc/PID/status` and `/proc/PID/smaps_rollup` tell it. */
export function memoryOf(pid: number): Memory {
  const text = ["status", "smaps_rollup"].map((name) =>
    Deno.readTextFileSync(`/proc/${pid}/${name}`)
  )
    .join("\n");
  const bytes = (name: string): number => {
    const found = new RegExp(`^${name}:\\s+(\\d+) kB$`, "m").exec(text);
    if (found === null) throw new Error(`Cannot read the memory of ${pid}: ${name} is missing`);
    return Number(found[1]) * 1024;
  };
  return {
    resident: bytes("VmRSS"),
    anonymous: bytes("RssAnon"),
    peak: bytes("VmHWM"),
    private: bytes("Private_Clean") + bytes("Private_Dirty"),
    proportional: bytes("Pss"),
  };
}
