/**
 * `deno task fuzz:broker [PACKETS] [SEED]`: packets of a broker with one thing wrong each, over real TLS links, both versions of MQTT;
 * 100,000 by default. Behind each packet comes a message that has to be acknowledged unless the link ends; a link that does neither
 * hangs, and an error that nothing catches would have ended the daemon.
 *
 * @module
 */

import type { AddressInfo } from "node:net";
import tls from "node:tls";
import { utf8 } from "../../src/base/bytes.ts";
import { systemClock } from "../../src/base/clock.ts";
import { onUncaught } from "../../src/base/uncaught.ts";
import { ConnectError } from "../../src/mqtt/connect_error.ts";
import type { MqttVersion } from "../../src/mqtt/link.ts";
import { PacketReader } from "../../src/mqtt/packet_reader.ts";
import { createPki } from "../support/pki.ts";
import { openProbe, type Probe } from "../support/link_probe.ts";
import { Random } from "../support/random.ts";
import { brokerPacket } from "./broker_packets.ts";

/** Links at a time: most of each is waiting for a handshake. */
const LINKS = 4;

/** A link that neither ends nor acknowledges for so long hangs, in ms. */
const HANG_MS = 10_000;

/** The identifier of the message behind a packet. */
const MARKER = 0x4d4d;

const pki = await createPki();
const device = await pki.device();

/** The other side of one link. */
class Broker {
  acknowledged = 0;
  /** Called at each acknowledgement. */
  onAcknowledged: () => void = () => {};
  readonly #reader = new PacketReader();

  constructor(readonly socket: tls.TLSSocket) {
    socket.on("error", () => socket.destroy());
    socket.on("data", (chunk: Uint8Array<ArrayBuffer>) => this.#read(chunk));
  }

  /** A message of QoS 1 that no packet before it can have said anything about. */
  mark(version: MqttVersion): void {
    const none = version === "5" ? [0] : [];
    const body = [0, 1, 0x6d, MARKER >> 8, MARKER & 0xff, ...none];
    this.socket.write(Uint8Array.of(0x32, body.length, ...body));
  }

  #read(chunk: Uint8Array<ArrayBuffer>): void {
    this.#reader.push(chunk);
    for (let raw = this.#reader.next(); raw !== undefined; raw = this.#reader.next()) {
      if (raw.first >> 4 === 1) {
        const isMqtt5 = raw.bytes[raw.at + 6] === 5;
        this.socket.write(Uint8Array.from(isMqtt5 ? [0x20, 3, 0, 0, 0] : [0x20, 2, 0, 0]));
      }
      const id = raw.bytes[raw.at]! << 8 | raw.bytes[raw.at + 1]!;
      if (raw.first >> 4 !== 4 || id !== MARKER) continue;
      this.acknowledged++;
      this.onAcknowledged();
    }
  }
}

/** What became of the packets. */
interface Tally {
  left: number;
  links: number;
  lived: number;
  ended: number;
  hung: number;
  readonly reasons: Map<string, number>;
}

function count(tally: Tally, reason: string): void {
  const kind = reason.replaceAll(/\d+/g, "N").slice(0, 70);
  tally.reasons.set(kind, (tally.reasons.get(kind) ?? 0) + 1);
}

/** The end of the link, an acknowledgement, or neither. */
async function outcome(probe: Probe, broker: Broker): Promise<"ended" | "lived" | "hung"> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const before = broker.acknowledged;
  try {
    return await Promise.race([
      probe.ended.then(() => "ended" as const),
      new Promise<"lived">((resolve) => {
        broker.onAcknowledged = () => broker.acknowledged > before && resolve("lived");
      }),
      new Promise<"hung">((resolve) => timer = setTimeout(() => resolve("hung"), HANG_MS)),
    ]);
  } finally {
    clearTimeout(timer);
  }
}

/** A stream in the middle of a packet that never ends is what the keep-alive is for: here it gets what it waits for. */
const FILLER = new Uint8Array(262_144);

async function useLink(tally: Tally, random: Random, accept: () => Promise<Broker>, port: number) {
  const version = random.pick<MqttVersion>(["5", "3.1.1"]);
  const accepting = accept();
  await using probe = await openProbe({ port, pki }, device, { version, keepAliveS: 600 });
  const broker = await accepting;
  tally.links++;
  // Packets 1 to 3 wait for their answers.
  probe.link.publish({ topic: "out", payload: utf8("x"), qos: 1 }, () => {});
  void probe.link.subscribe(["in"], 1);
  void probe.link.unsubscribe(["in"]);
  while (tally.left > 0) {
    tally.left--;
    broker.socket.write(brokerPacket(random, version));
    const waiting = outcome(probe, broker);
    broker.mark(version);
    const longer = setTimeout(() => broker.socket.write(FILLER), 100);
    const what = await waiting;
    clearTimeout(longer);
    tally[what]++;
    if (what === "lived") continue;
    count(tally, what === "hung" ? "HUNG" : (await probe.ended).reason);
    broker.socket.destroy();
    return;
  }
  broker.socket.destroy();
}

/** Sends so many packets; the same for the same seed, on one link at a time. */
export async function fuzzBroker(packets: number, seed: number): Promise<Tally> {
  const tally: Tally = {
    ...{ left: packets, links: 0, lived: 0, ended: 0, hung: 0 },
    reasons: new Map(),
  };
  await Promise.all(Array.from({ length: LINKS }, async (_, n) => {
    let accepted: (broker: Broker) => void = () => {};
    const options = { cert: pki.server.certPem, key: pki.server.keyPem };
    const server = tls.createServer(options, (socket) => accepted(new Broker(socket)));
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const { port } = server.address() as AddressInfo;
    const random = new Random(seed + n);
    const accept = (): Promise<Broker> => new Promise((resolve) => accepted = resolve);
    while (tally.left > 0) {
      try {
        await useLink(tally, random, accept, port);
      } catch (error) {
        if (!(error instanceof ConnectError)) throw error;
        count(tally, error.message);
      }
    }
    await new Promise((resolve) => server.close(resolve));
  }));
  return tally;
}

if (import.meta.main) {
  const packets = Number(Deno.args[0] ?? 100_000);
  const seed = Number(Deno.args[1] ?? Date.now() % 1_000_000);
  const uncaught: unknown[] = [];
  onUncaught((error) => uncaught.push(error));
  const say = (line: string): void => void Deno.stdout.writeSync(utf8(line + "\n"));
  say(`${packets} packets, seed ${seed}`);
  const started = systemClock.now();
  const { links, lived, ended, hung, reasons } = await fuzzBroker(packets, seed);
  for (const [reason, times] of [...reasons].sort(([, a], [, b]) => b - a)) {
    say(`${times} ${reason}`);
  }
  const seconds = ((systemClock.now() - started) / 1_000).toFixed(1);
  say(
    `${
      lived + ended + hung
    } packets in ${seconds} s over ${links} links: ${lived} left the link alive, ` +
      `${ended} ended it, ${hung} hung; ${uncaught.length} errors that nothing caught`,
  );
  for (const error of uncaught) {
    say(error instanceof Error ? error.stack ?? error.message : `${error}`);
  }
  Deno.exit(hung + uncaught.length === 0 ? 0 : 1);
}
