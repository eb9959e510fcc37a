import type { AddressInfo } from "node:net";
import tls from "node:tls";
import type { Pki } from "./pki.ts";

/** A broker that answers the first bytes it gets by a script. */
export async function startScript(
  pki: Pki,
  script: (socket: tls.TLSSocket) => void,
): Promise<AsyncDisposable & { readonly port: number; readonly pki: Pki }> {
  const sockets = new Set<tls.TLSSocket>();
  const options = { cert: pki.server.certPem, key: pki.server.keyPem };
  const server = tls.createServer(options, (socket) => {
    sockets.add(socket);
    socket.on("error", () => socket.destroy()).on("close", () => sockets.delete(socket));
    socket.on("data", () => {});
    socket.once("data", () => script(socket));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    port: (server.address() as AddressInfo).port,
    pki,
    [Symbol.asyncDispose]: async () => {
      const closed = new Promise((resolve) => server.close(resolve));
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
}
