import { utf8 } from "../../src/base/bytes.ts";
import { RequestType } from "../../src/bus/request.ts";
import { decodeFrame, encodeValueFrame, type Frame } from "../../src/wire/frame.ts";
import { decodeValue, type Value, type ValueMap } from "../../src/wire/object.ts";

/** What the C client of nucleus lite can take, in bytes: it closes its subscription on a larger frame. */
export const C_BUFFER_BYTES = 10_000;

/**
 * A connection as the C client of nucleus lite has it: a buffer of fixed size, one request, and no second connection, whatever
 * happens to the first.
 */
class CConnection {
  readonly #buffer = new Uint8Array(C_BUFFER_BYTES);

  private constructor(private readonly conn: Deno.UnixConn) {}

  static async open(
    socket: string,
    method: string,
    type: RequestType,
    params: ValueMap,
  ): Promise<CConnection> {
    const conn = await Deno.connect({ transport: "unix", path: socket });
    const headers = new Map<string, string | number>([["method", method], ["type", type]]);
    const bytes = encodeValueFrame(params, headers);
    for (let at = 0; at < bytes.length;) at += await conn.write(bytes.subarray(at));
    return new CConnection(conn);
  }

  /** The next frame; throws when the daemon closed, or when the frame does not fit. */
  async frame(): Promise<Frame> {
    const total = new DataView((await this.#read(0, 4)).buffer).getUint32(0);
    if (total > C_BUFFER_BYTES) throw new Error(`A frame of ${total} bytes does not fit`);
    await this.#read(4, total);
    const frame = decodeFrame(this.#buffer.slice(0, total));
    if (frame.headers.has("error")) {
      throw new Error(`The daemon refused: ${frame.headers.get("error")}`);
    }
    return frame;
  }

  close(): void {
    try {
      this.conn.close();
    } catch (error) {
      // Closed while it was read.
      if (!(error instanceof Deno.errors.BadResource)) throw error;
    }
  }

  async #read(from: number, to: number): Promise<Uint8Array> {
    for (let at = from; at < to;) {
      const count = await this.conn.read(this.#buffer.subarray(at, to));
      if (count === null) throw new Error("The daemon closed the connection");
      at += count;
    }
    return this.#buffer;
  }
}

/** Publishes at QoS 1 over a connection of its own. There is no second try: a C component takes a failure as one. */
export async function cPublish(socket: string, topic: string, payload: string): Promise<void> {
  const params = new Map<string, Value>([
    ["topic", utf8(topic)],
    ["payload", utf8(payload)],
    ["qos", 1n],
  ]);
  const connection = await CConnection.open(socket, "publish", RequestType.CALL, params);
  try {
    await connection.frame();
  } finally {
    connection.close();
  }
}

/** A subscription that is never made again. */
export interface CSubscriber extends AsyncDisposable {
  /** What came, in order. */
  readonly got: readonly Value[];
  /** Why it is over; `undefined` while it stands. */
  readonly ended: string | undefined;
}

/** Subscribes to a method of the daemon; it is accepted when this resolves. */
export async function cSubscribe(
  socket: string,
  method: string,
  params: ValueMap = new Map(),
): Promise<CSubscriber> {
  const connection = await CConnection.open(socket, method, RequestType.SUBSCRIBE, params);
  await connection.frame();
  const got: Value[] = [];
  let ended: string | undefined;
  const reading = (async () => {
    try {
      while (true) got.push(decodeValue((await connection.frame()).payload));
    } catch (error) {
      ended = (error as Error).message;
    }
  })();
  return {
    got,
    get ended() {
      return ended;
    },
    [Symbol.asyncDispose]: async () => {
      connection.close();
      await reading;
    },
  };
}
