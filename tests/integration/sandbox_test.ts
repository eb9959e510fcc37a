import { InnerThread } from "../../src/process/inner_thread.ts";
import { resolveConfig } from "../../src/config/resolve.ts";
import { innerBox } from "../../src/daemon/permissions.ts";
import { ExitError } from "../../src/base/errors.ts";
import { assertEquals, assertMatch, assertRejects } from "../deps.ts";
import { tempDir } from "../support/temp.ts";

const PROBE = new URL("../support/box_probe.ts", import.meta.url);

/** Tries things in a thread that has the daemon's permissions. */
interface Probe extends AsyncDisposable {
  readonly dir: string;
  readonly port: number;
  /** What came of it: `done` or an error. */
  try(kind: string, what?: string): Promise<string>;
}

async function startProbe(): Promise<Probe> {
  await using stack = new AsyncDisposableStack();
  const { path: dir } = stack.use(await tempDir());
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  stack.defer(() => listener.close());
  void (async () => {
    for await (const conn of listener) conn.close();
  })();
  const { port } = listener.addr as Deno.NetAddr;
  for (const name of ["ca.pem", "cert.pem", "key.pem", "other.pem"]) {
    await Deno.writeTextFile(`${dir}/${name}`, name);
  }
  await Deno.mkdir(`${dir}/bus/.aws_iot_mqtt`, { recursive: true });
  await Deno.mkdir(`${dir}/spool`);
  const config = resolveConfig({
    ...{ endpoint: `localhost:${port}`, id: "thing", busDir: `${dir}/bus`, spool: `${dir}/spool` },
    ...{ rootca: `${dir}/ca.pem`, cert: `${dir}/cert.pem`, key: `${dir}/key.pem` },
  });
  const thread = new InnerThread(innerBox(config, false), {
    onLine: () => {},
    onConnected: () => {},
    onFailed: (error) => {
      throw error;
    },
  }, PROBE);
  stack.defer(() => thread.terminate());
  const kept = stack.move();
  return {
    dir,
    port,
    try: async (kind, what = "") => {
      try {
        await thread.ask({ do: "reconnect", reason: `${kind} ${what}` });
        return "done";
      } catch (error) {
        if (error instanceof ExitError) return error.message;
        throw error;
      }
    },
    [Symbol.asyncDispose]: () => kept.disposeAsync(),
  };
}

Deno.test("the inner thread can use its endpoint, socket, credentials and spool", async () => {
  await using probe = await startProbe();
  const { dir, port } = probe;
  assertEquals(await probe.try("nodeConnect", `localhost:${port}`), "done");
  for (const name of ["ca.pem", "cert.pem", "key.pem"]) {
    assertEquals(await probe.try("read", `${dir}/${name}`), "done");
  }
  assertEquals(await probe.try("listen", `${dir}/bus/.aws_iot_mqtt/s`), "done");
  assertEquals(await probe.try("write", `${dir}/spool/spool.db`), "done");
});

Deno.test("the inner thread is refused everything else", async () => {
  await using probe = await startProbe();
  const { dir, port } = probe;
  const refused: readonly (readonly [string, string])[] = [
    ["connect", "example.org:8883"],
    ["connect", `localhost:${port + 1}`],
    // The endpoint by another name is another host.
    ["connect", `127.0.0.1:${port}`],
    ["fetch", "http://example.org/"],
    ["read", `${dir}/other.pem`],
    ["read", "/etc/passwd"],
    ["write", `${dir}/key.pem`],
    ["write", `${dir}/bus/gg_config`],
    ["listen", `${dir}/bus/gg_config`],
    ["run", "/bin/true"],
    ["env", "HOME"],
    ["env", "https_proxy"],
    ["sys", ""],
    ["escalate", "/etc/passwd"],
  ];
  for (const [kind, what] of refused) {
    assertMatch(await probe.try(kind, what), /^NotCapable: /, `${kind} ${what}`);
  }
  assertMatch(await probe.try("nodeConnect", "example.org:8883"), /EPERM|NotCapable/);
  assertMatch(await probe.try("nodeEnv", "HOME"), /NotCapable/);
  assertMatch(await probe.try("import", "https://deno.land/x.ts"), /import access/);
});

Deno.test("an inner thread that fails is told of once, and leaves nobody waiting", async () => {
  const failures: string[] = [];
  const thread = new InnerThread(
    { net: [], read: [], write: [] },
    {
      onLine: () => {},
      onConnected: () => {},
      onFailed: (error) => void failures.push(error.message),
    },
    new URL("../support/crashing_worker.ts", import.meta.url),
  );
  const asked = [thread.ask({ do: "ping" }), thread.ask({ do: "ping" })];
  for (const answer of asked) await assertRejects(() => answer, Error, "out of its mind");
  assertEquals(failures.length, 1);
  assertMatch(failures[0]!, /RangeError: out of its mind/);
});
