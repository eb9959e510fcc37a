import { utf8 } from "../../../src/base/bytes.ts";
import type { Bytes } from "../../../src/base/bytes.ts";
import type { Fields, Level, Log } from "../../../src/base/log.ts";
import { RateLimitedLog } from "../../../src/base/rate_limited_log.ts";
import type { MethodTable } from "../../../src/bus/methods.ts";
import { type BusServer, serve } from "../../../src/bus/server.ts";
import { encodeValueFrame } from "../../../src/wire/frame.ts";
import type { Value } from "../../../src/wire/object.ts";
import { FakeClock } from "../../support/fake_clock.ts";
import { waitFor } from "../../support/wait.ts";
import { FakeConn, FakeListener } from "./fake_conn.ts";

/** A line that was logged. */
export interface Line {
  readonly level: Level;
  readonly text: string;
  readonly fields: Fields;
}

/** A log that remembers. */
export class MemoryLog implements Log {
  readonly lines: Line[] = [];
  debug = (text: string, fields: Fields = {}): void => this.#add("debug", text, fields);
  info = (text: string, fields: Fields = {}): void => this.#add("info", text, fields);
  warn = (text: string, fields: Fields = {}): void => this.#add("warn", text, fields);
  error = (text: string, fields: Fields = {}): void => this.#add("error", text, fields);

  #add(level: Level, text: string, fields: Fields): void {
    this.lines.push({ level, text, fields });
  }

  /** The lines with this text. */
  of(text: string): Line[] {
    return this.lines.filter((line) => line.text === text);
  }
}

/** A server on connections in memory, with a clock and a log of the test's. */
export class Harness implements AsyncDisposable {
  readonly clock = new FakeClock();
  readonly log = new MemoryLog();
  readonly listener = new FakeListener();
  readonly server: BusServer;
  /** Whether nothing should be sent to subscribers. */
  held = false;

  constructor(table: MethodTable, maxClients?: number) {
    const { clock } = this;
    const log = new RateLimitedLog(this.log, clock);
    const backPressure = {
      hold: () => void (this.held = true),
      release: () => void (this.held = false),
    };
    const options = { table, clock, log, backPressure };
    this.server = serve(
      this.listener,
      maxClients === undefined ? options : { ...options, maxClients },
    );
  }

  /** A client, once the server has it. */
  async connect(): Promise<FakeConn> {
    const before = this.server.counters().total;
    const conn = new FakeConn();
    this.listener.put(conn);
    await waitFor("the client to be accepted", () => this.server.counters().total > before);
    return conn;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.server.close(0);
  }
}

/** A request frame. */
export function request(
  type: number,
  method: string,
  params: Readonly<Record<string, Value>> = {},
): Bytes {
  const headers = new Map<string, string | number>([["method", method], ["type", type]]);
  return encodeValueFrame(new Map(Object.entries(params)), headers);
}

/** A `call` frame. */
export function callFrame(method: string, params: Readonly<Record<string, Value>> = {}): Bytes {
  return request(1, method, params);
}

/** A `subscribe` frame. */
export function subscribeFrame(
  method: string,
  params: Readonly<Record<string, Value>> = {},
): Bytes {
  return request(2, method, params);
}

/** The frame of one published message, as a daemon sends it to subscribers. */
export function valueFrame(text: string): Bytes {
  return encodeValueFrame(utf8(text));
}
