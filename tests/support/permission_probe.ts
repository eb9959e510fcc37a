/**
 * Tries what its arguments say, `KIND WHAT` each, and prints a line for each with what came of it: for tests of what a program
 * with some permissions may do.
 *
 * @module
 */

const TRIES: Readonly<Record<string, (what: string) => unknown>> = {
  connect: async (what) => {
    const [, hostname = "", port] = /^(.*):(\d+)$/.exec(what) ?? [];
    (await Deno.connect({ hostname, port: Number(port) })).close();
  },
  unix: async (path) => (await Deno.connect({ transport: "unix", path })).close(),
  listen: (path) => Deno.listen({ transport: "unix", path }).close(),
  read: (path) => Deno.readTextFile(path),
  write: (path) => Deno.writeTextFile(path, "x"),
  run: (command) => new Deno.Command(command).outputSync(),
  env: (name) => {
    if (Deno.env.get(name) === undefined) throw new Error("is not there");
  },
  sys: () => Deno.hostname(),
  fetch: (url) => fetch(url),
  ffi: (path) => Deno.dlopen(path, {}),
  worker: (path) => {
    const url = URL.createObjectURL(new Blob([""]));
    new Worker(url, { type: "module", deno: { permissions: { read: [path] } } }).terminate();
  },
};

for (const arg of Deno.args) {
  const [kind = "", what = ""] = arg.split(" ");
  let outcome = "done";
  try {
    await TRIES[kind]!(what);
  } catch (error) {
    outcome = `${(error as Error).name}: ${(error as Error).message.split("\n")[0]}`;
  }
  Deno.stdout.writeSync(new TextEncoder().encode(`${arg} = ${outcome}\n`));
}
Deno.exit(0);
