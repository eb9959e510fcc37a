import { type Bytes, concat } from "../../src/base/bytes.ts";
import { BusErrorCode, codeName } from "../../src/base/errors.ts";
import type { Log } from "../../src/base/log.ts";
import type { MethodTable } from "../../src/bus/methods.ts";
import { ReaderPool } from "../../src/wire/frame_reader.ts";
import { FullQueues } from "../../src/bus/full_queues.ts";
import { PartialFrames } from "../../src/bus/partial_frames.ts";
import { Session, type SessionHost } from "../../src/bus/session.ts";
import { ConnectionStatusFeed } from "../../src/daemon/readiness.ts";
import { busMethods } from "../../src/daemon/bus_methods.ts";
import { StatusReport } from "../../src/daemon/status_report.ts";
import { Subscriptions } from "../../src/subscribe/subscriptions.ts";
import { encodeFrame } from "../../src/wire/frame.ts";
import { FakeClock } from "../support/fake_clock.ts";
import { publishing } from "../support/publishing.ts";
import type { Random } from "../support/random.ts";
import { FakeConn } from "../unit/bus/fake_conn.ts";
import { Quarantine } from "../../src/publish/quarantine.ts";
import { FakePool, openGate } from "../unit/subscribe/fakes.ts";
import { FRAMES, VALUES } from "./corpus.ts";
import { mended, mutated } from "./mutate.ts";
import type { Target } from "./targets.ts";

const METHODS = ["publish", "subscribe", "connection_status", "status", "constructor", ""];

/** Turns of the event loop's microtasks after which a session that has not ended is stuck. */
const TURNS = 1_000;

/** Errors that may be logged, of which one is a bug. */
class Bugs implements Log {
  found: string | undefined;
  debug(): void {}
  info(): void {}
  warn(): void {}
  error(text: string, fields: Readonly<Record<string, unknown>> = {}): void {
    this.found ??= `${text}: ${fields["error"]} ${fields["stack"]}`;
  }
}

/** The methods of the daemon, on a broker that takes everything at once. */
function daemonTable(clock: FakeClock, log: Log): MethodTable {
  const { spool, queue, gate, publisher, intake } = publishing(clock, log, { maxBytes: 100_000 });
  const pool = new FakePool();
  const subscriptions = new Subscriptions({
    maxConnections: 1,
    pool,
    gate: openGate,
    refusal: () => undefined,
    clock,
    log,
    onSynced: () => {},
  });
  subscriptions.start();
  subscriptions.up({ index: 0 }, { sessionPresent: false, receiveMaximum: 100 });
  const takeAll = {
    buffered: 0,
    renew: () => {},
    ping: (done: () => void) => done(),
    publish: (_: unknown, done: (result: { code: number; reason: string }) => void) => {
      done({ code: 0, reason: "" });
      return true;
    },
  };
  gate.up(takeAll);
  publisher.up(takeAll, 100);
  const connection = new ConnectionStatusFeed();
  const config = () => ({ maxInFlight: 100, maxConnections: 1 });
  const status = new StatusReport({
    gates: { counters: gate.counters, standings: () => gate.standings() },
    ...{ clock, subscriptions, intake, publisher, queue, spool, config },
    connections: new Map(),
    rejected: { count: 0 },
    readGate: { heldMs: 0 },
    clients: () => undefined,
    certificateExpires: () => undefined,
    waiting: () => undefined,
  });
  const quarantine = new Quarantine({ spool, gate, clock });
  const reconnect = (): void => {};
  return busMethods({
    ...{ intake, subscriptions, connection, status, quarantine, reconnect, log },
  });
}

/** Streams of requests to one session each, which has to answer, refuse or close. */
export class SessionTarget implements Target {
  readonly name = "sessions";
  readonly share = 0.3;
  readonly #clock = new FakeClock();
  readonly #bugs = new Bugs();
  readonly #table: MethodTable;
  readonly #readers = new ReaderPool();
  #id = 0;

  /** @param table Instead of that of the daemon. */
  constructor(table?: MethodTable) {
    this.#table = table ?? daemonTable(this.#clock, this.#bugs);
  }

  input(random: Random): Bytes {
    if (random.int(2) === 0) return requests(random);
    const bytes = mutated(FRAMES, random);
    return random.int(8) === 0 ? bytes : mended(bytes);
  }

  async run(input: Bytes): Promise<string> {
    const conn = new FakeConn();
    let isOver = false;
    const host: SessionHost = {
      table: this.#table,
      log: this.#bugs,
      readers: this.#readers,
      onRefused: () => {},
      fullQueues: new FullQueues(this.#clock, { hold: () => {}, release: () => {} }),
      partialFrames: new PartialFrames(),
      onDirty: (session) => session.flush(),
      onGone: () => isOver = true,
    };
    const session = new Session(++this.#id, conn, host);
    conn.feed(input.slice());
    conn.end();
    await session.run();
    for (let turn = 0; turn < TURNS && !isOver; turn++) await Promise.resolve();
    this.#clock.advance(100);
    const bug = this.#bugs.found;
    this.#bugs.found = undefined;
    if (bug !== undefined) throw new Error(bug);
    if (!isOver) throw new Error("The session has not ended");
    return whatCame(conn);
  }
}

/** One to three requests whose frames are right, as to methods, with parameters that need not be. */
function requests(random: Random): Bytes {
  const some = Array.from({ length: 1 + random.int(3) }, () => {
    const type = random.int(8) === 0 ? random.int(5) - 1 : random.pick([0, 1, 1, 2]);
    const headers = new Map<string, string | number>([
      ["method", random.pick(METHODS)],
      ["type", type],
    ]);
    return encodeFrame(headers, mutated(VALUES, random));
  });
  return concat(some);
}

/** What the client got: a client that does everything right gets at most one error frame, and nothing after it. */
function whatCame(conn: FakeConn): string {
  const frames = conn.frames();
  const at = frames.findIndex(({ headers }) => headers.has("error"));
  if (at < 0) return frames.length === 0 ? "closed" : "ok";
  if (at !== frames.length - 1) throw new Error("A frame came after an error frame");
  const code = Number(frames[at]!.headers.get("error"));
  if (code === BusErrorCode.FAILURE) throw new Error("FAILURE without a line in the log");
  return codeName(code);
}
