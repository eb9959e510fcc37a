import { type Bytes, fromUtf8, utf8 } from "../../src/base/bytes.ts";
import { systemClock } from "../../src/base/clock.ts";
import { BusError, BusErrorCode } from "../../src/base/errors.ts";
import { call, type MethodTable, subscribe, type Subscriber } from "../../src/bus/methods.ts";
import { buffer, bufferOrList, optionalInt } from "../../src/bus/params.ts";
import { type BusServer, startServer } from "../../src/bus/server.ts";
import { Calls } from "../../src/client/calls.ts";
import { connect, type Message, NoServerError } from "../../src/client/mod.ts";
import { encodeValueFrame } from "../../src/wire/frame.ts";
import { assert, assertEquals, assertRejects } from "../deps.ts";
import { fakeLog } from "../support/fake_log.ts";
import { type TempDir, tempDir } from "../support/temp.ts";
import { waitFor, within } from "../support/wait.ts";

/** A daemon without a broker: it keeps what is published and hands out what a test gives it. */
class Daemon implements AsyncDisposable {
  readonly published: string[] = [];
  readonly subscribers: Subscriber[] = [];
  /** What becomes of a publish instead of an answer. */
  onPublish: (payload: string) => BusError | "silent" | undefined = () => undefined;
  onSubscribe: () => BusError | undefined = () => undefined;
  readonly path: string;
  readonly #dir: TempDir;
  #server: BusServer | undefined;

  constructor(dir: TempDir) {
    this.#dir = dir;
    this.path = `${dir.path}/s`;
  }

  async start(): Promise<this> {
    this.#server = await startServer({
      path: this.path,
      table: this.#table(),
      log: fakeLog(),
      clock: systemClock,
    });
    return this;
  }

  get clients(): number {
    return this.#server?.counters().clients ?? 0;
  }

  async stop(): Promise<void> {
    await this.#server?.close(0);
    this.#server = undefined;
    this.subscribers.length = 0;
  }

  deliver(topic: string, payload: Bytes): void {
    const message = new Map([["topic", utf8(topic)], ["payload", payload]]);
    for (const subscriber of this.subscribers) subscriber.send(encodeValueFrame(message));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
    await this.#dir[Symbol.asyncDispose]();
  }

  #table(): MethodTable {
    return {
      publish: call({ topic: buffer, payload: buffer, qos: optionalInt(0, 1, 0) }, (params) => {
        const payload = fromUtf8(params.payload)!;
        const fate = this.onPublish(payload);
        if (fate instanceof BusError) throw fate;
        this.published.push(payload);
        return fate === "silent" ? undefined : null;
      }),
      subscribe: subscribe({ topic_filter: bufferOrList }, (_params, subscriber) => {
        const refusal = this.onSubscribe();
        if (refusal !== undefined) throw refusal;
        this.subscribers.push(subscriber);
        subscriber.accept();
      }),
      connection_status: subscribe({}, (_params, subscriber) => {
        subscriber.accept();
        for (const value of [false, true]) subscriber.send(encodeValueFrame(value));
      }),
    };
  }
}

async function startDaemon(): Promise<Daemon> {
  return await new Daemon(await tempDir()).start();
}

function texts(messages: readonly Message[]): string[] {
  return messages.map(({ topic, payload }) => `${topic}=${fromUtf8(payload)}`);
}

function outcome(promise: Promise<void>): Promise<number | string> {
  return promise.then(() => "ok", (error) => error instanceof BusError ? error.code : `${error}`);
}

Deno.test("a client without a daemon says so at once", async () => {
  await using dir = await tempDir();
  await assertRejects(() => connect({ socket: `${dir.path}/none` }), NoServerError);
});

Deno.test("publishes go over one kept connection, in order", async () => {
  await using daemon = await startDaemon();
  await using client = await connect({ socket: daemon.path });
  const payloads = Array.from({ length: 1_000 }, (_, i) => `${i}`);
  await Promise.all(
    payloads.map((payload, i) => client.publish("t", payload, { qos: i % 2 ? 1 : 0 })),
  );
  assertEquals(daemon.published, payloads);
  assertEquals(daemon.clients, 1);
});

Deno.test("a refused publish fails alone: those behind it are published, once and in order", async () => {
  await using daemon = await startDaemon();
  daemon.onPublish = (payload) =>
    Number(payload) % 10 === 3 ? new BusError(BusErrorCode.NOMEM, "full") : undefined;
  await using client = await connect({ socket: daemon.path });
  const payloads = Array.from({ length: 50 }, (_, i) => `${i}`);
  const outcomes = await Promise.all(
    payloads.map((payload, i) => outcome(client.publish("t", payload, { qos: i % 2 ? 1 : 0 }))),
  );
  assertEquals(
    outcomes,
    payloads.map((payload) => payload.endsWith("3") ? BusErrorCode.NOMEM : "ok"),
  );
  assertEquals(daemon.published, payloads.filter((payload) => !payload.endsWith("3")));
});

Deno.test("when the daemon dies before it answered, QoS 1 is sent again and QoS 0 fails", async () => {
  await using daemon = await startDaemon();
  await using client = await connect({ socket: daemon.path });
  daemon.onPublish = () => "silent";
  const sure = outcome(client.publish("t", "one", { qos: 1 }));
  const unsure = outcome(client.publish("t", "zero"));
  await waitFor("both to arrive", () => daemon.published.length === 2);
  await daemon.stop();
  assertEquals(await within("QoS 0 to fail", unsure), BusErrorCode.NOCONN);
  daemon.onPublish = () => undefined;
  await daemon.start();
  assertEquals(await within("QoS 1 to be answered", sure), "ok");
  assertEquals(daemon.published, ["one", "zero", "one"]);
});

Deno.test("what is published while the daemon is gone waits for it, in order", async () => {
  await using daemon = await startDaemon();
  await using client = await connect({ socket: daemon.path });
  await daemon.stop();
  const outcomes = ["a", "b", "c"].map((payload) =>
    outcome(client.publish("t", payload, { qos: 1 }))
  );
  await daemon.start();
  assertEquals(await Promise.all(outcomes), ["ok", "ok", "ok"]);
  assertEquals(daemon.published, ["a", "b", "c"]);
});

Deno.test("a daemon that stays away is waited for no longer than the timeout", async () => {
  await using daemon = await startDaemon();
  await using client = await connect({ socket: daemon.path, timeoutMs: 100 });
  await daemon.stop();
  const error = await assertRejects(
    () => within("the publish to fail", client.publish("t", "x", { qos: 1 })),
    NoServerError,
  );
  assert(error.cause !== undefined, "the cause tells a daemon that is gone from one that hung up");
});

Deno.test("closing waits for the answers, and then nothing more can be published", async () => {
  await using daemon = await startDaemon();
  const client = await connect({ socket: daemon.path });
  const publish = outcome(client.publish("t", "x", { qos: 1 }));
  await client.close();
  assertEquals(await publish, "ok");
  assertEquals(await outcome(client.publish("t", "y")), BusErrorCode.NOCONN);
  await waitFor("the connection to be gone", () => daemon.clients === 0);
});

Deno.test("closing while the daemon is gone fails what waits, at once", async () => {
  await using daemon = await startDaemon();
  const client = await connect({ socket: daemon.path });
  await daemon.stop();
  const publish = outcome(client.publish("t", "x", { qos: 1 }));
  await within("the client to close", client.close(), 2_000);
  assertEquals(await publish, BusErrorCode.NOCONN);
});

Deno.test("a subscription is iterated in order, and leaving the loop ends it", async () => {
  await using daemon = await startDaemon();
  await using client = await connect({ socket: daemon.path });
  const messages = client.subscribe(["a/#", "b"], { qos: 1 });
  await messages.accepted;
  for (const payload of ["1", "2", "3"]) daemon.deliver("a/b", utf8(payload));
  const got: Message[] = [];
  for await (const message of messages) {
    got.push(message);
    if (got.length === 2) break;
  }
  assertEquals(texts(got), ["a/b=1", "a/b=2"]);
  await waitFor("the subscription to be gone", () => daemon.clients === 1);
});

Deno.test("a refused subscription throws its reason, from accepted and from the loop", async () => {
  await using daemon = await startDaemon();
  daemon.onSubscribe = () => new BusError(BusErrorCode.REMOTE, "no", "not authorized");
  await using client = await connect({ socket: daemon.path });
  const messages = client.subscribe("a");
  const error = await assertRejects(() => messages.accepted, BusError);
  assertEquals([error.code, error.reason], [BusErrorCode.REMOTE, "not authorized"]);
  await assertRejects(() => messages.next(), BusError, "not authorized");
});

Deno.test("a subscription is made again when the daemon is back, and says that it was gone", async () => {
  await using daemon = await startDaemon();
  await using client = await connect({ socket: daemon.path });
  const said: string[] = [];
  const messages = client.subscribe("a", {
    onLost: (times) => said.push(`lost ${times}`),
    onBack: () => said.push("back"),
  });
  await messages.accepted;
  daemon.deliver("a", utf8("before"));
  assertEquals(texts([(await messages.next()).value!]), ["a=before"]);
  for (const round of ["1", "2"]) {
    await daemon.stop();
    await daemon.start();
    await waitFor("the subscription to be back", () => daemon.subscribers.length === 1);
    daemon.deliver("a", utf8(round));
    assertEquals(texts([(await messages.next()).value!]), [`a=${round}`]);
  }
  assertEquals(said, ["lost 1", "back", "lost 2", "back"]);
});

Deno.test("a subscription that is refused when the daemon is back ends with the reason", async () => {
  await using daemon = await startDaemon();
  await using client = await connect({ socket: daemon.path });
  const messages = client.subscribe("a");
  await messages.accepted;
  daemon.onSubscribe = () => new BusError(BusErrorCode.NOMEM, "no room");
  await daemon.stop();
  await daemon.start();
  await assertRejects(() => within("the loop to end", messages.next()), BusError, "NOMEM");
});

Deno.test("a reader that is slow makes the daemon hold its messages, within a bound on each side", async () => {
  await using daemon = await startDaemon();
  await using client = await connect({ socket: daemon.path });
  const messages = client.subscribe("a");
  await messages.accepted;
  const [subscriber] = daemon.subscribers;
  const payload = new Uint8Array(10_000);
  let sent = 0;
  // The client holds 1 MiB, the kernel some, and what the daemon holds grows when neither takes more.
  await waitFor("the daemon to hold messages", () => {
    for (let i = 0; i < 20; i++, sent++) daemon.deliver("a", payload);
    return subscriber!.queuedBytes > 500_000;
  });
  assert(sent * payload.length < 8_000_000, `${sent} messages were taken in`);
  for (let i = 0; i < sent; i++) {
    const { value } = await within("the next message", messages.next());
    assertEquals(value?.payload.length, payload.length);
  }
  assertEquals(subscriber!.queuedBytes, 0);
});

Deno.test("a closed client ends its subscriptions", async () => {
  await using daemon = await startDaemon();
  const client = await connect({ socket: daemon.path });
  const messages = client.subscribe("a");
  await messages.accepted;
  const next = messages.next();
  await client.close();
  assertEquals((await next).done, true);
  await waitFor("every connection to be gone", () => daemon.clients === 0);
});

Deno.test("a daemon that knows no status says so", async () => {
  await using daemon = await startDaemon();
  await using client = await connect({ socket: daemon.path });
  const error = await assertRejects(() => client.status(), BusError);
  assertEquals(error.code, BusErrorCode.NOENTRY);
});

Deno.test("a call that is not answered in time is given up, and the others go on", async () => {
  await using daemon = await startDaemon();
  const calls = new Calls(daemon.path, 1_000);
  await calls.open();
  daemon.onPublish = () => "silent";
  const params = new Map([["topic", utf8("t")], ["payload", utf8("x")]]);
  const call = { method: "publish", params, repeatable: true, bytes: 2, timeoutMs: 50 };
  const error = await assertRejects(() => within("the call to end", calls.call(call)), BusError);
  assertEquals(error.code, BusErrorCode.TIMEOUT);
  await within("the connection to close", calls.close());
});

Deno.test("publishes that nobody waits for are bounded", async () => {
  await using daemon = await startDaemon();
  await using client = await connect({ socket: daemon.path });
  const payload = new Uint8Array(131_072);
  const outcomes = await Promise.all(
    Array.from({ length: 200 }, () => outcome(client.publish("t", payload))),
  );
  assertEquals(new Set(outcomes), new Set(["ok", BusErrorCode.NOMEM]));
  assert(outcomes.filter((one) => one === "ok").length > 100);
});

Deno.test("an aborted publish rejects with the reason, and the client goes on", async () => {
  await using daemon = await startDaemon();
  daemon.onPublish = (payload) => payload === "silent" ? "silent" : undefined;
  const client = await connect({ socket: daemon.path, timeoutMs: 100 });
  const [before, during] = [new AbortController(), new AbortController()];
  before.abort("early");
  const { signal } = during;
  assertEquals(await client.publish("t", "0", { signal: before.signal }).catch(String), "early");
  await client.publish("t", "1", { signal });
  const waiting = client.publish("t", "silent", { signal }).catch(String);
  await waitFor("the message to arrive", () => daemon.published.length === 2);
  during.abort("late");
  assertEquals(await within("the wait to end", waiting), "late");
  assertEquals(daemon.published, ["1", "silent"]);
  await daemon.stop();
  await client.close();
});

Deno.test("an aborted subscription ends its iteration", async () => {
  await using daemon = await startDaemon();
  await using client = await connect({ socket: daemon.path });
  const controller = new AbortController();
  const messages = client.subscribe("t", { signal: controller.signal });
  await messages.accepted;
  const next = messages.next();
  controller.abort();
  assertEquals(await within("the end", next), { done: true, value: undefined });
  await waitFor("the connection to be closed", () => daemon.clients === 1);
  const late = client.subscribe("t", { signal: controller.signal });
  assertEquals(await within("the end", late.next()), { done: true, value: undefined });
});

Deno.test("connectionStatus yields what the daemon says", async () => {
  await using daemon = await startDaemon();
  await using client = await connect({ socket: daemon.path });
  const heard: boolean[] = [];
  for await (const connected of client.connectionStatus()) {
    heard.push(connected);
    if (connected) break;
  }
  assertEquals(heard, [false, true]);
});
