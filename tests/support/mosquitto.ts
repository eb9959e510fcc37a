import net from "node:net";
import { createPki, type Pki, writePki } from "./pki.ts";
import { tempDir } from "./temp.ts";
import { waitFor } from "./wait.ts";

/** Where distributions put it; `/usr/sbin` is not on everyone's PATH. */
const PLACES = ["mosquitto", "/usr/sbin/mosquitto", "/usr/local/sbin/mosquitto"] as const;

/** How long it may take to end after SIGTERM, in ms. */
const CONFIG_TIMEOUT_MS = 3_000;

/** A real mosquitto with mutual TLS on 127.0.0.1. */
export interface Mosquitto extends AsyncDisposable {
  readonly host: string;
  readonly port: number;
  readonly pki: Pki;
  /** What it logged so far. */
  readonly log: () => string;
  /** Ends the process; sessions are lost with it. */
  stop(): Promise<void>;
  /** Starts it again on the same port and waits until it accepts connections. */
  start(): Promise<void>;
}

/** What {@linkcode startMosquitto} can be told. */
export interface MosquittoOptions {
  /** Default: one of its own. */
  readonly pki?: Pki;
  /** Further lines of its configuration. */
  readonly config?: readonly string[];
}

/** Whether mosquitto is installed here. */
export function mosquittoAvailable(): boolean {
  return findMosquitto() !== undefined;
}

/** Starts mosquitto; it accepts connections when this resolves. */
export async function startMosquitto(options: MosquittoOptions = {}): Promise<Mosquitto> {
  const program = findMosquitto();
  if (program === undefined) throw new Error("Cannot start mosquitto: it is not installed");
  await using stack = new AsyncDisposableStack();
  const dir = stack.use(await tempDir());
  const pki = options.pki ?? await createPki();
  const files = await writePki(dir.path, pki);
  const port = await freePort();
  const config = `${dir.path}/mosquitto.conf`;
  await Deno.writeTextFile(config, configText(port, files, options.config ?? []));
  let running: Running | undefined;
  let log = "";
  const stop = async (): Promise<void> => {
    log += await running?.stop() ?? "";
    running = undefined;
  };
  const start = async (): Promise<void> => {
    running = spawn(program, config);
    await waitFor("mosquitto to accept connections", () => {
      if (running?.ended()) throw new Error(`mosquitto ended at once: ${running.log()}`);
      return accepts(port);
    });
  };
  stack.defer(stop);
  await start();
  const kept = stack.move();
  return {
    host: "127.0.0.1",
    port,
    pki,
    log: () => log + (running?.log() ?? ""),
    stop,
    start,
    [Symbol.asyncDispose]: () => kept.disposeAsync(),
  };
}

interface Running {
  log(): string;
  ended(): boolean;
  /** Resolves with the log. */
  stop(): Promise<string>;
}

function spawn(program: string, config: string): Running {
  const child = new Deno.Command(program, {
    args: ["-c", config],
    stdin: "null",
    stdout: "null",
    stderr: "piped",
  }).spawn();
  let log = "";
  let ended = false;
  const drained = (async () => {
    for await (const text of child.stderr.pipeThrough(new TextDecoderStream())) log += text;
  })();
  const status = child.status.then(() => ended = true);
  return {
    log: () => log,
    ended: () => ended,
    stop: async () => {
      if (!ended) child.kill("SIGTERM");
      const timer = setTimeout(() => child.kill("SIGKILL"), CONFIG_TIMEOUT_MS);
      await status;
      clearTimeout(timer);
      await drained;
      return log;
    },
  };
}

function configText(
  port: number,
  files: { readonly rootca: string; readonly serverCert: string; readonly serverKey: string },
  more: readonly string[],
): string {
  return [
    "per_listener_settings false",
    "allow_anonymous true",
    "persistence false",
    "log_dest stderr",
    "log_type all",
    "max_inflight_messages 100",
    "max_queued_messages 100000",
    ...isRoot() ? ["user root"] : [],
    `listener ${port} 127.0.0.1`,
    `cafile ${files.rootca}`,
    `certfile ${files.serverCert}`,
    `keyfile ${files.serverKey}`,
    "require_certificate true",
    "use_identity_as_username false",
    ...more,
    "",
  ].join("\n");
}

/** As root it would change to a user that cannot read the server's key. */
function isRoot(): boolean {
  return Deno.uid() === 0;
}

function findMosquitto(): string | undefined {
  return PLACES.find((program) => {
    try {
      // It has no --version; -h prints the usage and ends.
      new Deno.Command(program, { args: ["-h"], stdout: "null", stderr: "null" }).outputSync();
      return true;
    } catch (error) {
      if (error instanceof Deno.errors.NotFound) return false;
      throw error;
    }
  });
}

async function freePort(): Promise<number> {
  const server = net.createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as net.AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

function accepts(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = net.connect(port, "127.0.0.1");
    const answer = (open: boolean): void => {
      socket.once("close", () => resolve(open));
      socket.destroy();
    };
    socket.once("connect", () => answer(true));
    socket.once("error", () => answer(false));
  });
}
