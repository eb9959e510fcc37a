import { assert, assertEquals, assertMatch, assertStringIncludes } from "../deps.ts";
import type { Status } from "../../src/client/mod.ts";
import { type AwsIotCore, startAwsIotCore } from "../support/aws_iot_core.ts";
import { type PkiFiles, writePki } from "../support/pki.ts";
import { daemonArgs, type Program, runProgram, startProgram } from "../support/program.ts";
import { type TempDir, tempDir } from "../support/temp.ts";
import { waitFor, within } from "../support/wait.ts";

/** A daemon against a stand-in without limits, and the tools to talk to it. */
class Scene implements AsyncDisposable {
  constructor(
    private readonly dir: TempDir,
    readonly core: AwsIotCore,
    private readonly files: PkiFiles,
  ) {}
  #daemon: Program | undefined;

  get busDir(): string {
    return `${this.dir.path}/bus`;
  }

  async startDaemon(): Promise<void> {
    const args = daemonArgs(this.core, this.files, this.busDir, "--no-rate-limit");
    this.#daemon = await startProgram(args);
    await this.#daemon.logged("serving the core bus");
    await waitFor("the daemon to be connected", async () => {
      const { stdout } = await this.run("status", "--json");
      return (JSON.parse(stdout) as Status).connections[0]?.connected;
    });
  }

  async stopDaemon(): Promise<void> {
    this.#daemon?.signal("SIGTERM");
    assertEquals(await within("the daemon to stop", this.#daemon!.exited), 0);
    await this.#daemon![Symbol.asyncDispose]();
    this.#daemon = undefined;
  }

  start(tool: string, ...args: string[]): Promise<Program> {
    return startProgram([tool, "--bus-dir", this.busDir, ...args]);
  }

  run(tool: string, ...args: string[]): ReturnType<typeof runProgram> {
    return runProgram([tool, "--bus-dir", this.busDir, ...args]);
  }

  /** A subscriber that the daemon has accepted. */
  async subscriber(...args: string[]): Promise<Program> {
    const before = (await this.status()).clients.subscriptions;
    const program = await this.start("subscribe", ...args);
    await waitFor(
      "the subscription",
      async () => (await this.status()).clients.subscriptions > before,
    );
    return program;
  }

  async status(): Promise<Status> {
    const { code, stdout, stderr } = await this.run("status", "--json");
    // 1: not connected.
    assertEquals([code <= 1, stderr], [true, ""]);
    return JSON.parse(stdout);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#daemon?.[Symbol.asyncDispose]();
    await this.core[Symbol.asyncDispose]();
    await this.dir[Symbol.asyncDispose]();
  }
}

async function scene(): Promise<Scene> {
  const dir = await tempDir();
  const core = await startAwsIotCore({
    record: false,
    behaviour: { connectSpacingMs: 0, enforceLimits: false },
  });
  const files = await writePki(dir.path, core.pki);
  core.register(files.device);
  const scene = new Scene(dir, core, files);
  await scene.startDaemon();
  return scene;
}

function numbers(from: number, to: number): string {
  return Array.from({ length: to - from + 1 }, (_, i) => `${from + i}\n`).join("");
}

async function feed(program: Program, text: string): Promise<void> {
  await program.stdin.write(new TextEncoder().encode(text));
  await program.stdin.close();
}

Deno.test("ten thousand lines from publish -l arrive at subscribe -C, the same and in order", async () => {
  await using home = await scene();
  await using subscriber = await home.subscriber("-t", "n", "-C", "10000");
  const lines = numbers(1, 10_000);
  const started = performance.now();
  await using publisher = await home.start("publish", "-t", "n", "-l", "-q", "1");
  await feed(publisher, lines);
  assertEquals(await within("publish to end", publisher.exited, 60_000), 0);
  assertEquals(await within("subscribe to end", subscriber.exited, 60_000), 0);
  const seconds = (performance.now() - started) / 1_000;
  assertEquals(subscriber.output(), lines);
  assertEquals(publisher.log() + publisher.output() + subscriber.log(), "");
  const rate = Math.round(10_000 / seconds);
  Deno.stdout.writeSync(
    new TextEncoder().encode(`    10,000 lines with QoS 1 in ${seconds.toFixed(2)} s: ${rate}/s\n`),
  );
  const { publishes, received } = await home.status();
  assertEquals([publishes.accepted, publishes.sent, publishes.acknowledged], [
    10_000,
    10_000,
    10_000,
  ]);
  assertEquals(received, 10_000);
});

Deno.test("publish and subscribe speak as mosquitto's do, with binary payloads unchanged", async () => {
  await using home = await scene();
  const bytes = new Uint8Array(1_000).map((_, i) => (i * 7) % 256);
  const file = `${home.busDir}/../payload`;
  await Deno.writeFile(file, bytes);
  await using verbose = await home.subscriber("-t", "a/+", "-t", "a/b", "-v", "-C", "4", "-q", "1");
  await using json = await home.subscriber("-t", "a/f", "--json", "-C", "1");
  for (
    const args of [
      ["-t", "a/b", "-m", "one two"],
      ["-t", "a/c", "-m", "-5", "-q", "1", "--ack", "broker"],
      ["-t", "a/d", "-m", "", "-q", "1", "--message-expiry", "60"],
      ["-t", "a/f", "-f", file, "-q", "1"],
    ]
  ) {
    const { code, stdout, stderr } = await home.run("publish", ...args);
    assertEquals([code, stdout, stderr], [0, "", ""], args.join(" "));
  }
  assertEquals(await within("subscribe -v to end", verbose.exited), 0);
  assert(verbose.output().startsWith("a/b one two\na/c -5\na/d (null)\na/f "), verbose.output());
  assertEquals(await within("subscribe --json to end", json.exited), 0);
  const message = JSON.parse(json.output());
  assertEquals([message.topic, message.payload_base64], ["a/f", bytes.toBase64()]);
});

Deno.test("the raw output of subscribe is the bytes that were published", async () => {
  await using home = await scene();
  const bytes = new Uint8Array(131_072).map((_, i) => (i * 31) % 256);
  const output = `${home.busDir}/../out`;
  const script = 'exec "$@" > "$OUT"';
  await using subscriber = await startProgram(
    ["subscribe", "--bus-dir", home.busDir, "-t", "raw", "-C", "1"],
    { OUT: output },
    ["sh", "-c", script, "sh"],
  );
  await waitFor(
    "the subscription",
    async () => (await home.status()).clients.subscriptions > 0,
  );
  await using publisher = await home.start("publish", "-t", "raw", "-s", "-q", "1");
  await publisher.stdin.write(bytes);
  await publisher.stdin.close();
  assertEquals(await within("publish to end", publisher.exited), 0);
  assertEquals(await within("subscribe to end", subscriber.exited), 0);
  assertEquals(await Deno.readFile(output), new Uint8Array([...bytes, 10]));
});

Deno.test("exit codes tell scripts what happened, in one line each", async () => {
  await using home = await scene();
  const big = `${home.busDir}/../big`;
  await Deno.writeFile(big, new Uint8Array(131_073));
  const cases: [number, RegExp, string[]][] = [
    [64, /exactly one of --message, --file, --stdin-line and --stdin-file/, ["publish", "-t", "a"]],
    [64, /option --topic is required; see iotcored publish --help/, ["publish", "-m", "x"]],
    [64, /must not hold \+ or #/, ["publish", "-t", "a/#", "-m", "x"]],
    [64, /must be a whole number from 0 to 1, got "2"/, [
      "publish",
      "-t",
      "a",
      "-m",
      "x",
      "-q",
      "2",
    ]],
    [64, /--ack broker needs --qos 1/, ["publish", "-t", "a", "-m", "x", "--ack", "broker"]],
    [64, /unexpected argument b/, ["publish", "-t", "a", "-m", "x", "b"]],
    [64, /unknown option/, ["subscribe", "-t", "a", "--bogus"]],
    [64, /--prometheus cannot be used/, ["status", "--prometheus", "--json"]],
    [65, /at most 131072 bytes/, ["publish", "-t", "a", "-f", big]],
    [66, /Cannot read \/none/, ["publish", "-t", "a", "-f", "/none"]],
    [69, /no daemon listens at .*\/other/, ["status", "-n", "other"]],
    [27, /^$/, ["subscribe", "-t", "a", "-W", "1"]],
  ];
  for (const [code, message, [tool, ...args]] of cases) {
    const result = await home.run(tool!, ...args);
    assertEquals(result.code, code, `${tool} ${args.join(" ")}: ${result.stderr}`);
    assertMatch(result.stderr, message);
    assert(result.stderr.split("\n").length <= 2, result.stderr);
    assertEquals(result.stdout, "");
  }
  await home.core.close();
  await waitFor("the cut", async () => (await home.status()).connections[0]?.connected === false);
  const offline = await home.run("publish", "-t", "a", "-m", "x");
  assertEquals([offline.code, offline.stderr], [
    75,
    "iotcored: the daemon is not connected to the broker (NOCONN)\n",
  ]);
});

Deno.test("publish -l names the lines that are refused and publishes the rest", async () => {
  await using home = await scene();
  await using subscriber = await home.subscriber("-t", "n", "-C", "3");
  await using publisher = await home.start("publish", "-t", "n", "-l", "-q", "1");
  await feed(publisher, `one\n${"x".repeat(140_000)}\n\nlast`);
  assertEquals(await within("publish to end", publisher.exited), 65);
  assertMatch(publisher.log(), /^iotcored: line 2 is refused: .*RANGE\)\n$/);
  assertEquals(await within("subscribe to end", subscriber.exited), 0);
  assertEquals(subscriber.output(), "one\n\nlast\n");
});

Deno.test("publish -l and subscribe outlive a restart of the daemon", async () => {
  await using home = await scene();
  await using subscriber = await home.subscriber("-t", "n", "-C", "6");
  await using publisher = await home.start("publish", "-t", "n", "-l", "-q", "1");
  const line = (text: string): Promise<void> =>
    publisher.stdin.write(new TextEncoder().encode(`${text}\n`));
  for (const text of ["1", "2", "3"]) await line(text);
  await waitFor("the first lines", () => subscriber.output() === "1\n2\n3\n");
  await home.stopDaemon();
  await subscriber.logged("hung up; messages are missed until it is back");
  await home.startDaemon();
  await subscriber.logged("subscribed again");
  for (const text of ["4", "5", "6"]) await line(text);
  await publisher.stdin.close();
  assertEquals(await within("publish to end", publisher.exited), 0);
  assertEquals(await within("subscribe to end", subscriber.exited), 0);
  assertEquals(subscriber.output(), "1\n2\n3\n4\n5\n6\n");
});

Deno.test("nobody who reads ends subscribe quietly, and so does a signal", async () => {
  await using home = await scene();
  const script = '"$@" | head -n 2; echo "${PIPESTATUS[0]}"';
  const before = (await home.status()).clients.subscriptions;
  await using piped = await startProgram(
    ["subscribe", "--bus-dir", home.busDir, "-t", "n"],
    {},
    ["bash", "-c", script, "bash"],
  );
  await using interrupted = await home.start("subscribe", "-t", "n");
  await using terminated = await home.start("subscribe", "-t", "n");
  await waitFor(
    "the subscriptions",
    async () => (await home.status()).clients.subscriptions === before + 3,
  );
  for (let i = 1; !piped.output().includes("0\n"); i++) {
    assert(i < 200, `subscribe did not end: ${piped.output()}`);
    await home.run("publish", "-t", "n", "-m", `line ${i}`);
  }
  assertEquals(await within("the pipe to end", piped.exited), 0);
  assertEquals(piped.output(), "line 1\nline 2\n0\n");
  assertEquals(piped.log(), "");
  interrupted.signal("SIGINT");
  terminated.signal("SIGTERM");
  assertEquals(await within("SIGINT to end it", interrupted.exited), 0);
  assertEquals(await within("SIGTERM to end it", terminated.exited), 0);
  assertEquals(interrupted.log() + terminated.log(), "");
});

Deno.test("status prints a page, JSON, metrics, and with --watch a line each second when it is piped", async () => {
  await using home = await scene();
  const page = await home.run("status");
  assertEquals(page.code, 0);
  assertMatch(page.stdout, /^iotcored \d+\.\d+\.\d+, up .*\n\nconnection {3}thing {3}up /);
  const metrics = await home.run("status", "--prometheus");
  assertStringIncludes(metrics.stdout, 'iotcored_connection_up{client_id="thing"} 1\n');
  await using watch = await home.start("status", "--watch");
  await using json = await home.start("status", "--watch", "--json");
  await waitFor(
    "two lines of both",
    () => [watch, json].every((program) => program.output().split("\n").length > 2),
  );
  watch.signal("SIGINT");
  json.signal("SIGTERM");
  assertEquals(await within("--watch to end", watch.exited), 0);
  assertEquals(await within("--watch --json to end", json.exited), 0);
  assertMatch(watch.output(), /^(\S+Z connected=1\/1 spool_messages=0 .*\n)+$/);
  for (const line of json.output().trimEnd().split("\n")) {
    assertEquals((JSON.parse(line) as Status).connections[0]?.client_id, "thing");
  }
});

Deno.test("status --watch on a terminal refreshes in place and gives the terminal back", async () => {
  await using home = await scene();
  await using terminal = await startProgram(
    ["status", "--bus-dir", home.busDir, "--watch"],
    { TERM: "xterm" },
    [
      "bash",
      "-c",
      'exec script -qefc "stty rows 40 cols 120; exec ${*@Q}" /dev/null',
      "bash",
    ],
  );
  const frames = (): number => terminal.output().split("\x1b[Hiotcored ").length - 1;
  await waitFor("three pages", () => frames() >= 3);
  await terminal.stdin.write(new Uint8Array([3]));
  assertEquals(await within("Ctrl-C to end it", terminal.exited), 0);
  const output = terminal.output();
  assert(output.indexOf("\x1b[?1049h") < output.indexOf("\x1b[Hiotcored "));
  assertEquals(output.split("\x1b[2J").length, 2, "the screen is cleared once only");
  const left = output.slice(output.lastIndexOf("\x1b[?1049l") + "\x1b[?1049l".length);
  assert(left.startsWith("iotcored ") && !left.includes("\x1b"), left);
});

Deno.test("every subcommand prints its help, and help names them all", async () => {
  for (const name of ["publish", "subscribe", "status", "completions"]) {
    const { code, stdout, stderr } = await runProgram([name, "--help"]);
    // 1: not connected.
    assertEquals([code <= 1, stderr], [true, ""]);
    assertStringIncludes(stdout, `iotcored ${name}`);
    assertEquals((await runProgram(["help", name])).stdout, stdout);
    // What the README's shell function makes of it.
    assertEquals((await runProgram(["help", name, "--bus-dir", "/none"])).stdout, stdout);
    assertStringIncludes((await runProgram(["help"])).stdout, `  ${name} `);
  }
});

Deno.test("completions prints a script for each shell, and names the shells otherwise", async () => {
  for (const shell of ["bash", "zsh", "fish"]) {
    const { code, stdout } = await runProgram(["completions", shell]);
    assertEquals([code, stdout.includes(`made by: iotcored completions ${shell}`)], [0, true]);
  }
  const { code, stderr } = await runProgram(["completions", "tcsh"]);
  assertEquals(code, 64);
  assertStringIncludes(stderr, "bash, zsh, fish");
});
