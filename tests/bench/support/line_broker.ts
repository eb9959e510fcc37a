/**
 * A broker that feeds at line speed: `line_broker.ts CERT KEY PORT`, TLS on 127.0.0.1. It answers what it is asked and checks nothing.
 * For each line on stdin it does something to the connection that subscribed last, and prints when it is done:
 *
 * `feed TOPIC COUNT BYTES`: as many messages of QoS 0 as fast as they are taken; a payload begins with its number in 8 digits, if it
 *     has room for them.
 * `raw HEX`: writes bytes.
 *
 * @module
 */

import { type Bytes, concat, utf8 } from "../../../src/base/bytes.ts";
import { PacketReader } from "../../../src/mqtt/packet_reader.ts";

/** Packets that are written at once. */
const BLOCK = 500;

const [cert = "", key = "", port = ""] = Deno.args;
const listener = Deno.listenTls({
  ...{ hostname: "127.0.0.1", port: Number(port) },
  cert: Deno.readTextFileSync(cert),
  key: Deno.readTextFileSync(key),
});
let subscribed: Deno.TlsConn | undefined;

function say(line: string): void {
  Deno.stdout.writeSync(utf8(line + "\n"));
}

async function write(conn: Deno.TlsConn, bytes: Uint8Array): Promise<void> {
  for (let rest = bytes; rest.length > 0;) rest = rest.subarray(await conn.write(rest));
}

/** What is answered to a packet: an identifier is where the variable header begins, but for PUBLISH. */
function answer(first: number, body: Uint8Array, isMqtt5: boolean): number[] | undefined {
  const none = isMqtt5 ? [0] : [];
  switch (first >> 4) {
    case 1:
      return [0x20, 2 + none.length, 0, 0, ...none];
    case 3: {
      if ((first & 6) === 0) return undefined;
      const at = 2 + (body[0]! << 8 | body[1]!);
      return [0x40, 2, body[at]!, body[at + 1]!];
    }
    case 8:
      return [0x90, 3 + none.length, body[0]!, body[1]!, ...none, 0];
    case 10:
      return isMqtt5 ? [0xb0, 4, body[0]!, body[1]!, 0, 0] : [0xb0, 2, body[0]!, body[1]!];
    case 12:
      return [0xd0, 0];
    default:
      return undefined;
  }
}

async function serve(conn: Deno.TlsConn): Promise<void> {
  const reader = new PacketReader();
  let isMqtt5 = false;
  for (;;) {
    const chunk = new Uint8Array(65_536);
    const length = await conn.read(chunk);
    if (length === null) break;
    reader.push(chunk.subarray(0, length));
    const answers: number[] = [];
    for (let packet = reader.next(); packet !== undefined; packet = reader.next()) {
      const body = packet.bytes.subarray(packet.at, packet.end);
      if (packet.first >> 4 === 1) isMqtt5 = body[6] === 5;
      if (packet.first >> 4 === 8) subscribed = conn;
      answers.push(...answer(packet.first, body, isMqtt5) ?? []);
    }
    if (answers.length > 0) await write(conn, Uint8Array.from(answers));
    versions.set(conn, isMqtt5);
  }
}

const versions = new WeakMap<Deno.TlsConn, boolean>();

function publishPacket(topic: string, payload: Uint8Array, isMqtt5: boolean): Bytes {
  const name = utf8(topic);
  const length = 2 + name.length + (isMqtt5 ? 1 : 0) + payload.length;
  const head = length < 0x80 ? [length] : [length & 0x7f | 0x80, length >> 7];
  const none = isMqtt5 ? [0] : [];
  return Uint8Array.from([0x30, ...head, 0, name.length, ...name, ...none, ...payload]);
}

async function feed(conn: Deno.TlsConn, topic: string, count: number, size: number): Promise<void> {
  const packet = publishPacket(topic, new Uint8Array(size), versions.get(conn) ?? false);
  const block = concat(Array.from({ length: BLOCK }, () => packet));
  for (let sent = 0; sent < count;) {
    const many = Math.min(BLOCK, count - sent);
    for (let n = 0; size >= 8 && n < many; n++) {
      const digits = String((sent + n) % 100_000_000).padStart(8, "0");
      const at = (n + 1) * packet.length - size;
      for (let digit = 0; digit < 8; digit++) block[at + digit] = digits.charCodeAt(digit);
    }
    await write(conn, block.subarray(0, many * packet.length));
    sent += many;
  }
}

async function obey(line: string): Promise<void> {
  const [what, ...args] = line.split(" ");
  if (subscribed === undefined) throw new Error("Nobody has subscribed");
  if (what === "feed") await feed(subscribed, args[0]!, Number(args[1]), Number(args[2]));
  else await write(subscribed, Uint8Array.fromHex(args[0]!));
}

void (async () => {
  for await (const conn of listener) {
    serve(conn).catch((error) => {
      if (!Object.hasOwn(Deno.errors, error.name)) throw error;
    }).finally(() => conn.close());
  }
})();
say("ready");
let rest = "";
for await (const text of Deno.stdin.readable.pipeThrough(new TextDecoderStream())) {
  const lines = (rest + text).split("\n");
  rest = lines.pop()!;
  for (const line of lines) {
    const outcome = await obey(line).then(
      () => "done",
      (error: Error) => `failed: ${error.message}`,
    );
    say(outcome);
  }
}
