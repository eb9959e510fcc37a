import { importMapFlags } from "../../../src/build/deno.ts";
import { within } from "../../support/wait.ts";

const HERE = new URL(".", import.meta.url).pathname;

/** A script of this folder as a process of its own; it ends with its scope. */
export class Helper implements AsyncDisposable {
  readonly #child: Deno.ChildProcess;
  readonly #lines: ReadableStreamDefaultReader<string>;
  readonly #stdin: WritableStreamDefaultWriter<Uint8Array<ArrayBuffer>>;
  #rest = "";

  private constructor(readonly script: string, child: Deno.ChildProcess) {
    this.#child = child;
    const decoder = new TextDecoderStream() as ReadableWritablePair<
      string,
      Uint8Array<ArrayBuffer>
    >;
    this.#lines = child.stdout.pipeThrough(decoder).getReader();
    this.#stdin = child.stdin.getWriter();
  }

  /** Starts a script, and waits until it says that it is ready. */
  static start(script: string, ...args: readonly string[]): Promise<Helper> {
    return Helper.startWith([], script, ...args);
  }

  /** The same, with further flags for Deno. */
  static async startWith(
    flags: readonly string[],
    script: string,
    ...args: readonly string[]
  ): Promise<Helper> {
    const known = ["run", "-q", "-A", ...flags, ...importMapFlags()];
    const command = [...known, HERE + script, ...args];
    const child = new Deno.Command(Deno.execPath(), {
      args: command,
      stdin: "piped",
      stdout: "piped",
      stderr: "inherit",
    }).spawn();
    const helper = new Helper(script, child);
    try {
      const line = await helper.line();
      if (line !== "ready") throw new Error(`${script} said ${JSON.stringify(line)}, not "ready"`);
      return helper;
    } catch (error) {
      await helper[Symbol.asyncDispose]();
      throw error;
    }
  }

  get pid(): number {
    return this.#child.pid;
  }

  /** Resolves when the process is gone. */
  get ended(): Promise<unknown> {
    return this.#child.status;
  }

  /** The next line that it prints. */
  async line(): Promise<string> {
    while (!this.#rest.includes("\n")) {
      const { value, done } = await within(`a line of ${this.script}`, this.#lines.read(), 60_000);
      if (done) throw new Error(`${this.script} ended without an answer`);
      this.#rest += value;
    }
    const end = this.#rest.indexOf("\n");
    const line = this.#rest.slice(0, end);
    this.#rest = this.#rest.slice(end + 1);
    return line;
  }

  /** Gives it a line, and returns the one that it answers. */
  async ask(line: string): Promise<string> {
    await this.#stdin.write(new TextEncoder().encode(line + "\n"));
    return await this.line();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    try {
      this.#child.kill("SIGKILL");
    } catch {
      // It has ended by itself.
    }
    await this.#child.status;
    await this.#lines.cancel();
    this.#stdin.releaseLock();
    await this.#child.stdin.close().catch(() => {});
  }
}
