import { BusError } from "../../src/base/errors.ts";
import { MAX_REMOVALS } from "../../src/spool/commit_queue.ts";
import { type BusConnection, connectBus, NoServerError } from "../../src/bus/client.ts";
import { type AwsIotCore, startAwsIotCore } from "./aws_iot_core.ts";
import { Ledger } from "./ledger.ts";
import { publishNumbered } from "./numbered.ts";
import { type Pki, writePki } from "./pki.ts";
import { daemonArgs, type Program, programCommand, startCommand } from "./program.ts";
import { tempDir } from "./temp.ts";
import { waitFor, within } from "./wait.ts";

/** Whether every kill is to be done, as `task test:crash` asks. */
export const ALL_KILLS: boolean = Deno.env.get("IOTCORED_KILLS") === "all";

/** QoS 1 messages in flight at most: small, so that one duplicate too many shows. */
export const WINDOW = 20;

/** What may arrive twice after a crash: what was in flight, and what was acknowledged since the last sync. */
export const REPEATED = WINDOW + MAX_REMOVALS;

/** Calls that each client has under way. */
const PIPELINED = 8;

/** Clients that publish at once, each to a topic of its own. */
const CLIENTS = 4;

/** A stand-in of its own, with the folders of a daemon that starts and dies again and again. */
export interface CrashRig extends AsyncDisposable {
  readonly core: AwsIotCore;
  readonly ledger: Ledger;
  /** Whether the stand-in is closed; kept by who closes it. */
  away: boolean;
  /** Starts the program, or another entry of it, on the same spool and bus. */
  start(entry?: string): Promise<Program>;
  /** Publishes with four clients until the daemon is gone. */
  publish(daemon: Program): Promise<void>;
  /** Waits until everything accepted has arrived. */
  drained(daemon: Program): Promise<void>;
}

/** Makes a {@linkcode CrashRig}. */
export async function startCrashRig(pki: Pki): Promise<CrashRig> {
  await using stack = new AsyncDisposableStack();
  const dir = stack.use(await tempDir());
  const behaviour = { connectSpacingMs: 0, publishesPerSecond: Infinity };
  const core = stack.use(await startAwsIotCore({ pki, behaviour }));
  const files = await writePki(dir.path, pki);
  core.register(files.device);
  const busDir = `${dir.path}/bus`;
  const args = daemonArgs(
    core,
    files,
    busDir,
    ...["--spool", `${dir.path}/spool`, "--no-rate-limit"],
    ...["--max-in-flight", `${WINDOW}`],
  );
  const ledger = new Ledger();
  const kept = stack.move();
  return {
    core,
    ledger,
    away: false,
    start: async (entry) => {
      const command = await programCommand();
      const crashing = entry === undefined ? command : [
        ...command.slice(0, -1),
        new URL(entry, import.meta.url).pathname,
      ];
      return startCommand([...crashing, ...args]);
    },
    publish: async (daemon) => {
      const clients = Array.from({ length: CLIENTS }, (_, index) => `client/${index}`);
      await Promise.all(
        clients.map((topic) => publishUntilGone(daemon, `${busDir}/aws_iot_mqtt`, topic, ledger)),
      );
    },
    drained: (daemon) => drained(daemon, core, ledger),
    [Symbol.asyncDispose]: () => kept.disposeAsync(),
  };
}

/** Kills a daemon and waits for its end. */
export async function kill(daemon: Program): Promise<void> {
  daemon.signal("SIGKILL");
  await daemon.exited;
}

/** Stops a daemon in good order. */
export async function stop(daemon: Program): Promise<void> {
  daemon.signal("SIGTERM");
  const code = await within("the daemon to stop", daemon.exited, 20_000);
  if (code !== 0) throw new Error(`the daemon ended with ${code}:\n${daemon.log()}`);
}

async function drained(daemon: Program, core: AwsIotCore, ledger: Ledger): Promise<void> {
  while (ledger.tally().missing > 0) {
    const before = ledger.tally().delivered;
    const more = (): boolean => {
      ledger.absorb(core);
      const { missing, delivered } = ledger.tally();
      return missing === 0 || delivered > before;
    };
    await waitFor("more of what was accepted to arrive", more, 30_000).catch((error: Error) => {
      const missing = `${ledger.tally().missing}, such as ${ledger.someMissing().join(", ")}`;
      throw new Error(`${error.message}; lost: ${missing}; the daemon logged:\n${daemon.log()}`);
    });
  }
}

/** Keeps some calls under way until the daemon hangs up for good; books what it accepts. */
async function publishUntilGone(
  daemon: Program,
  socket: string,
  topic: string,
  ledger: Ledger,
): Promise<void> {
  const client = await connectSoon(daemon, socket);
  if (client === undefined) return;
  try {
    await publishNumbered(client, topic, ledger, PIPELINED, () => true);
  } catch (error) {
    if (!(error instanceof NoServerError)) throw error;
  }
  await client.closed;
}

/** A connection as soon as there is one; `undefined` when the daemon died first. */
async function connectSoon(daemon: Program, socket: string): Promise<BusConnection | undefined> {
  let over = false;
  void daemon.exited.then(() => over = true);
  while (!over) {
    try {
      return await connectBus(socket);
    } catch (error) {
      if (!(error instanceof BusError)) throw error;
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  }
  return undefined;
}
