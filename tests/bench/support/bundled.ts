import { type AwsIotCore, startAwsIotCore } from "../../support/aws_iot_core.ts";
import { compileInto } from "../../support/compiled.ts";
import { type PkiFiles, writePki } from "../../support/pki.ts";
import { tempDir } from "../../support/temp.ts";
import { waitFor } from "../../support/wait.ts";

/** The program as it is compiled, run by Deno, with a broker to connect to. */
export interface Bundled extends AsyncDisposable {
  readonly core: AwsIotCore;
  readonly files: PkiFiles;
  readonly socket: string;
  /** Starts it with the permissions that are compiled in. */
  readonly command: readonly string[];
}

/** Joins the program into its bundle, and starts a stand-in broker for it. */
export async function prepareBundled(): Promise<Bundled> {
  await using stack = new AsyncDisposableStack();
  const { path: dir } = stack.use(await tempDir());
  const core = stack.use(await startAwsIotCore({ behaviour: { connectSpacingMs: 0 } }));
  const files = await writePki(dir, core.pki);
  core.register(files.device);
  const endpoint = `${core.host}:${core.port}`;
  const { command } = await compileInto(dir, [
    ...["--endpoint", endpoint, "--only-read", dir, "--bus-dir", `${dir}/bus`],
  ]);
  const kept = stack.move();
  return {
    core,
    files,
    socket: `${dir}/bus/aws_iot_mqtt`,
    command: [
      ...[...command, "--endpoint", endpoint, "--id", "bench", "--bus-dir", `${dir}/bus`],
      ...["--rootca", files.rootca, "--cert", files.cert, "--key", files.key],
    ],
    [Symbol.asyncDispose]: () => kept.disposeAsync(),
  };
}

/** Starts a command without its streams, and ends it when the test of it is over. */
export async function withChild<T>(
  [program, ...args]: readonly string[],
  use: (pid: number, startedAt: number) => Promise<T>,
): Promise<T> {
  const startedAt = performance.now();
  const child = new Deno.Command(program!, {
    args,
    stdin: "null",
    stdout: "null",
    stderr: "null",
  }).spawn();
  try {
    return await use(child.pid, startedAt);
  } finally {
    child.kill("SIGKILL");
    await child.status;
  }
}

/** Waits until a client of the broker is connected. */
export async function connected(core: AwsIotCore): Promise<void> {
  await waitFor("a connection", () => core.connections.length > 0, 30_000);
}
