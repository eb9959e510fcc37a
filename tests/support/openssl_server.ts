import { type Pki, writePki } from "./pki.ts";
import { tempDir } from "./temp.ts";

/** An `openssl s_server` on 127.0.0.1 that demands client certificates of the PKI's CA and says nothing else. */
export interface OpensslServer extends AsyncDisposable {
  readonly port: number;
}

/** Whether the openssl program is installed here. */
export function opensslAvailable(): boolean {
  try {
    return new Deno.Command("openssl", { args: ["version"], stdout: "null" }).outputSync().success;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

/** Starts a server of one TLS version; it is listening when this resolves. */
export async function startOpenssl(pki: Pki, version: "1.2" | "1.3"): Promise<OpensslServer> {
  await using stack = new AsyncDisposableStack();
  const dir = stack.use(await tempDir());
  const files = await writePki(dir.path, pki);
  const child = new Deno.Command("openssl", {
    args: [
      ..."s_server -accept 127.0.0.1:0 -Verify 3 -verify_return_error -naccept 1000".split(" "),
      version === "1.2" ? "-tls1_2" : "-tls1_3",
      ...["-cert", files.serverCert, "-key", files.serverKey, "-CAfile", files.rootca],
    ],
    stdin: "piped",
    stdout: "piped",
    stderr: "null",
  }).spawn();
  const output = child.stdout.pipeThrough(new TextDecoderStream());
  const ready = Promise.withResolvers<number>();
  const drained = (async () => {
    let text = "";
    for await (const part of output) {
      text += part;
      const port = /^ACCEPT .*:(\d+)$/m.exec(text)?.[1];
      if (port !== undefined) ready.resolve(Number(port));
    }
    ready.reject(new Error(`Cannot start openssl s_server: ${text}`));
  })();
  stack.defer(async () => {
    child.kill("SIGKILL");
    await child.status;
    await child.stdin.abort();
    await drained;
  });
  const port = await ready.promise;
  const kept = stack.move();
  return { port, [Symbol.asyncDispose]: () => kept.disposeAsync() };
}
