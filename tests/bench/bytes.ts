/**
 * `deno run -A tests/bench/bytes.ts`: what crosses the wire for a connect, a message and a ping, counted between daemon and broker; the
 * table of docs/performance.md.
 *
 * @module
 */

import { startAwsIotCore } from "../support/aws_iot_core.ts";
import { openProbe, type Probe } from "../support/link_probe.ts";
import { createPki } from "../support/pki.ts";
import { waitFor } from "../support/wait.ts";

const TOPIC = "plant/line/7/machine/12/temperature";
const PAYLOAD = new Uint8Array(64).fill(0x20);

/** Headers of IPv4 and TCP with timestamps, in bytes. */
const HEADERS = 52;

const MINUTES_A_DAY = 1_440;

/** What crossed since the start. */
interface Crossed {
  /** Bytes of TLS, both ways. */
  bytes: number;
  /** Segments that carried them, as many as there were reads. */
  segments: number;
}

/** Hands on what comes to its port to another one, and counts it. */
function relay(port: number, crossed: Crossed): Deno.TcpListener {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const copy = async (from: Deno.TcpConn, to: Deno.TcpConn): Promise<void> => {
    for await (const chunk of from.readable) {
      crossed.bytes += chunk.length;
      crossed.segments++;
      for (let sent = 0; sent < chunk.length;) sent += await to.write(chunk.subarray(sent));
    }
    to.close();
  };
  const serve = async (): Promise<void> => {
    for await (const near of listener) {
      const far = await Deno.connect({ hostname: "127.0.0.1", port });
      near.setNoDelay(true);
      far.setNoDelay(true);
      // The end of one way is the end of both.
      void Promise.all([copy(near, far), copy(far, near)]).catch(() => {});
    }
  };
  void serve();
  return listener;
}

const crossed: Crossed = { bytes: 0, segments: 0 };
const pki = await createPki();
const device = await pki.device();
await using core = await startAwsIotCore({
  pki,
  devices: [device],
  behaviour: { connectSpacingMs: 0 },
});
using listener = relay(core.port, crossed);
const peer = { port: (listener.addr as Deno.NetAddr).port, pki };

/** What crosses while something is done, and for a second after it. */
async function during(work: () => unknown): Promise<Crossed> {
  const { bytes, segments } = crossed;
  await work();
  const end = performance.now() + 1_000;
  await waitFor("what is under way", () => performance.now() > end);
  return { bytes: crossed.bytes - bytes, segments: crossed.segments - segments };
}

function publish({ link }: Probe, qos: 0 | 1): Promise<unknown> {
  return new Promise((resolve) => link.publish({ topic: TOPIC, payload: PAYLOAD, qos }, resolve));
}

/** TLS bytes, and with headers: the other side's TCP acknowledges the last segment by one of its own. */
function figures({ bytes, segments }: Crossed): [tls: number, ip: number] {
  return [bytes, bytes + HEADERS * (segments + 1)];
}

function row(what: string, [tls, ip]: readonly [number, number]): void {
  const cells = [what, tls, ip].map((cell) => cell.toLocaleString("en"));
  Deno.stdout.writeSync(new TextEncoder().encode(`| ${cells.join(" | ")} |\n`));
}

function times([tls, ip]: readonly [number, number], number: number): [number, number] {
  return [tls * number, ip * number];
}

for (const version of ["5", "3.1.1"] as const) {
  let probe: Probe | undefined;
  const open = async (): Promise<void> => {
    probe = await openProbe(peer, device, { version, keepAliveS: 3 });
  };
  row(`MQTT ${version}: connect, TLS included`, figures(await during(open)));
  const ping = figures(
    await during(() => waitFor("a ping", () => core.received("pingreq").length > 0)),
  );
  await probe!.link.close();
  await openProbe(peer, device, { version, keepAliveS: 1_000 }).then(async (quiet) => {
    row(`first message of QoS 1 on a topic`, figures(await during(() => publish(quiet, 1))));
    const message = figures(await during(() => publish(quiet, 1)));
    row("further message of QoS 1", message);
    row("further message of QoS 0", figures(await during(() => publish(quiet, 0))));
    row("ping", ping);
    row("idle day, keep-alive of 60 s", times(ping, MINUTES_A_DAY));
    row("day with a message of QoS 1 every 59 s", times(message, Math.round(86_400 / 59)));
    row("the same with a ping every minute, as before", [
      times(message, Math.round(86_400 / 59))[0] + times(ping, MINUTES_A_DAY)[0],
      times(message, Math.round(86_400 / 59))[1] + times(ping, MINUTES_A_DAY)[1],
    ]);
    await quiet.link.close();
  });
  core.clearRecords();
}
Deno.exit(0);
