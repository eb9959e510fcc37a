import { ExitError } from "../base/errors.ts";
import { type Box, workerPermissions } from "../daemon/permissions.ts";
import type { Failure, FromWorker, Request, ToWorker } from "../daemon/worker_messages.ts";

/** The answer to a request. */
export type Answer = FromWorker & { readonly is: "answer" };

/** Who hears what the inner thread says unasked. */
export interface InnerHandler {
  onLine(line: string): void;
  onConnected(connected: boolean): void;
  /** The daemon cannot go on, or the thread is gone: `error` is an {@linkcode ExitError} when it was foreseen. */
  onFailed(error: Error): void;
}

/** The module of the worker; in a compiled program it stands beside the main one. */
const MODULE = new URL(
  import.meta.url.endsWith(".ts") ? "../daemon/worker.ts" : "./worker.js",
  import.meta.url,
);

/** A worker with the permissions of a box, and the requests that it has not answered yet. */
export class InnerThread {
  readonly #worker: Worker;
  readonly #handler: InnerHandler;
  readonly #waiting = new Map<number, PromiseWithResolvers<Answer>>();
  #lastId = 0;
  #over = false;

  constructor(readonly box: Box, handler: InnerHandler, module: URL = MODULE) {
    this.#handler = handler;
    this.#worker = new Worker(module, {
      type: "module",
      name: "daemon",
      deno: { permissions: workerPermissions(box) },
    });
    this.#worker.onmessage = ({ data }: MessageEvent<FromWorker>) => this.#onMessage(data);
    this.#worker.onerror = (event) => {
      event.preventDefault();
      this.#onCrash(event.message, "");
    };
  }

  /** Asks for something. @throws {ExitError} what the daemon answers with, or when the thread ends first */
  async ask(request: Request): Promise<Answer> {
    const id = ++this.#lastId;
    const answer = Promise.withResolvers<Answer>();
    this.#waiting.set(id, answer);
    this.#worker.postMessage({ id, request } satisfies ToWorker);
    const { failure, ...rest } = await answer.promise;
    if (failure !== undefined) throw exitError(failure);
    return rest;
  }

  /** Ends the thread as it is; nothing is heard of it any more, and what it was asked stays without an answer. */
  terminate(): void {
    this.#over = true;
    this.#worker.terminate();
  }

  #onMessage(message: FromWorker): void {
    if (this.#over) return;
    switch (message.is) {
      case "answer": {
        const waiting = this.#waiting.get(message.id);
        this.#waiting.delete(message.id);
        return waiting?.resolve(message);
      }
      case "log":
        return this.#handler.onLine(message.line);
      case "connected":
        return this.#handler.onConnected(message.connected);
      case "failed":
        return this.#handler.onFailed(exitError(message.failure));
      case "crashed":
        return this.#onCrash(message.message, message.stack);
    }
  }

  #onCrash(message: string, stack: string): void {
    if (this.#over) return;
    this.terminate();
    const error = new Error(message);
    error.stack = stack;
    for (const { reject } of this.#waiting.values()) reject(error);
    this.#handler.onFailed(error);
  }
}

function exitError({ exit, message }: Failure): ExitError {
  return new ExitError(exit, message);
}
