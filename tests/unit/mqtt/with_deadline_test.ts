import { ConnectError } from "../../../src/mqtt/connect_error.ts";
import { withDeadline } from "../../../src/mqtt/with_deadline.ts";
import { assertEquals, assertRejects, assertStringIncludes } from "../../deps.ts";
import { FakeClock } from "../../support/fake_clock.ts";

const pure = { permissions: "none" } as const;

function options(clock: FakeClock, signal?: AbortSignal): Parameters<typeof withDeadline>[0] {
  return {
    stage: "tls",
    where: "broker:8883",
    what: "the TLS handshake",
    ms: 10_000,
    clock,
    signal,
  };
}

Deno.test("a step that takes too long fails by its deadline and is undone", pure, async () => {
  const clock = new FakeClock();
  let undone = 0;
  const step = withDeadline(options(clock), () => () => void undone++);
  clock.advance(9_999);
  assertEquals(undone, 0);
  clock.advance(1);
  const error = await assertRejects(() => step, ConnectError);
  assertEquals([error.stage, error.kind, undone], ["tls", "timeout", 1]);
  assertEquals(error.message, "broker:8883: the TLS handshake took longer than 10000 ms");
});

Deno.test(
  "a step that ends, well or badly, at once or later, leaves no timer and is undone once",
  pure,
  async () => {
    const clock = new FakeClock();
    let undone = 0;
    const undo = (): void => void undone++;
    assertEquals(await withDeadline<number>(options(clock), ({ done }) => (done(1), undo)), 1);
    const failed = withDeadline(options(clock), ({ done, fail }) => {
      fail(new Error("first"));
      fail(new Error("second"));
      done(1);
      return undo;
    });
    const error = await assertRejects(() => failed, ConnectError);
    assertEquals(error.kind, "other");
    assertEquals([undone, clock.timers], [2, 0]);
  },
);

Deno.test("a step can be given up before and while it runs", pure, async () => {
  const clock = new FakeClock();
  const abort = new AbortController();
  let undone = 0;
  const running = withDeadline(options(clock, abort.signal), () => () => void undone++);
  abort.abort();
  assertEquals((await assertRejects(() => running, ConnectError)).kind, "aborted");
  let started = 0;
  const never = withDeadline(options(clock, abort.signal), () => {
    started++;
    return () => {};
  });
  assertEquals((await assertRejects(() => never, ConnectError)).kind, "aborted");
  assertEquals([undone, started, clock.timers], [1, 0, 0]);
});

Deno.test(
  "what the step or one of its callbacks throws fails it, by the callback's name",
  pure,
  async () => {
    const clock = new FakeClock();
    const boom = (): never => {
      throw new Error("boom");
    };
    const atOnce = await assertRejects(() => withDeadline(options(clock), boom), ConnectError);
    assertEquals([atOnce.kind, (atOnce.cause as Error).message], ["fault", "boom"]);
    let callback = (): void => {};
    let undone = 0;
    const later = withDeadline(options(clock), ({ guarded }) => {
      callback = guarded("data", boom);
      return () => void undone++;
    });
    callback();
    const error = await assertRejects(() => later, ConnectError);
    assertEquals(error.kind, "fault");
    assertStringIncludes(error.message, 'an exception in the callback "data": boom');
    assertEquals([undone, clock.timers], [1, 0]);
  },
);

Deno.test(
  "a callback that throws a failure of its own fails the step with that",
  pure,
  async () => {
    const refused = new ConnectError("proxy", "proxy", "403");
    const step = withDeadline(options(new FakeClock()), ({ guarded }) => {
      guarded("data", () => {
        throw refused;
      })();
      return () => {};
    });
    assertEquals(await assertRejects(() => step, ConnectError), refused);
  },
);
