import { createLog } from "../../../src/base/log.ts";
import { RateLimitedLog } from "../../../src/base/rate_limited_log.ts";
import { ConnectError } from "../../../src/mqtt/connect_error.ts";
import { INITIAL, type State, step } from "../../../src/mqtt/connection_state.ts";
import { assert, assertLess, pureTest } from "../../deps.ts";
import { FakeClock } from "../../support/fake_clock.ts";
import { Random } from "../../support/random.ts";

const DAY_MS = 86_400_000;

/** Bytes of log in 24 hours of a broker that answers each CONNECT in the same way. */
function bytesOfADay(failure: ConnectError): number {
  const clock = new FakeClock();
  let bytes = 0;
  const log = new RateLimitedLog(
    createLog({
      level: "info",
      format: "json",
      write: (line) => bytes += line.length,
      wallNow: () => clock.wallNow(),
    }),
    clock,
  );
  const chance = new Random(7);
  let state: State = step(INITIAL, { type: "start", now: 0, random: 0 }).state;
  while (clock.now() < DAY_MS) {
    const random = chance.float();
    if (state.type === "waiting") {
      clock.advance(state.until - clock.now());
      state = step(state, { type: "timer", now: clock.now(), random }).state;
    }
    const next = step(state, { type: "refused", failure, now: clock.now(), random });
    for (const effect of next.effects) {
      if (effect.type === "log") {
        log[effect.level](effect.text, { client: "thing", ...effect.fields });
      }
    }
    state = next.state;
  }
  return bytes;
}

pureTest(
  "24 hours of a broker that refuses or closes each CONNECT are logged in less than 1 MB",
  () => {
    for (
      const failure of [
        new ConnectError(
          "connack",
          "connack",
          "broker.example:8883 refused with 0x89 (server busy)",
          {
            code: 0x89,
          },
        ),
        new ConnectError(
          "connack",
          "closed",
          "broker.example:8883 closed the connection before CONNACK",
        ),
      ]
    ) {
      const bytes = bytesOfADay(failure);
      assert(bytes > 1_000, "the broker was asked");
      assertLess(bytes, 1_000_000, failure.message);
    }
  },
);
