/** Addresses of this machine that behave as those of an endpoint do on a bad day, and names that lead to them. */

import { waitFor } from "./wait.ts";

/** A listener that does not answer at first: its backlog is full, so that what connects gets no answer, as from a black hole. */
export interface BlackHole extends AsyncDisposable {
  /** From now on it is a {@linkcode relay}: what still tries connects at its next SYN, a second after the first. */
  open(to: number, delayMs: number): void;
}

/** Passes on whatever connects to `hostname:port` to `to` on 127.0.0.1, each way `delayMs` later. */
export function relay(
  hostname: string,
  port: number,
  to: number,
  delayMs = 0,
): AsyncDisposable & { readonly port: number } {
  const listener = Deno.listen({ hostname, port });
  const serving = serve(listener, to, delayMs);
  return {
    port: listener.addr.port,
    [Symbol.asyncDispose]: async () => {
      listener.close();
      await serving;
    },
  };
}

/** Makes a black hole; its backlog is full when this resolves. */
export async function blackHole(hostname: string, port: number): Promise<BlackHole> {
  const listener = Deno.listen({ hostname, port, tcpBacklog: 1 });
  const fillers = await fill(hostname, port);
  let serving: Promise<void> | undefined;
  return {
    open: (to, delayMs) => {
      for (const filler of fillers.splice(0)) filler.close();
      serving = serve(listener, to, delayMs);
    },
    [Symbol.asyncDispose]: async () => {
      for (const filler of fillers) filler.close();
      listener.close();
      await serving;
    },
  };
}

/** Connects until nobody answers any more. */
async function fill(hostname: string, port: number): Promise<Deno.Conn[]> {
  const conns: Deno.Conn[] = [];
  while (conns.length < 16) {
    const late = AbortSignal.timeout(200);
    try {
      conns.push(await Deno.connect({ hostname, port, signal: late }));
    } catch (error) {
      if (!late.aborted) throw error;
      return conns;
    }
  }
  throw new Error(`${hostname}:${port} still answers, though nobody accepts`);
}

/** Accepts until the listener is closed, then closes what is open. */
async function serve(listener: Deno.TcpListener, to: number, delayMs: number): Promise<void> {
  const conns = new Set<Deno.Conn>();
  const passing = new Set<Promise<void>>();
  try {
    for await (const conn of listener) {
      conns.add(conn);
      const passed = passOn(conn, to, delayMs, conns);
      passing.add(passed);
    }
  } finally {
    for (const conn of conns) closeOf(conns, conn);
    await Promise.all(passing);
  }
}

/** Closes a connection that is still open. */
function closeOf(conns: Set<Deno.Conn>, conn: Deno.Conn): void {
  if (conns.delete(conn)) conn.close();
}

async function passOn(
  from: Deno.Conn,
  port: number,
  delayMs: number,
  conns: Set<Deno.Conn>,
): Promise<void> {
  const to = await Deno.connect({ hostname: "127.0.0.1", port });
  conns.add(to);
  // Either side may be reset, or closed from here, while it is read or written.
  const ended = (): void => [from, to].forEach((conn) => closeOf(conns, conn));
  await Promise.all([
    pump(from, to, delayMs).catch(ended),
    pump(to, from, delayMs).catch(ended),
  ]);
  ended();
}

async function pump(from: Deno.Conn, to: Deno.Conn, delayMs: number): Promise<void> {
  let writing = Promise.resolve();
  const buffer = new Uint8Array(65_536);
  for (let n = await from.read(buffer); n !== null; n = await from.read(buffer)) {
    const chunk = buffer.slice(0, n);
    const due = performance.now() + delayMs;
    writing = writing.then(async () => {
      const left = due - performance.now();
      if (left > 0) await new Promise((resolve) => setTimeout(resolve, left));
      for (let rest = chunk; rest.length > 0;) rest = rest.subarray(await to.write(rest));
    });
    // What it fails with comes out below, or at the next chunk.
    writing.catch(() => {});
  }
  await writing;
  await to.closeWrite();
}

/** A command that runs another one, to which `/etc/hosts` is a file of the test's own. */
export function withHosts(hosts: string): string[] {
  const script = 'mount --bind "$0" /etc/hosts && exec "$@"';
  return ["unshare", "--mount", "sh", "-c", script, hosts];
}

/** Whether {@linkcode withHosts} is allowed here. */
export function hostsAllowed(): boolean {
  const [command = "", ...args] = [...withHosts("/dev/null"), "true"];
  try {
    return new Deno.Command(command, { args, stdout: "null", stderr: "null" }).outputSync().success;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

/** A port that is free on all the addresses. */
export async function freePort(hostnames: readonly string[]): Promise<number> {
  return await waitFor("a port that is free on all addresses", () => {
    const first = Deno.listen({ hostname: hostnames[0]!, port: 0 });
    const { port } = first.addr;
    first.close();
    try {
      for (const hostname of hostnames) Deno.listen({ hostname, port }).close();
      return port;
    } catch (error) {
      if (error instanceof Deno.errors.AddrInUse) return undefined;
      throw error;
    }
  });
}
