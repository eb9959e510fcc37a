import { type AwsIotCore, startAwsIotCore } from "../../support/aws_iot_core.ts";
import { listen, type Listener, publish, untilConnected } from "../../support/daemon.ts";
import { createPki, type PkiFiles, writePki } from "../../support/pki.ts";
import { daemonArgs, type Program, startProgram } from "../../support/program.ts";
import { tempDir } from "../../support/temp.ts";
import { waitFor, within } from "../../support/wait.ts";

const pki = await createPki();

/** A broker, and what a program is started with; nothing runs on it yet. */
export interface DaemonDependencies extends AsyncDisposable {
  readonly core: AwsIotCore;
  readonly files: PkiFiles;
  /** A folder for whatever a test needs. */
  readonly dir: string;
  readonly busDir: string;
  readonly socket: string;
  /** The arguments of a daemon. */
  readonly args: readonly string[];
}

/** Sets a world up; `more` are further arguments of the daemon, to which `{dir}` is the world's folder. */
export async function world(...more: readonly string[]): Promise<DaemonDependencies> {
  await using stack = new AsyncDisposableStack();
  const { path: dir } = stack.use(await tempDir());
  const files = await writePki(dir, pki);
  const core = stack.use(
    await startAwsIotCore({ pki, devices: [files.device], behaviour: { connectSpacingMs: 0 } }),
  );
  const busDir = `${dir}/bus`;
  const kept = stack.move();
  return {
    core,
    files,
    dir,
    busDir,
    socket: `${busDir}/aws_iot_mqtt`,
    args: daemonArgs(core, files, busDir, ...more.map((arg) => arg.replace("{dir}", dir))),
    [Symbol.asyncDispose]: () => kept.disposeAsync(),
  };
}

/** A program on a world. */
export interface Scene extends DaemonDependencies {
  readonly program: Program;
}

/** Starts the program as a user does, and waits until it is connected. */
export async function scene(...more: readonly string[]): Promise<Scene> {
  const place = await world(...more);
  await using stack = new AsyncDisposableStack();
  stack.use(place);
  const program = stack.use(await startProgram(place.args));
  await program.logged("serving the core bus");
  await untilConnected(place.socket);
  const kept = stack.move();
  return { ...place, program, [Symbol.asyncDispose]: () => kept.disposeAsync() };
}

/** Payloads that the broker has taken, as texts. */
export function taken(core: AwsIotCore): string[] {
  return core.published.map(({ payload }) => new TextDecoder().decode(payload));
}

/** The texts that are not among those that were taken. */
export function missing(texts: readonly string[], core: AwsIotCore): string[] {
  const found = new Set(taken(core));
  return texts.filter((text) => !found.has(text));
}

/** A client comes, subscribes, publishes at QoS 1 and gets its message: the program is in order. */
export async function assertServes(socket: string): Promise<void> {
  const text = crypto.randomUUID();
  await using listener = await within("a subscription", listen(socket, "serves/#"));
  await within("a publish", publish(socket, { topic: "serves/it", payload: text, qos: 1 }));
  await heard(listener, text);
}

/** Waits until a listener has got a text. */
export async function heard(listener: Listener, text: string): Promise<void> {
  await waitFor(`the message ${text}`, () => listener.texts().includes(text), 15_000);
}

/** Asks the program to stop and waits for its end; the exit code. */
export async function stop(program: Program): Promise<number> {
  program.signal("SIGTERM");
  return await within("the program to end", program.exited, 7_000);
}
