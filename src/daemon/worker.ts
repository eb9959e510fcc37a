/**
 * The inner thread: runs the daemon with the permissions of {@linkcode innerBox}, as told by messages.
 *
 * @module
 */

import process from "node:process";
import { systemClock } from "../base/clock.ts";
import { ExitError, messageOf } from "../base/errors.ts";
import { createLog } from "../base/log.ts";
import { RateLimitedLog } from "../base/rate_limited_log.ts";
import { onUncaught } from "../base/uncaught.ts";
import { readCredentials } from "../mqtt/credentials.ts";
import { type LocalDaemon, startDaemon } from "./daemon.ts";
import type { Failure, FromWorker, LogSetup, Request, ToWorker } from "./worker_messages.ts";

/** The global scope of a worker, as far as it is used. */
interface Scope {
  postMessage(message: FromWorker): void;
  onmessage: ((event: MessageEvent<ToWorker>) => void) | null;
}

const scope = self as unknown as Scope;
const post = (message: FromWorker): void => scope.postMessage(message);

// MQTT.js looks at variables when it is loaded; here they are refused, and none matters to it.
Object.defineProperty(process, "env", { value: {} });

let daemon: LocalDaemon | undefined;
let log: RateLimitedLog | undefined;

/** Does what is asked, and returns what the answer has to hold. */
async function perform(
  request: Request,
): Promise<Omit<FromWorker & { is: "answer" }, "is" | "id">> {
  switch (request.do) {
    case "check":
      await readCredentials(request.config);
      return {};
    case "start":
      await start(request);
      return {};
    case "update":
      await daemon?.update(request.config);
      return {};
    case "reconnect":
      daemon?.reconnect(request.reason);
      return {};
    case "stop": {
      const contents = await daemon?.stop(request.handOver);
      await daemon?.finished;
      log?.flush();
      return contents === undefined ? {} : { contents };
    }
    case "ping":
      return {};
  }
}

async function start(
  { config, log: setup, fd, contents }: Request & { do: "start" },
): Promise<void> {
  log = logBy(setup);
  daemon = await startDaemon(config, {
    clock: systemClock,
    log,
    random: Math.random,
    fd,
    contents,
    onConnected: (connected) => post({ is: "connected", connected }),
  });
  daemon.finished.catch((error) => {
    const failure = failureOf(error);
    if (failure === undefined) throw error;
    log?.flush();
    post({ is: "failed", failure });
  });
}

function logBy({ level, format, journal }: LogSetup): RateLimitedLog {
  const write = (line: string): void => post({ is: "log", line });
  const { wallNow } = systemClock;
  return new RateLimitedLog(createLog({ level, format, journal, write, wallNow }), systemClock);
}

function failureOf(error: unknown): Failure | undefined {
  return error instanceof ExitError ? { exit: error.exit, message: error.message } : undefined;
}

scope.onmessage = async ({ data: { id, request } }): Promise<void> => {
  try {
    post({ is: "answer", id, ...await perform(request) });
  } catch (error) {
    const failure = failureOf(error);
    if (failure === undefined) throw error;
    post({ is: "answer", id, failure });
  }
};

/** The event that the outer thread would get for an uncaught error has no stack. */
onUncaught((error) => {
  try {
    daemon?.abandon();
    log?.flush();
  } finally {
    const stack = error instanceof Error ? error.stack ?? "" : "";
    post({ is: "crashed", message: messageOf(error), stack });
  }
});
