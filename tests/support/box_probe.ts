/**
 * Takes the place of the daemon in its thread: tries what it is asked to as the reason of a `reconnect`, and answers with what came
 * of it.
 *
 * @module
 */

import { connect } from "node:net";
import process from "node:process";
import type { ToWorker } from "../../src/daemon/worker_messages.ts";

const TRIES: Readonly<Record<string, (what: string) => unknown>> = {
  connect: (what) => {
    const [hostname, port] = what.split(":");
    return Deno.connect({ hostname: hostname!, port: Number(port) }).then((conn) => conn.close());
  },
  nodeConnect: (what) => {
    const [host, port] = what.split(":");
    return new Promise<void>((resolve, reject) => {
      const socket = connect({ host: host!, port: Number(port) });
      socket.once("error", reject).once("connect", () => {
        socket.destroy();
        resolve();
      });
    });
  },
  listen: (path) => Deno.listen({ transport: "unix", path }).close(),
  read: (path) => Deno.readTextFile(path),
  write: (path) => Deno.writeTextFile(path, "x"),
  run: (command) => new Deno.Command(command).outputSync(),
  env: (name) => Deno.env.get(name),
  nodeEnv: (name) => {
    if (process.env[name] === undefined) throw new Error(`${name} is not there`);
  },
  sys: () => Deno.hostname(),
  fetch: (url) => fetch(url),
  import: (url) => import(url),
  escalate: (path) => {
    const url = new URL(import.meta.url);
    new Worker(url, { type: "module", deno: { permissions: { read: [path] } } }).terminate();
  },
};

self.addEventListener("message", async (event) => {
  const { id, request } = (event as MessageEvent<ToWorker>).data;
  const [kind = "", what = ""] = request.do === "reconnect" ? request.reason.split(" ") : [];
  const post = (self as unknown as { postMessage(message: unknown): void }).postMessage;
  try {
    await TRIES[kind]!(what);
    post({ is: "answer", id });
  } catch (error) {
    const { name, message } = error as Error;
    post({ is: "answer", id, failure: { exit: 78, message: `${name}: ${message}` } });
  }
});
