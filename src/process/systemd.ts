import type { Clock, Timer } from "../base/clock.ts";
import { messageOf } from "../base/errors.ts";
import { utf8 } from "../base/bytes.ts";
import type { Log } from "../base/log.ts";
import type { Environment } from "../config/resolve.ts";

/** The variables by which systemd speaks to a service. */
export const SYSTEMD_VARIABLES: readonly string[] = [
  "NOTIFY_SOCKET",
  "RUNTIME_DIRECTORY",
  "WATCHDOG_USEC",
  "WATCHDOG_PID",
  "LISTEN_FDS",
  "LISTEN_PID",
  "LISTEN_FDNAMES",
];

/** The first descriptor that systemd passes [sd_listen_fds(3)]. */
const FIRST_FD = 3;

/**
 * The descriptor of a socket that systemd made, by the name of the interface; a single one without a name counts too.
 * `undefined` when there is none for this process.
 */
export function activatedFd(
  environment: Environment,
  pid: number,
  name: string,
): number | undefined {
  const { LISTEN_PID, LISTEN_FDS = "0", LISTEN_FDNAMES } = environment;
  const count = Number(LISTEN_FDS);
  if (Number(LISTEN_PID) !== pid || !(count >= 1)) return undefined;
  if (LISTEN_FDNAMES === undefined) return count === 1 ? FIRST_FD : undefined;
  const index = LISTEN_FDNAMES.split(":").indexOf(name);
  return index < 0 || index >= count ? undefined : FIRST_FD + index;
}

/** How often the watchdog wants to hear of this process, in ms; `undefined` when it does not. */
export function watchdogMs(environment: Environment, pid: number): number | undefined {
  const { WATCHDOG_USEC, WATCHDOG_PID } = environment;
  const usec = Number(WATCHDOG_USEC ?? "0");
  if (!(usec > 0) || (WATCHDOG_PID !== undefined && Number(WATCHDOG_PID) !== pid)) return undefined;
  return usec / 1_000;
}

/** The folder that systemd made for this run of the service; it is in memory. */
export function runtimeFolder({ RUNTIME_DIRECTORY }: Environment): string | undefined {
  return RUNTIME_DIRECTORY?.split(":")[0] || undefined;
}

/** Tells systemd how the service is [sd_notify(3)]; does nothing when systemd did not ask. */
export class Notifier {
  readonly #socket: Deno.DatagramConn | undefined;
  readonly #to: Deno.UnixAddr | undefined;
  readonly #path: string | undefined;
  readonly #log: Log;
  #watchdog: Timer | undefined;
  #sending: Promise<void> = Promise.resolve();

  constructor(environment: Environment, log: Log) {
    this.#log = log;
    const { NOTIFY_SOCKET } = environment;
    if (!NOTIFY_SOCKET) return;
    // A datagram has a sender, and Deno gives it no name by itself.
    const folder = runtimeFolder(environment);
    if (folder === undefined) {
      log.warn("systemd is not notified: the unit needs RuntimeDirectory=");
      return;
    }
    const path = `${folder}/notify`;
    try {
      removeIfThere(path);
      this.#socket = Deno.listenDatagram({ transport: "unixpacket", path });
      this.#path = path;
      this.#to = { transport: "unixpacket", path: NOTIFY_SOCKET.replace(/^@/, "\0") };
    } catch (error) {
      log.warn("systemd is not notified", { why: messageOf(error) });
    }
  }

  /** What `systemctl status` shows. */
  status(text: string): void {
    this.#send(`STATUS=${text}`);
  }

  /** Clients are served. */
  ready(text: string): void {
    this.#send(`READY=1\nSTATUS=${text}`);
  }

  /** The configuration is looked at again; `ready` follows. */
  reloading(): void {
    this.#send("RELOADING=1");
  }

  /** The service is on its way out. */
  stopping(): void {
    this.#send("STOPPING=1\nSTATUS=stopping");
  }

  /** Lets the watchdog hear of this event loop three times in each of its periods, for as long as the loop turns. */
  watch(periodMs: number | undefined, clock: Clock): void {
    if (periodMs === undefined || this.#socket === undefined) return;
    const beat = (): void => {
      this.#watchdog = clock.after(periodMs / 3, beat);
      this.#send("WATCHDOG=1");
    };
    beat();
  }

  /** Resolves when everything is sent. */
  async close(): Promise<void> {
    this.#watchdog?.cancel();
    await this.#sending;
    this.#socket?.close();
    if (this.#path !== undefined) removeIfThere(this.#path);
  }

  #send(text: string): void {
    const [socket, to] = [this.#socket, this.#to];
    if (socket === undefined || to === undefined) return;
    this.#sending = this.#sending.then(async () => {
      try {
        await socket.send(utf8(text), to);
      } catch (error) {
        this.#log.warn("systemd is not notified", { why: messageOf(error) });
      }
    });
  }
}

function removeIfThere(path: string): void {
  try {
    Deno.removeSync(path);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
}
