/** The name of an endpoint has several addresses, of which one is good: the program reaches it, within its narrow permissions. */

import { assert, assertEquals } from "../deps.ts";
import { blackHole, freePort, hostsAllowed, relay, withHosts } from "../support/addresses.ts";
import { type AwsIotCore, startAwsIotCore } from "../support/aws_iot_core.ts";
import { publish } from "../support/daemon.ts";
import { createPki, writePki } from "../support/pki.ts";
import {
  daemonArgs,
  FROM_SOURCE,
  type Program,
  programCommand,
  startCommand,
} from "../support/program.ts";
import { startProxy } from "../support/proxy.ts";
import { tempDir } from "../support/temp.ts";
import { waitFor, within } from "../support/wait.ts";

const HOST = "device.iot.eu-west-1.amazonaws.com";
const PROXY = "proxy.example.com";
const pki = await createPki({ names: [HOST] });

/** The resolver gives addresses of this machine in this order, whatever that of the hosts file: by how much they have of the first. */
const [FIRST, SECOND, THIRD, FOURTH] = ["127.0.0.1", "127.0.0.2", "127.0.0.4", "127.0.0.8"];
const ALL = [FIRST, SECOND, THIRD, FOURTH];

/** How long a connection may take beyond what the good address itself takes, in ms. */
const SLACK_MS = 2_000;

/** A round trip of a slow address, in ms: the shortest time after which Linux sends a SYN again. */
const SLOW_MS = 1_000;

/** TCP, TLS 1.3 and CONNECT take a round trip each. */
const SLOW_CONNECT_MS = 3 * SLOW_MS;

/** A broker, and a name whose addresses all have the same port, with nothing on them yet. */
interface Place {
  readonly core: AwsIotCore;
  readonly port: number;
  /** Takes along what is to be closed before the broker is. */
  readonly stack: AsyncDisposableStack;
  /** What the name leads to from now on. */
  resolve(...addresses: readonly string[]): Promise<void>;
  /** Starts the program, within what it may do on a device, and publishes a message; the time goes from here. */
  start(env?: Record<string, string>): Promise<Program>;
}

function addressTest(name: string, run: (place: Place) => Promise<void>): void {
  Deno.test({
    name,
    ignore: !hostsAllowed() || FROM_SOURCE.ignore,
    fn: async () => {
      await using stack = new AsyncDisposableStack();
      const dir = stack.use(await tempDir()).path;
      const files = await writePki(dir, pki);
      const core = stack.use(await startAwsIotCore({ pki, devices: [files.device] }));
      const port = await freePort(ALL);
      const hosts = `${dir}/hosts`;
      const busDir = `${dir}/bus`;
      const socket = `${busDir}/aws_iot_mqtt`;
      let program: Program | undefined;
      await run({
        core,
        port,
        stack,
        resolve: (...addresses) =>
          Deno.writeTextFile(
            hosts,
            addresses.map((address) => `${address} ${HOST} ${PROXY}\n`).join(""),
          ),
        start: async (env = {}) => {
          const command = [
            ...withHosts(hosts),
            ...await narrowCommand(port, dir, busDir),
            ...daemonArgs({ host: HOST, port }, files, busDir),
          ];
          program = stack.use(startCommand(command, env));
          await program.logged("serving the core bus");
          await publish(socket, { topic: "t", payload: "accepted before", qos: 1 });
          return program;
        },
      });
      await waitFor("what was accepted", () => texts(core).includes("accepted before"));
      assert(program !== undefined);
      program.signal("SIGTERM");
      assertEquals(await within("the end", program.exited), 0);
    },
  });
}

/** The program with no more permissions than those of its kind in deno.json: the hosts are a pattern of names. */
async function narrowCommand(port: number, dir: string, busDir: string): Promise<string[]> {
  const sockets = [`unix:${busDir}/aws_iot_mqtt`, `unix:${busDir}/.aws_iot_mqtt/s`];
  const net = [`*.iot.eu-west-1.amazonaws.com:${port}`, `${PROXY}:${port}`, ...sockets];
  return (await programCommand()).flatMap((arg) =>
    arg !== "-P=dev" ? [arg] : [
      `--allow-net=${net.join(",")}`,
      `--allow-read=${dir}`,
      `--allow-write=${busDir}`,
      "--allow-env=https_proxy",
      "--ignore-env",
    ]
  );
}

function texts(core: AwsIotCore): string[] {
  return core.published.map(({ payload }) => new TextDecoder().decode(payload));
}

async function assertConnected(program: Program, address: string, ownMs: number): Promise<void> {
  await program.logged("Connected", ownMs + SLACK_MS);
  assert(program.log().includes(`address=${address}`), program.log());
}

addressTest(
  "two good addresses a second away: the program connects to one of them",
  async (place) => {
    const { core, port, stack } = place;
    const both = [await blackHole(FIRST!, port), await blackHole(SECOND!, port)];
    for (const each of both) stack.use(each);
    await place.resolve(FIRST!, SECOND!);
    const program = await place.start();
    await new Promise((resolve) => setTimeout(resolve, SLOW_MS / 2));
    for (const each of both) each.open(core.port, SLOW_MS / 2);
    await assertConnected(program, "127.0.0.", SLOW_CONNECT_MS);
  },
);

addressTest("the first address refuses: the program connects to the second", async (place) => {
  place.stack.use(relay(SECOND!, place.port, place.core.port));
  await place.resolve(FIRST!, SECOND!);
  await assertConnected(await place.start(), `${SECOND}:${place.port}`, 0);
});

addressTest(
  "the first address is a black hole: the program connects to the second",
  async (place) => {
    place.stack.use(await blackHole(FIRST!, place.port));
    place.stack.use(relay(SECOND!, place.port, place.core.port));
    await place.resolve(FIRST!, SECOND!);
    await assertConnected(await place.start(), `${SECOND}:${place.port}`, 0);
  },
);

addressTest(
  "the first three addresses are black holes: the program connects to the fourth",
  async (place) => {
    for (const address of [FIRST, SECOND, THIRD]) {
      place.stack.use(await blackHole(address!, place.port));
    }
    place.stack.use(relay(FOURTH!, place.port, place.core.port));
    await place.resolve(...ALL as string[]);
    await assertConnected(await place.start(), `${FOURTH}:${place.port}`, 0);
  },
);

addressTest(
  "there is no route to the IPv6 address and IPv4 is slow: the program connects to that",
  async (place) => {
    const { core, port, stack } = place;
    const slow = stack.use(await blackHole(FIRST!, port));
    // TCP can be routed nowhere to an address of many; no packet leaves the machine.
    await place.resolve("ff02::1", FIRST!);
    const program = await place.start();
    await new Promise((resolve) => setTimeout(resolve, SLOW_MS / 2));
    slow.open(core.port, SLOW_MS / 2);
    await assertConnected(program, `${FIRST}:${port}`, SLOW_CONNECT_MS);
  },
);

addressTest(
  "the first address of the proxy refuses: the program connects through the second",
  async (place) => {
    const proxy = place.stack.use(await startProxy({ to: place.core.port }));
    place.stack.use(relay(SECOND!, place.port, proxy.port));
    await place.resolve(FIRST!, SECOND!);
    const program = await place.start({ https_proxy: `http://${PROXY}:${place.port}` });
    await assertConnected(program, `${SECOND}:${place.port}`, 0);
    assertEquals(proxy.requests, [`CONNECT ${HOST}:${place.port} HTTP/1.1`]);
  },
);

addressTest(
  "the address changes between two connects: the program follows the name",
  async (place) => {
    const { core, port, stack } = place;
    const before = relay(FIRST!, port, core.port);
    stack.use(relay(SECOND!, port, core.port));
    await place.resolve(FIRST!);
    const program = await place.start();
    await assertConnected(program, `${FIRST}:${port}`, 0);
    await place.resolve(SECOND!);
    await before[Symbol.asyncDispose]();
    await program.logged(`address=${SECOND}:${port}`, 10_000);
  },
);

addressTest(
  "no address answers: the program says which host and port, and what it heard, and connects later",
  async (place) => {
    await place.resolve(FIRST!, SECOND!);
    const program = await place.start();
    await program.logged(`${HOST}:${place.port} refused the TCP connection (Connection refused`);
    place.stack.use(relay(SECOND!, place.port, place.core.port));
    await assertConnected(program, `${SECOND}:${place.port}`, 10_000);
  },
);
