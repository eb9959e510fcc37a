/**
 * What `../client.c` does, for machines without a C compiler: slower, so that figures are limited by the client.
 *
 * @module
 */

import { type Bytes, concat } from "../../../src/base/bytes.ts";

const BLOCK = 64;

function fromHex(hex: string): Bytes {
  return Uint8Array.from(hex.match(/../g) ?? [], (pair) => parseInt(pair, 16));
}

function repeated(bytes: Bytes, times: number): Bytes {
  return concat(Array.from({ length: times }, () => bytes));
}

function nowNs(): number {
  return Math.round((performance.timeOrigin + performance.now()) * 1e6);
}

async function waitForStart(): Promise<void> {
  if (await Deno.stdin.read(new Uint8Array(1)) !== 1) throw new Error("no start on stdin");
}

async function writeAll(conn: Deno.Conn, bytes: Bytes): Promise<void> {
  for (let at = 0; at < bytes.length;) at += await conn.write(bytes.subarray(at));
}

/** Checks a stream that repeats the same bytes, and counts how often they have come whole. */
class Repeats {
  #at = 0;
  whole = 0;

  constructor(private readonly wanted: Bytes) {}

  take(got: Bytes): void {
    for (const byte of got) {
      if (byte !== this.wanted[this.#at]) throw new Error("other bytes came than expected");
      if (++this.#at < this.wanted.length) continue;
      this.#at = 0;
      this.whole++;
    }
  }
}

async function readInto(conn: Deno.Conn, buffer: Bytes): Promise<Bytes> {
  const count = await conn.read(buffer);
  if (count === null) throw new Error("the stream ended too early");
  return buffer.subarray(0, count);
}

async function expect(conn: Deno.Conn, wanted: Bytes, buffer: Bytes): Promise<void> {
  const repeats = new Repeats(wanted);
  while (repeats.whole === 0) repeats.take(await readInto(conn, buffer));
}

async function call(path: string, request: Bytes, answer: Bytes, count: number): Promise<void> {
  const ns = new Uint32Array(count);
  const buffer = new Uint8Array(4096);
  await waitForStart();
  const start = nowNs();
  for (let i = 0; i < count; i++) {
    const from = performance.now();
    const conn = await Deno.connect({ transport: "unix", path });
    await writeAll(conn, request);
    await expect(conn, answer, buffer);
    conn.close();
    ns[i] = (performance.now() - from) * 1e6;
  }
  await print(start, ns);
}

async function kept(
  path: string,
  request: Bytes,
  answer: Bytes,
  count: number,
  window: number,
): Promise<void> {
  const ns = new Uint32Array(count);
  const sentAt = new Float64Array(count);
  const buffer = new Uint8Array(65536);
  const block = repeated(request, BLOCK);
  const answers = new Repeats(answer);
  const conn = await Deno.connect({ transport: "unix", path });
  await waitForStart();
  const start = nowNs();
  for (let sent = 0; answers.whole < count;) {
    const room = window - (sent - answers.whole);
    if (sent < count && room > Math.floor(window / 2)) {
      const many = Math.min(room, BLOCK, count - sent);
      sentAt.fill(performance.now(), sent, sent + many);
      await writeAll(conn, block.subarray(0, many * request.length));
      sent += many;
      continue;
    }
    const before = answers.whole;
    answers.take(await readInto(conn, buffer));
    const now = performance.now();
    for (let i = before; i < answers.whole; i++) ns[i] = (now - sentAt[i]!) * 1e6;
  }
  await print(start, ns);
  conn.close();
}

async function fan(
  [path, request, accepted, message, count, window, subscribers, port, connect, publish]: [
    string,
    Bytes,
    Bytes,
    Bytes,
    number,
    number,
    number,
    number,
    Bytes,
    Bytes,
  ],
): Promise<void> {
  const buffer = new Uint8Array(65536);
  const conns: Deno.Conn[] = [];
  for (let i = 0; i < subscribers; i++) {
    const conn = await Deno.connect({ transport: "unix", path });
    conns.push(conn);
    await writeAll(conn, request);
    if (accepted.length > 0) await expect(conn, accepted, buffer);
  }
  const feeder = await Deno.connect({ port });
  await writeAll(feeder, connect);
  await expect(feeder, new Uint8Array([0x20, 2, 0, 0]), buffer);
  const counts = conns.map(() => new Repeats(message));
  const blocks = repeated(publish, window);
  let onProgress = (): void => {};
  let over = false;
  const reading = conns.map(async (conn, i) => {
    const own = new Uint8Array(65536);
    while (!over && counts[i]!.whole < count) {
      counts[i]!.take(await readInto(conn, own));
      onProgress();
    }
  });
  await waitForStart();
  const start = nowNs();
  for (let fed = 0; fed < count;) {
    const got = Math.min(...counts.map(({ whole }) => whole));
    const room = Math.min(got + window, count) - fed;
    if (room > Math.floor(window / 2) || (fed + room === count && room > 0)) {
      await writeAll(feeder, blocks.subarray(0, room * publish.length));
      fed += room;
    } else await new Promise<void>((resolve) => onProgress = resolve);
  }
  await Promise.all(reading);
  over = true;
  await print(start, new Uint32Array(0));
  for (const conn of [...conns, feeder]) conn.close();
}

async function print(start: number, ns: Uint32Array<ArrayBuffer>): Promise<void> {
  const line = new TextEncoder().encode(`${start} ${nowNs()}\n`);
  const bytes = concat([line, new Uint8Array(ns.buffer)]);
  for (let at = 0; at < bytes.length;) at += await Deno.stdout.write(bytes.subarray(at));
}

const [mode, path = "", ...args] = Deno.args;
const hex = (index: number): Bytes => fromHex(args[index] ?? "");
if (mode === "call") await call(path, hex(0), hex(1), Number(args[2]));
else if (mode === "kept") await kept(path, hex(0), hex(1), Number(args[2]), Number(args[3]));
else if (mode === "fan") {
  const [count, window, subscribers, port] = args.slice(3, 7).map(Number) as [
    number,
    number,
    number,
    number,
  ];
  await fan([
    ...[path, hex(0), hex(1), hex(2), count, window, subscribers, port, hex(7), hex(8)] as const,
  ]);
} else throw new Error("usage: see the top of ../client.c");
