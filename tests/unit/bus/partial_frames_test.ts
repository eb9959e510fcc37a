import { decodeFrame } from "../../../src/wire/frame.ts";
import { crc32 } from "../../../src/wire/crc.ts";
import { MAX_PARTIAL_BYTES } from "../../../src/bus/limits.ts";
import { BusErrorCode } from "../../../src/base/errors.ts";
import { assert, assertEquals, assertLess, pureTest } from "../../deps.ts";
import { waitFor } from "../../support/wait.ts";
import type { FakeConn } from "./fake_conn.ts";
import { Harness } from "./harness.ts";

const FRAME_BYTES = 1_000_000;

/** The first bytes of a frame that announces {@linkcode FRAME_BYTES}. */
function begun(bytes: number): Uint8Array<ArrayBuffer> {
  const part = new Uint8Array(bytes);
  const view = new DataView(part.buffer);
  view.setUint32(0, FRAME_BYTES);
  view.setUint32(8, crc32(part.subarray(0, 8)));
  return part;
}

pureTest(
  "what is reserved for frames grows with what came of them, not with what they announce",
  async () => {
    await using scene = new Harness({});
    const conn = await scene.connect();
    for (const [bytes, most] of [[100, 0], [9_900, 20_000], [90_000, 200_000]] as const) {
      conn.feed(bytes === 100 ? begun(bytes) : new Uint8Array(bytes));
      await scene.connect();
      await waitFor("the bytes", () => scene.server.counters().partialBytes <= most);
      assertLess(scene.server.counters().partialBytes, most + 1);
    }
    conn.end();
    await waitFor("the end", () => scene.server.counters().partialBytes === 0);
  },
);

pureTest(
  "over their bound, the incomplete frame that is oldest without progress is refused",
  async () => {
    await using scene = new Harness({});
    const count = Math.ceil(MAX_PARTIAL_BYTES / FRAME_BYTES) + 1;
    const conns: FakeConn[] = [];
    for (let n = 0; n < count; n++) {
      const conn = await scene.connect();
      conns.push(conn);
      conn.feed(begun(100));
      // The first one makes progress all the time.
      for (let part = 0; part < 9; part++) {
        conn.feed(new Uint8Array(100_000));
        if (part === 4) conns[0]!.feed(new Uint8Array(1_000));
        await scene.connect();
      }
      assertLess(scene.server.counters().partialBytes, MAX_PARTIAL_BYTES + 1);
    }
    const refused = await waitFor("a refusal", () => {
      const found = conns.flatMap((conn, n) => conn.closed ? [n] : []);
      return found.length > 0 ? found : undefined;
    });
    assertEquals(refused[0], 1);
    assert(!conns[0]!.closed);
    const { headers } = decodeFrame(conns[1]!.writes[0]!);
    assertEquals(headers.get("error"), BusErrorCode.NOMEM);
    assertEquals(scene.log.of("refused an incomplete frame").length, refused.length);
  },
);
