import type { Bytes } from "../../../src/base/bytes.ts";
import { importMapFlags } from "../../../src/build/deno.ts";

const HERE = new URL(".", import.meta.url).pathname;
const COMPILERS = ["cc", "gcc", "clang"];

/** How long one run may take; a client that gets no answer gives up much earlier by itself. */
const CONFIG_TIMEOUT_MS = 300_000;

/** What the clients of one run saw. */
export interface Run {
  /** From the first start to the last end. */
  readonly seconds: number;
  /** Nanoseconds of each call, ascending; empty for `fan`. */
  readonly ns: Uint32Array;
}

/** What is fed to a broker and expected at subscribers. */
export interface FanOptions {
  readonly socket: string;
  readonly request: Bytes;
  readonly accepted: Bytes;
  /** What each subscriber gets per message, the same each time. */
  readonly message: Bytes;
  readonly count: number;
  readonly window: number;
  readonly subscribers: number;
  /** Of the broker, unencrypted. */
  readonly port: number;
  readonly connect: Bytes;
  readonly publish: Bytes;
}

/** Starts the clients that load a server; each run fails unless every answer came and was right. */
export class Clients {
  private constructor(readonly kind: string, private readonly command: readonly string[]) {}

  /** Compiles the C client into a folder, or falls back on the one in TypeScript. */
  static async prepare(dir: string): Promise<Clients> {
    for (const compiler of COMPILERS) {
      const target = `${dir}/client`;
      const args = ["-O2", "-o", target, `${HERE}../client.c`];
      try {
        const { success, stderr } = await new Deno.Command(compiler, { args }).output();
        if (!success) throw new Error(`${compiler}: ${new TextDecoder().decode(stderr)}`);
        return new Clients(`C, compiled with ${compiler}`, [target]);
      } catch (error) {
        if (!(error instanceof Deno.errors.NotFound)) throw error;
      }
    }
    const flags = [...importMapFlags(), "-A", `${HERE}client.ts`];
    return new Clients("Deno, for want of a C compiler: figures are limited by it", [
      ...[Deno.execPath(), "run", "-q", ...flags],
    ]);
  }

  /** `processes` clients, each with `count` calls on a connection of their own. */
  call(
    socket: string,
    request: Bytes,
    answer: Bytes,
    processes: number,
    count: number,
  ): Promise<Run> {
    const args = ["call", socket, request.toHex(), answer.toHex(), `${count}`];
    return this.#run(args, processes, count);
  }

  /** One client with `count` calls on one connection, `window` of them under way. */
  kept(
    socket: string,
    request: Bytes,
    answer: Bytes,
    count: number,
    window: number,
  ): Promise<Run> {
    const args = ["kept", socket, request.toHex(), answer.toHex(), `${count}`, `${window}`];
    return this.#run(args, 1, count);
  }

  /** Subscribers, and a feeder that keeps `window` messages on their way until all subscribers have them all. */
  fan(options: FanOptions): Promise<Run> {
    const { socket, request, accepted, message, connect, publish } = options;
    const numbers = [options.count, options.window, options.subscribers, options.port].map(String);
    const frames = [request, accepted, message].map((bytes) => bytes.toHex());
    const packets = [connect, publish].map((bytes) => bytes.toHex());
    return this.#run(["fan", socket, ...frames, ...numbers, ...packets], 1, 0);
  }

  async #run(args: readonly string[], processes: number, calls: number): Promise<Run> {
    const [command, ...flags] = this.command;
    const children = Array.from({ length: processes }, () =>
      new Deno.Command(command!, {
        args: [...flags, ...args],
        stdin: "piped",
        stdout: "piped",
        stderr: "piped",
      }).spawn());
    const outputs = Promise.all(children.map((child) => child.output()));
    let late: ReturnType<typeof setTimeout> | undefined;
    try {
      for (const child of children) await start(child);
      late = setTimeout(() => children.forEach(kill), CONFIG_TIMEOUT_MS);
      await outputs;
    } catch (error) {
      children.forEach(kill);
      throw error;
    } finally {
      clearTimeout(late);
    }
    const results = (await outputs).map((output) => parse(output, calls));
    const ns = new Uint32Array(calls * processes);
    results.forEach((result, index) => ns.set(result.ns, index * calls));
    const first = Math.min(...results.map(({ start }) => start));
    const last = Math.max(...results.map(({ end }) => end));
    return { seconds: (last - first) / 1e9, ns: ns.sort() };
  }
}

function kill(child: Deno.ChildProcess): void {
  try {
    child.kill("SIGKILL");
  } catch {
    // It has ended by itself.
  }
}

/** A client that failed before its start says so by its exit. */
async function start(child: Deno.ChildProcess): Promise<void> {
  const writer = child.stdin.getWriter();
  await writer.write(new Uint8Array([10])).then(() => writer.close()).catch((error: Error) => {
    if (!/broken pipe|closed/i.test(error.message)) throw error;
  });
}

function parse(
  { success, stdout, stderr }: Deno.CommandOutput,
  calls: number,
): { start: number; end: number; ns: Uint32Array } {
  if (!success) {
    throw new Error(`A client of the bench failed: ${new TextDecoder().decode(stderr).trim()}`);
  }
  const line = stdout.indexOf(10);
  const [start, end] = new TextDecoder().decode(stdout.subarray(0, line)).split(" ").map(Number);
  const ns = new Uint32Array(stdout.slice(line + 1).buffer);
  if (ns.length !== calls) throw new Error(`A client made ${ns.length} calls instead of ${calls}`);
  return { start: start!, end: end!, ns };
}
