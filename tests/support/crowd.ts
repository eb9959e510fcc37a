/**
 * Clients that a daemon has to live with: some write a byte now and then, some subscribe and never read, most just sit there.
 * As a program of its own (`deno run -A crowd.ts SOCKET FILTER`) it prints `ready` and stays until its input ends.
 *
 * @module
 */

import { type Bytes, utf8 } from "../../src/base/bytes.ts";
import { encodeValueFrame } from "../../src/wire/frame.ts";
import type { Value } from "../../src/wire/object.ts";

/** How many of each kind. */
export interface CrowdSizes {
  /** Write one byte of a request each 100 ms; closed for it, they come back. */
  readonly writers: number;
  /** Subscribe and never read; they come back each 3 s, closed for it or not. */
  readonly deaf: number;
  /** Connect and say nothing. */
  readonly idle: number;
}

/** The crowd. */
export const BAD_COMPANY: CrowdSizes = { writers: 50, deaf: 50, idle: 500 };

/** How long a writer waits between two bytes, in ms. */
const BYTE_MS = 100;

/** How long a deaf subscriber stays, in ms. */
const DEAF_MS = 3_000;

/** A crowd that is there. */
export interface Crowd extends AsyncDisposable {
  /** Bytes written one by one so far. */
  readonly bytes: number;
}

/** A request frame. */
export function requestFrame(
  type: 0 | 1 | 2,
  method: string,
  params: Readonly<Record<string, Value>> = {},
): Bytes {
  const headers = new Map<string, string | number>([["method", method], ["type", type]]);
  return encodeValueFrame(new Map(Object.entries(params)), headers);
}

/** Opens a connection to the bus. */
export function open(socket: string): Promise<Deno.UnixConn> {
  return Deno.connect({ transport: "unix", path: socket });
}

/** Writes all of it, if the other side lets it. */
export async function writeAll(conn: Deno.Conn, bytes: Bytes): Promise<void> {
  for (let at = 0; at < bytes.length;) at += await conn.write(bytes.subarray(at));
}

/** Lets a crowd in; everyone is connected when this resolves. The deaf subscribe to `filter`. */
export async function startCrowd(
  socket: string,
  filter: string,
  { writers, deaf, idle }: CrowdSizes = BAD_COMPANY,
): Promise<Crowd> {
  const conns = new Set<Deno.UnixConn>();
  const work: Promise<void>[] = [];
  let going = true;
  let bytes = 0;
  const enter = async (): Promise<Deno.UnixConn> => {
    const conn = await open(socket);
    conns.add(conn);
    return conn;
  };
  const leave = (conn: Deno.UnixConn): void => {
    conns.delete(conn);
    conn.close();
  };
  const pause = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, BYTE_MS));
  const subscribe = async (): Promise<Deno.UnixConn> => {
    const conn = await enter();
    await writeAll(conn, requestFrame(2, "subscribe", { topic_filter: utf8(filter) }));
    return conn;
  };
  const beDeaf = async (first: Deno.UnixConn): Promise<void> => {
    for (let conn = first; going; conn = await subscribe()) {
      for (let ms = 0; ms < DEAF_MS && going; ms += BYTE_MS) await pause();
      if (going) leave(conn);
    }
  };
  const frame = requestFrame(1, "publish", { topic: utf8("slow"), payload: new Uint8Array(1_000) });
  const write = async (first: Deno.UnixConn): Promise<void> => {
    for (let conn = first; going; conn = await enter()) {
      try {
        for (let at = 0; at < frame.length && going; at++) {
          bytes += await conn.write(frame.subarray(at, at + 1));
          await pause();
        }
      } catch {
        // The daemon does not wait for a frame longer than 5 s.
        leave(conn);
      }
    }
  };
  for (let i = 0; i < idle; i++) await enter();
  for (let i = 0; i < deaf; i++) work.push(beDeaf(await subscribe()));
  for (let i = 0; i < writers; i++) work.push(write(await enter()));
  return {
    get bytes(): number {
      return bytes;
    },
    [Symbol.asyncDispose]: async () => {
      going = false;
      await Promise.all(work);
      for (const conn of conns) conn.close();
    },
  };
}

if (import.meta.main) {
  const [socket, filter] = Deno.args;
  const crowd = await startCrowd(socket!, filter!);
  Deno.stdout.writeSync(utf8("ready\n"));
  for await (const _ of Deno.stdin.readable);
  await crowd[Symbol.asyncDispose]();
}
