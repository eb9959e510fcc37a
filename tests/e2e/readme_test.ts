import { assertEquals, assertStringIncludes } from "../deps.ts";
import { waitFor, within } from "../support/wait.ts";

const ROOT = new URL("../../", import.meta.url).pathname;

/** One block of the README's tour: what is typed where, or what is shown. */
interface Step {
  /** `dev`, `key`, `second`, `third`, `shows` or `second_shows`, from the comment before the block. */
  readonly kind: string;
  readonly text: string;
}

/** The blocks that stand behind comments such as `<!-- tour: third -->`. */
async function tour(): Promise<Step[]> {
  const readme = await Deno.readTextFile(`${ROOT}README.md`);
  return [...readme.matchAll(/<!-- tour: (\w+) -->\n+```\w*\n([^]*?)```/g)]
    .map(([, kind, text]) => ({ kind: kind!, text: text! }));
}

/** A shell of the person who takes the tour. */
class Terminal implements AsyncDisposable {
  readonly #child: Deno.ChildProcess;
  readonly #stdin: WritableStreamDefaultWriter<Uint8Array<ArrayBuffer>>;
  readonly #read: Promise<unknown>;
  screen = "";

  constructor(command: string, env: Record<string, string> = {}) {
    // A session of its own, so that everything the shell starts ends with it.
    this.#child = new Deno.Command("setsid", {
      args: ["bash", "-c", command],
      cwd: ROOT,
      env: { NO_COLOR: "1", ...env },
      stdin: "piped",
      stdout: "piped",
      stderr: "piped",
    }).spawn();
    this.#stdin = this.#child.stdin.getWriter();
    this.#read = Promise.all([
      this.#collect(this.#child.stdout),
      this.#collect(this.#child.stderr),
    ]);
  }

  async type(text: string): Promise<void> {
    await this.#stdin.write(new TextEncoder().encode(text));
  }

  async ended(): Promise<number> {
    const { code } = await this.#child.status;
    await this.#read;
    return code;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    // The group may be gone already, which kill says by its exit code.
    await new Deno.Command("kill", { args: ["-KILL", "--", `-${this.#child.pid}`], stderr: "null" })
      .output();
    await this.ended();
    await this.#stdin.close().catch((error: Error) => {
      if (!/broken pipe|closed/i.test(error.message)) throw error;
    });
  }

  async #collect(stream: ReadableStream<Uint8Array<ArrayBuffer>>): Promise<void> {
    for await (const text of stream.pipeThrough(new TextDecoderStream())) this.screen += text;
  }
}

/** Lines without what differs from run to run: numbers, times, paths, and the spaces around them. */
function shape(text: string): string[] {
  return text.trim().split("\n").map((line) =>
    line.replace(/\/tmp\/\S+?(?=\/bus)/g, "DIR").replace(/\d+(\.\d+)?/g, "N").replace(/\s+/g, " ")
      .trim()
  );
}

Deno.test("the tour of the README works as it is written", async () => {
  const steps = await tour();
  assertEquals(steps.filter(({ kind }) => kind === "dev").length, 1);
  assertEquals(steps.filter(({ kind }) => kind.includes("shows")).length, 3);
  await using stack = new AsyncDisposableStack();
  let dev: Terminal | undefined;
  let setUp = "";
  let second: Terminal | undefined;
  let shown: Terminal | undefined;
  for (const { kind, text } of steps) {
    if (kind === "dev") {
      dev = stack.use(new Terminal(text));
      await waitFor("dev to be connected", () => /info Connected/.test(dev!.screen), 60_000);
      setUp = /^ *(BUS=.*\n) *(iotcored\(\).*\n)/m.exec(dev.screen)!.slice(1).join("");
    } else if (kind === "key") {
      await dev!.type(text);
      const answer = text.startsWith("c") ? "-- the link is cut" : "-- the link can be made again";
      await waitFor(answer, () => dev!.screen.includes(answer));
    } else if (kind === "second") {
      second = shown = stack.use(new Terminal(setUp + text));
      const socket = /BUS=(\S+)/.exec(setUp)![1]!;
      await waitFor("the subscription", () => subscriptions(socket), 30_000);
    } else if (kind === "third") {
      const third = stack.use(new Terminal(setUp + text));
      await within(`"${text.trim()}" to end`, third.ended(), 60_000);
      shown = /status/.test(text) ? third : shown;
    } else {
      if (kind === "second_shows") shown = second;
      await waitFor(`a screen to show:\n${text}`, () => holds(shown!.screen, text), 30_000)
        .catch((error: Error) => assertStringIncludes(shown!.screen, text, error.message));
    }
  }
});

/** Whether some client of the daemon is subscribed. */
async function subscriptions(busDir: string): Promise<boolean> {
  const args = ["task", "-q", "iotcored:dev", "status", "--json", "--bus-dir", busDir];
  const { stdout } = await new Deno.Command(Deno.execPath(), { args, cwd: ROOT, stderr: "null" })
    .output();
  const status = JSON.parse(new TextDecoder().decode(stdout));
  return status.clients.subscriptions > 0;
}

/** Whether a screen holds each line, as it is or but for its figures. */
function holds(screen: string, text: string): boolean {
  if (!/\s{2}/.test(text)) return screen.includes(text);
  const lines = shape(screen);
  return shape(text).every((line) => line === "..." || lines.includes(line));
}
