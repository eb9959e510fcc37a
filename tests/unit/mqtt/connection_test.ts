import { utf8 } from "../../../src/base/bytes.ts";
import { ExitError } from "../../../src/base/errors.ts";
import type { Log } from "../../../src/base/log.ts";
import { onUncaught } from "../../../src/base/uncaught.ts";
import { ConnectError } from "../../../src/mqtt/connect_error.ts";
import { Connection } from "../../../src/mqtt/connection.ts";
import type { Attempt, Target } from "../../../src/mqtt/dial.ts";
import type {
  LinkEnd,
  LinkHandler,
  MqttLink,
  OutgoingPublish,
  PublishResult,
  SubscribeResult,
} from "../../../src/mqtt/link.ts";
import { assert, assertEquals } from "../../deps.ts";
import { FakeClock } from "../../support/fake_clock.ts";

const pure = { permissions: "none" } as const;
const GRANTED: SubscribeResult = { code: 1, reason: "" };

/** A link whose other side is the test. */
class FakeLink implements MqttLink {
  connack = { sessionPresent: false, receiveMaximum: 100 };
  readonly address = "192.0.2.1:8883";
  buffered = 0;
  readonly published: OutgoingPublish[] = [];
  readonly answers: ((result: PublishResult | undefined) => void)[] = [];
  readonly requests: ((ended: boolean) => void)[] = [];
  readonly closes: boolean[] = [];
  readonly pings: (() => void)[] = [];
  /** The broker does not hang up after DISCONNECT. */
  lingers = false;
  onPublish = (): void => {};
  over = false;

  constructor(readonly handler: LinkHandler) {}

  publish(message: OutgoingPublish, done: (result: PublishResult | undefined) => void): void {
    this.onPublish();
    this.published.push(message);
    if (message.qos === 0) done({ code: 0, reason: "" });
    else this.answers.push(done);
  }

  subscribe(filters: readonly string[]): Promise<readonly SubscribeResult[] | undefined> {
    return new Promise((resolve) => {
      this.requests.push((ended) => resolve(ended ? undefined : filters.map(() => GRANTED)));
    });
  }

  unsubscribe(filters: readonly string[]): Promise<readonly SubscribeResult[] | undefined> {
    return new Promise((resolve) => {
      this.requests.push((ended) => resolve(ended ? undefined : filters.map(() => GRANTED)));
    });
  }

  ping(done: () => void): void {
    this.pings.push(done);
  }

  close(force = false): Promise<void> {
    this.closes.push(force);
    if (force || !this.lingers) this.end({ by: "local", reason: "closed here" });
    return Promise.resolve();
  }

  end(end: LinkEnd): void {
    if (this.over) return;
    this.over = true;
    for (const answer of this.answers.splice(0)) answer(undefined);
    for (const request of this.requests.splice(0)) request(true);
    this.handler.onEnd(end);
  }
}

interface Call {
  readonly target: Target;
  readonly attempt: Attempt;
  readonly link: FakeLink;
  accept(): Promise<void>;
  refuse(error: Error): Promise<void>;
}

function targetOf(changes: Partial<Target> = {}): Target {
  return {
    host: "broker",
    port: 8883,
    clientId: "thing",
    version: "5",
    keepAliveS: 60,
    credentials: { rootca: "/ca", cert: "/cert", key: "/key" },
    ...changes,
  };
}

/** Promises of the driver settle within a few turns of the microtask queue. */
async function settle(): Promise<void> {
  for (let turn = 0; turn < 20; turn++) await Promise.resolve();
}

class Bench {
  readonly clock = new FakeClock();
  readonly calls: Call[] = [];
  readonly happened: string[] = [];
  readonly failures: ExitError[] = [];
  readonly logged: string[] = [];
  target: Target | Error = targetOf();
  onDial = (): void => {};
  readonly connection: Connection;

  constructor() {
    const write = (text: string): void => void this.logged.push(text);
    const log: Log = { debug: write, info: write, warn: write, error: write };
    this.connection = new Connection({
      target: () => {
        if (this.target instanceof Error) throw this.target;
        return this.target;
      },
      dial: (target, attempt, handler) => this.#dial(target, attempt, handler),
      handler: {
        onUp: () => void this.happened.push("up"),
        onDown: (end) => void this.happened.push(`down by ${end.by}`),
        onMessage: (topic) => void this.happened.push(`message ${topic}`),
        onFailed: (error) => void this.failures.push(error),
      },
      log,
      clock: this.clock,
      random: () => 0.5,
    });
  }

  #dial(target: Target, attempt: Attempt, handler: LinkHandler): Promise<MqttLink> {
    this.onDial();
    const link = new FakeLink(handler);
    return new Promise((resolve, reject) => {
      this.calls.push({
        target,
        attempt,
        link,
        accept: () => (resolve(link), settle()),
        refuse: (error) => (reject(error), settle()),
      });
    });
  }

  get call(): Call {
    return this.calls.at(-1)!;
  }

  async up(): Promise<FakeLink> {
    this.connection.start();
    await settle();
    await this.call.accept();
    return this.call.link;
  }
}

function message(qos: 0 | 1): OutgoingPublish {
  return { topic: "t", payload: utf8("x"), qos };
}

Deno.test("iotcored-2: connects at start, says so, and passes messages on", pure, async () => {
  const bench = new Bench();
  assertEquals(bench.connection.status.connected, false);
  const link = await bench.up();
  link.handler.onMessage("a", utf8("x"));
  assertEquals(bench.happened, ["up", "message a"]);
  assertEquals(bench.connection.status, {
    clientId: "thing",
    connected: true,
    since: bench.clock.wallNow(),
    address: "192.0.2.1:8883",
    allows: link.connack,
    inFlight: 0,
    lastError: undefined,
  });
  bench.connection.start();
  await settle();
  assertEquals(bench.calls.length, 1);
});

Deno.test(
  "iotcored-3: reconnects after a lost link and after a refusal, with the session",
  pure,
  async () => {
    const bench = new Bench();
    const link = await bench.up();
    bench.clock.advance(40_000);
    link.end({ by: "peer", reason: "reset" });
    assertEquals(bench.happened, ["up", "down by peer"]);
    assertEquals(bench.connection.status.lastError, "reset");
    assertEquals(bench.connection.status.since, undefined);
    bench.clock.advance(500);
    await settle();
    assertEquals(bench.calls.map(({ attempt }) => attempt.cleanStart), [true, false]);
    await bench.call.refuse(new ConnectError("tcp", "refused", "nobody listens"));
    assertEquals(bench.connection.status.lastError, "nobody listens");
    bench.clock.advance(1_000);
    await settle();
    await bench.call.accept();
    assertEquals(bench.happened, ["up", "down by peer", "up"]);
  },
);

Deno.test(
  "the first link and that of a new client id begin with a clean session, others do not",
  pure,
  async () => {
    for (const version of ["5", "3.1.1"] as const) {
      const bench = new Bench();
      bench.target = targetOf({ version });
      await bench.up();
      for (const clientId of ["thing", "other", "other"]) {
        bench.target = targetOf({ version, clientId });
        bench.connection.reconnect("changed");
        bench.clock.advance(1_000);
        await settle();
        assertEquals(bench.call.target, bench.target);
        await bench.call.accept();
      }
      const clean = bench.calls.map(({ attempt }) => attempt.cleanStart);
      assertEquals(clean, [true, false, true, false]);
    }
  },
);

Deno.test("publish says false without a link, and counts what is in flight", pure, async () => {
  const bench = new Bench();
  const results: unknown[] = [];
  const done = (result: unknown): void => void results.push(result);
  assertEquals(bench.connection.publish(message(1), done), false);
  const link = await bench.up();
  assertEquals(bench.connection.publish(message(0), done), true);
  assertEquals(bench.connection.publish(message(1), done), true);
  assertEquals(bench.connection.publish(message(1), done), true);
  assertEquals(bench.connection.status.inFlight, 2);
  link.answers.shift()!({ code: 0x10, reason: "" });
  assertEquals(bench.connection.status.inFlight, 1);
  link.end({ by: "peer", reason: "gone" });
  assertEquals(results, [{ code: 0, reason: "" }, { code: 0x10, reason: "" }, undefined]);
  assertEquals(bench.connection.status.inFlight, 0);
  assertEquals(bench.connection.publish(message(1), done), false);
});

Deno.test(
  "SUBSCRIBE, UNSUBSCRIBE and PINGREQ go over the link that is up, if there is one",
  pure,
  async () => {
    const bench = new Bench();
    assertEquals(await bench.connection.subscribe(["a"], 1), undefined);
    assertEquals(await bench.connection.unsubscribe(["a"]), undefined);
    let pings = 0;
    bench.connection.ping(() => pings++);
    const link = await bench.up();
    const granted = bench.connection.subscribe(["a", "b"], 1);
    link.requests.shift()!(false);
    assertEquals(await granted, [GRANTED, GRANTED]);
    bench.connection.ping(() => pings++);
    for (const answer of link.pings) answer();
    assertEquals(pings, 1);
  },
);

Deno.test(
  "iotcored-4: a refusal of the credentials ends the attempts with exit code 77",
  pure,
  async () => {
    const bench = new Bench();
    bench.connection.start();
    await settle();
    const said = "broker:8883 sent the TLS alert CertificateRevoked";
    await bench.call.refuse(
      new ConnectError("connack", "alert", said, { alert: "CertificateRevoked" }),
    );
    const [error] = bench.failures;
    assertEquals(error?.exit, 77);
    assertEquals(
      error?.message,
      `Cannot authenticate at broker:8883 as thing with the certificate /cert: ${said}`,
    );
    bench.clock.advance(1_000_000);
    await settle();
    assertEquals(bench.calls.length, 1);
    bench.connection.reconnect("a pool may try again");
    await settle();
    await bench.call.accept();
    assertEquals(bench.happened, ["up"]);
  },
);

Deno.test("a credential file that is wrong at the start ends with exit code 78", pure, async () => {
  const bench = new Bench();
  bench.connection.start();
  await settle();
  await bench.call.refuse(new ExitError(78, "Cannot use --cert /cert: it cannot be read"));
  assertEquals(bench.failures.map(({ exit, message }) => [exit, message]), [
    [78, "Cannot use --cert /cert: it cannot be read"],
  ]);
});

Deno.test("a target that cannot be had is retried", pure, async () => {
  const bench = new Bench();
  bench.target = new Error("no endpoint yet");
  bench.connection.start();
  await settle();
  assertEquals(bench.connection.status.lastError, "no endpoint yet");
  bench.target = targetOf();
  bench.clock.advance(500);
  await settle();
  await bench.call.accept();
  assertEquals(bench.happened, ["up"]);
});

Deno.test(
  "reconnect closes the link in good order and dials again with a fresh target",
  pure,
  async () => {
    const bench = new Bench();
    const link = await bench.up();
    bench.clock.advance(5_000);
    bench.target = targetOf({ host: "elsewhere" });
    bench.connection.reconnect("the endpoint changed");
    await settle();
    assertEquals(link.closes, [false]);
    assertEquals(bench.call.target.host, "elsewhere");
    await bench.call.accept();
    assertEquals(bench.happened, ["up", "down by local", "up"]);
  },
);

Deno.test(
  "renew makes another link of one that stands, and nothing without one",
  pure,
  async () => {
    const bench = new Bench();
    bench.connection.renew("nothing is acknowledged");
    const link = await bench.up();
    bench.clock.advance(5_000);
    bench.connection.renew("nothing is acknowledged");
    bench.connection.renew("nothing is acknowledged");
    await settle();
    assertEquals(link.closes, [false]);
    await bench.call.accept();
    assertEquals(bench.happened, ["up", "down by local", "up"]);
  },
);

Deno.test("an attempt that is given up is aborted, and its late link closed", pure, async () => {
  const bench = new Bench();
  bench.connection.start();
  await settle();
  const first = bench.call;
  bench.connection.reconnect("the endpoint changed");
  assertEquals(first.attempt.signal.aborted, true);
  await first.accept();
  assertEquals(first.link.closes, [true]);
  bench.clock.advance(1_000);
  await settle();
  assertEquals(bench.calls.length, 2);
  await bench.call.accept();
  assertEquals(bench.happened, ["up"]);
});

Deno.test("a link that ends before it was looked at goes up and down in order", pure, async () => {
  const bench = new Bench();
  bench.connection.start();
  await settle();
  const accepted = bench.call.accept();
  bench.call.link.end({ by: "peer", reason: "at once" });
  await accepted;
  assertEquals(bench.happened, ["up", "down by peer"]);
});

Deno.test("stop sends DISCONNECT, and what is in flight has no answer any more", pure, async () => {
  const bench = new Bench();
  const link = await bench.up();
  const results: unknown[] = [];
  bench.connection.publish(message(1), (result) => results.push(result));
  const stopping = bench.connection.stop();
  assertEquals(bench.connection.publish(message(1), () => {}), false);
  await stopping;
  assertEquals(link.closes, [false]);
  assertEquals(results, [undefined]);
  assertEquals(bench.happened, ["up", "down by local"]);
  bench.clock.advance(1_000_000);
  assertEquals([bench.calls.length, bench.clock.timers], [1, 0]);
});

Deno.test(
  "a second stop, a stop while connecting or waiting, and one before the start are at once",
  pure,
  async () => {
    const twice = new Bench();
    const link = await twice.up();
    link.lingers = true;
    const first = twice.connection.stop();
    await settle();
    assertEquals(link.closes, [false]);
    await twice.connection.stop();
    await first;
    assertEquals(link.closes, [false, true]);

    const connecting = new Bench();
    connecting.connection.start();
    await settle();
    const stopping = connecting.connection.stop();
    assert(connecting.call.attempt.signal.aborted);
    await connecting.call.refuse(new ConnectError("tls", "aborted", "given up"));
    await stopping;

    const waiting = new Bench();
    const lost = await waiting.up();
    lost.end({ by: "peer", reason: "gone" });
    await waiting.connection.stop();
    assertEquals(waiting.clock.timers, 0);

    await new Bench().connection.stop();
  },
);

/** What is thrown where nobody catches it, in a scope that was current when this was called. */
function throwUncaught(): void {
  queueMicrotask(() => {
    throw new Error("boom");
  });
}

Deno.test("what nobody caught during an attempt aborts it, and it is retried", pure, async () => {
  const uncaught: unknown[] = [];
  const unwatch = onUncaught((error) => uncaught.push(error));
  const bench = new Bench();
  bench.onDial = throwUncaught;
  bench.connection.start();
  await settle();
  assert(bench.call.attempt.signal.aborted);
  bench.onDial = () => {};
  await bench.call.refuse(new ConnectError("tls", "aborted", "given up"));
  assertEquals(
    bench.connection.status.lastError,
    "an exception that nothing caught: boom",
  );
  bench.clock.advance(1_000);
  await settle();
  await bench.call.accept();
  assertEquals(bench.happened, ["up"]);
  assertEquals(uncaught, []);
  unwatch();
});

Deno.test("what nobody caught on a link ends it, and another one is made", pure, async () => {
  const uncaught: unknown[] = [];
  const unwatch = onUncaught((error) => uncaught.push(error));
  const bench = new Bench();
  const link = await bench.up();
  link.onPublish = throwUncaught;
  bench.connection.publish(message(1), () => {});
  await settle();
  assertEquals(link.closes, [true]);
  assertEquals(bench.happened, ["up", "down by fault"]);
  assertEquals(
    bench.connection.status.lastError,
    "an exception that nothing caught: boom",
  );
  assertEquals(uncaught, []);
  unwatch();
});

Deno.test(
  "what the owner of a connection throws at an answer is not the connection's fault",
  pure,
  async () => {
    const uncaught: unknown[] = [];
    const unwatch = onUncaught((error) => uncaught.push(error));
    const bench = new Bench();
    const link = await bench.up();
    bench.connection.publish(message(1), () => {
      throw new Error("the spool is broken");
    });
    link.answers.shift()!({ code: 0, reason: "" });
    await settle();
    assertEquals(uncaught.map((error) => (error as Error).message), ["the spool is broken"]);
    assertEquals(bench.happened, ["up"]);
    unwatch();
  },
);
