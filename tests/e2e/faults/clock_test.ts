/** The wall clock jumps, as at the first answer of a time server. In this process, where the clock is the test's. */

import { assertEquals, assertGreater, assertLessOrEqual } from "../../deps.ts";
import { type Clock, systemClock } from "../../../src/base/clock.ts";
import { call } from "../../../src/bus/client.ts";
import { readStatus } from "../../../src/status/codec.ts";
import { resolveConfig } from "../../../src/config/resolve.ts";
import { startDaemon } from "../../../src/daemon/daemon.ts";
import { publish, untilConnected } from "../../support/daemon.ts";
import { fakeLog } from "../../support/fake_log.ts";
import { waitFor } from "../../support/wait.ts";
import { assertServes, type DaemonDependencies, taken, world } from "./scene.ts";

const DAY_MS = 86_400_000;
const YEARS_MS = 50 * 365 * DAY_MS;

/** The longest message expiry, in seconds. */
const FOR_EVER_S = 0xffff_ffff;

/** A daemon whose wall clock can be set. */
async function jumpingDaemon({ core, files, busDir, dir }: DaemonDependencies) {
  let offset = 0;
  const clock: Clock = { ...systemClock, wallNow: () => Date.now() + offset };
  const { rootca, cert, key } = files;
  const endpoint = `${core.host}:${core.port}`;
  const given = { endpoint, id: "thing", rootca, cert, key, busDir, spool: `${dir}/spool` };
  const config = resolveConfig(given, {}, new Map(), 1);
  const daemon = await startDaemon(config, { clock, log: fakeLog(), random: () => 0.1 });
  return {
    jump: (ms: number) => void (offset += ms),
    [Symbol.asyncDispose]: async () => void await daemon.stop(),
  };
}

for (const [what, ms] of [["forward", YEARS_MS], ["back", -YEARS_MS]] as const) {
  Deno.test(`a wall clock that jumps ${what} by 50 years while messages wait loses none of them`, async () => {
    await using place = await world();
    const { core, socket } = place;
    await using daemon = await jumpingDaemon(place);
    await untilConnected(socket);
    await core.close();
    await publish(socket, { topic: "t", payload: "before", qos: 1 });
    daemon.jump(ms);
    await publish(socket, { topic: "t", payload: "after", qos: 1 });
    const { spool } = readStatus(await call(socket, "status"));
    assertEquals([spool.messages, spool.oldest_age_ms >= 0], [2, true]);
    await core.reopen();
    await waitFor("both", () => core.published.length === 2, 20_000);
    assertEquals(taken(core), ["before", "after"]);
    await assertServes(socket);
  });
}

Deno.test("a clock that is set by ten years while messages wait makes no expiry longer, and none shorter", async () => {
  for (const ms of [10 * 365 * DAY_MS, -10 * 365 * DAY_MS]) {
    await using place = await world();
    const { core, socket } = place;
    await using daemon = await jumpingDaemon(place);
    await untilConnected(socket);
    await core.close();
    const expiries = [FOR_EVER_S, 60];
    for (const messageExpiry of expiries) {
      await publish(socket, { topic: "t", payload: "text", qos: 1, messageExpiry });
    }
    daemon.jump(ms);
    await core.reopen();
    await waitFor("both", () => core.published.length === 2, 20_000);
    const left = core.received("publish").map(({ packet }) =>
      Number(packet.properties?.messageExpiryInterval)
    );
    left.forEach((seconds, n) => {
      assertLessOrEqual(seconds, expiries[n]!);
      assertGreater(seconds, expiries[n]! - 30);
    });
    await assertServes(socket);
  }
});
