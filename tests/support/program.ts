import { firstError, importMapFlags, ROOT, runDeno } from "../../src/build/deno.ts";
import type { PkiFiles } from "./pki.ts";
import { waitFor, within } from "./wait.ts";

/** The daemon, or another subcommand, as a process of its own. */
export interface Program extends AsyncDisposable {
  readonly pid: number;
  /** Everything on stderr so far. */
  log(): string;
  /** Everything on stdout so far. */
  output(): string;
  signal(signal: Deno.Signal): void;
  /** The exit code; 128 + the signal's number when one ended it. */
  readonly exited: Promise<number>;
  /** Waits until stderr holds a text. */
  logged(text: string, timeoutMs?: number): Promise<void>;
  /** What it reads from its standard input. */
  readonly stdin: WritableStreamDefaultWriter<Uint8Array<ArrayBuffer>>;
}

let cached: Promise<void> | undefined;

/** A compiled program that takes the place of the source, with the folders beside it that it may use: see `tests/dev/e2e_program.ts`. */
export const COMPILED: string | undefined = Deno.env.get("IOTCORED");

/** For a test that starts another entry of the source, or that needs more than a compiled program may do. */
export const FROM_SOURCE = { ignore: COMPILED !== undefined } as const;

/**
 * The command that `deno task iotcored:dev` runs, without its picking of the import map at each start; `flags` are for Deno. What it
 * loads is in Deno's cache then, as {@linkcode programEnv} has no proxy to fetch it through. With `IOTCORED=PATH` in the
 * environment, that program.
 */
export async function programCommand(...flags: readonly string[]): Promise<string[]> {
  if (COMPILED !== undefined) {
    if (flags.length === 0) return [COMPILED];
    throw new Error(`Cannot give flags of Deno to the program in IOTCORED: ${flags.join(" ")}`);
  }
  await (cached ??= cacheProgram());
  return [
    Deno.execPath(),
    "run",
    "-q",
    "-P=dev",
    "--no-prompt",
    "--v8-flags=--max-semi-space-size=1,--heap-growing-percent=50",
    ...flags,
    ...importMapFlags(),
    `${ROOT}main.ts`,
  ];
}

async function cacheProgram(): Promise<void> {
  const { code, stderr } = await runDeno(["cache", "-q", ...importMapFlags(), "main.ts"]);
  if (code !== 0) throw new Error(`Cannot cache the program: ${firstError(stderr)}`);
}

/** Where Deno finds its cache, and how it prints. */
const KEPT = ["HOME", "XDG_CACHE_HOME", "PATH", "TMPDIR", "DENO_DIR", "JSR_URL", "NO_COLOR"];

/**
 * What the programs of the tests get of the environment: no more than Deno needs to run what is in its cache. Proxies are left
 * out, as the daemon would reach its broker through them; so is what systemd sets.
 */
export function programEnv(): Record<string, string> {
  return Object.fromEntries(KEPT.flatMap((name) => {
    const value = Deno.env.get(name);
    return value === undefined ? [] : [[name, value]];
  }));
}

/** Starts the program from source, as a user does. */
export async function startProgram(
  args: readonly string[],
  env: Record<string, string> = {},
  wrapper: readonly string[] = [],
): Promise<Program> {
  return startCommand([...wrapper, ...await programCommand(), ...args], env);
}

/** Starts any command from the folder of the project, with {@linkcode programEnv} and `env`. */
export function startCommand(
  [command, ...args]: readonly string[],
  env: Record<string, string> = {},
): Program {
  const child = new Deno.Command(command!, {
    args,
    cwd: ROOT,
    clearEnv: true,
    env: { ...programEnv(), NO_COLOR: "1", ...env },
    stdin: "piped",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  return new Running(child);
}

/** Runs the program to its end. */
export async function runProgram(
  args: readonly string[],
  env: Record<string, string> = {},
  timeoutMs = 20_000,
): Promise<{ code: number; stdout: string; stderr: string }> {
  await using program = await startProgram(args, env);
  const code = await within(`iotcored ${args.join(" ")} to end`, program.exited, timeoutMs);
  return { code, stdout: program.output(), stderr: program.log() };
}

/** The arguments of a daemon for tests: a broker on this machine, credentials, a bus folder. */
export function daemonArgs(
  broker: { readonly host: string; readonly port: number },
  files: PkiFiles,
  busDir: string,
  ...more: readonly string[]
): string[] {
  return [
    ...["--endpoint", `${broker.host}:${broker.port}`, "--id", "thing"],
    ...["--rootca", files.rootca, "--cert", files.cert, "--key", files.key],
    ...["--bus-dir", busDir, ...more],
  ];
}

class Running implements Program {
  readonly exited: Promise<number>;
  readonly stdin: WritableStreamDefaultWriter<Uint8Array<ArrayBuffer>>;
  readonly #child: Deno.ChildProcess;
  readonly #collected: Promise<void[]>;
  #log = "";
  #output = "";
  #over = false;

  constructor(child: Deno.ChildProcess) {
    this.#child = child;
    this.stdin = child.stdin.getWriter();
    this.#collected = Promise.all([
      collect(child.stderr, (text) => this.#log += text),
      collect(child.stdout, (text) => this.#output += text),
    ]);
    this.exited = child.status.then(async ({ code }) => {
      this.#over = true;
      await this.#collected;
      return code;
    });
  }

  get pid(): number {
    return this.#child.pid;
  }

  log(): string {
    return this.#log;
  }

  output(): string {
    return this.#output;
  }

  signal(signal: Deno.Signal): void {
    if (!this.#over) this.#child.kill(signal);
  }

  async logged(text: string, timeoutMs = 10_000): Promise<void> {
    await waitFor(`the program to log ${JSON.stringify(text)}`, () => {
      if (this.#log.includes(text)) return true;
      if (this.#over) {
        throw new Error(`The program ended without logging ${JSON.stringify(text)}:\n${this.#log}`);
      }
      return false;
    }, timeoutMs).catch((error: Error) => {
      throw new Error(`${error.message}; it logged:\n${this.#log}`);
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.signal("SIGKILL");
    await this.exited;
    // The program may have ended before it read its input.
    await this.stdin.close().catch((error: Error) => {
      if (!/broken pipe|closed/i.test(error.message)) throw error;
    });
  }
}

async function collect(
  stream: ReadableStream<Uint8Array>,
  add: (text: string) => void,
): Promise<void> {
  for await (
    const text of stream.pipeThrough(
      new TextDecoderStream() as ReadableWritablePair<string, Uint8Array>,
    )
  ) {
    add(text);
  }
}
