import type { Exit } from "../base/errors.ts";
import type { Level, LogFormat } from "../base/log.ts";
import type { MemoryContents } from "../spool/memory_storage.ts";
import type { Config } from "../config/resolve.ts";

/** How the worker logs: its lines go to the outer thread, which writes them. */
export interface LogSetup {
  readonly level: Level;
  readonly format: LogFormat;
  readonly journal: boolean;
}

/** What the outer thread asks of the worker; each is answered. */
export type Request =
  /** Whether a daemon could be started: reads the credentials. */
  | { readonly do: "check"; readonly config: Config }
  | {
    readonly do: "start";
    readonly config: Config;
    readonly log: LogSetup;
    /** The descriptor of a socket that systemd made. */
    readonly fd: number | undefined;
    /** What the worker before this one had in its memory spool. */
    readonly contents: MemoryContents | undefined;
  }
  | { readonly do: "update"; readonly config: Config }
  | { readonly do: "reconnect"; readonly reason: string }
  /** Stops; with `handOver` the answer has what is left of a memory spool. */
  | { readonly do: "stop"; readonly handOver: boolean }
  /** Whether the worker still turns. */
  | { readonly do: "ping" };

/** An {@linkcode ExitError} on its way. */
export interface Failure {
  readonly exit: Exit;
  readonly message: string;
}

/** What the worker gets. */
export interface ToWorker {
  readonly id: number;
  readonly request: Request;
}

/** What the worker says. */
export type FromWorker =
  | {
    readonly is: "answer";
    readonly id: number;
    readonly failure?: Failure;
    readonly contents?: MemoryContents;
  }
  | { readonly is: "log"; readonly line: string }
  | { readonly is: "connected"; readonly connected: boolean }
  /** The daemon ended by itself. */
  | { readonly is: "failed"; readonly failure: Failure }
  /** A fault of this program. */
  | { readonly is: "crashed"; readonly message: string; readonly stack: string };
