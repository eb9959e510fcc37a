/** What is thrown on the way to the broker, in a callback or where nobody can catch it, costs an attempt or a link and no more. */

import process from "node:process";
import { type Bytes, utf8 } from "../../src/base/bytes.ts";
import { onUncaught } from "../../src/base/uncaught.ts";
import { Connection } from "../../src/mqtt/connection.ts";
import { createDial } from "../../src/mqtt/dial.ts";
import type { PublishResult } from "../../src/mqtt/link.ts";
import { DEADLINES } from "../../src/mqtt/tls.ts";
import { parseProxyUrl } from "../../src/mqtt/proxy.ts";
import { assert, assertEquals } from "../deps.ts";
import { type AwsIotCore, type Behaviour, startAwsIotCore } from "../support/aws_iot_core.ts";
import { fakeLog } from "../support/fake_log.ts";
import { createPki, writePki } from "../support/pki.ts";
import { type ProxyAnswer, startProxy } from "../support/proxy.ts";
import { tempDir } from "../support/temp.ts";
import { waitFor } from "../support/wait.ts";

const pki = await createPki();
const device = await pki.device();

/** What has to go wrong before a callback is called at all; good again once it was. */
interface Provocation {
  readonly behaviour?: Partial<Behaviour>;
  readonly proxy?: ProxyAnswer;
  /** Messages that no socket takes at once. */
  readonly bigMessages?: number;
  /** The link is dropped while they are on their way. */
  readonly dropAmidst?: boolean;
  /** Nothing is sent before the fault: what is answered puts pings off. */
  readonly idle?: boolean;
  /** Once the link stands. */
  readonly onUp?: (core: AwsIotCore) => void;
}

/**
 * Every callback that is handed to node:tls, to streams and to MQTT.js, but for those that are only ever called when all is over,
 * `close` behind `end` or `error`, and for the errors of MQTT.js, which gets nothing that it could complain of.
 */
const CALLBACKS: Readonly<Record<string, Provocation>> = {
  "tcp start": {},
  "tcp connect": {},
  "proxy start": {},
  "proxy secureConnect": {},
  "proxy data": {},
  "proxy end": { proxy: "close" },
  "tls start": {},
  "tls secureConnect": {},
  "tls error": { behaviour: { garbage: "tls" } },
  "tls close": { behaviour: { closeOn: "accept" } },
  "mqtt start": {},
  "mqtt packets": {},
  "mqtt packet to send": {},
  "mqtt connect": {},
  "mqtt publish": {},
  "mqtt publish answer": {},
  "mqtt request": {},
  "mqtt subscribe answer": {},
  "mqtt unsubscribe answer": {},
  "mqtt ping": { idle: true },
  "mqtt keep-alive": { onUp: (core) => core.freezeLinks() },
  "mqtt timer": { behaviour: { silent: "connack" } },
  "mqtt stream drain": { bigMessages: 40 },
  "mqtt stream end": { onUp: (core) => void core.dropLinks() },
  "mqtt stream error": { bigMessages: 100, dropAmidst: true },
};

/** A connection through a proxy to a broker, over which everything is done that can be. */
async function runThrough(
  { behaviour = {}, proxy: answer, bigMessages = 0, dropAmidst, idle, onUp }: Provocation,
  hook: (callback: string) => void,
  recovered: () => boolean,
): Promise<string> {
  await using dir = await tempDir();
  const files = await writePki(dir.path, pki, device);
  await using core = await startAwsIotCore({
    pki,
    devices: [device],
    behaviour: { connectSpacingMs: 0, enforceLimits: false, ...behaviour },
  });
  const proxyOptions = { identity: pki.server, answer: answer ?? "tunnel" };
  await using proxy = await startProxy(proxyOptions);
  const log = fakeLog();
  const connection: Connection = new Connection({
    target: () => ({
      host: "localhost",
      port: core.port,
      clientId: "thing",
      version: "5",
      keepAliveS: 1,
      credentials: { rootca: files.rootca, cert: files.cert, key: files.key },
      proxy: parseProxyUrl(`https://localhost:${proxy.port}`),
    }),
    dial: createDial({
      log,
      deadlines: { ...DEADLINES, connackMs: 1_000 },
      hook: (callback) => {
        try {
          hook(callback);
        } finally {
          if (recovered()) {
            Object.assign(core.behaviour, { silent: undefined, garbage: undefined });
            core.behaviour.closeOn = undefined;
            proxyOptions.answer = "tunnel";
          }
        }
      },
    }),
    handler: {
      onUp: () => {
        if (!recovered()) onUp?.(core);
      },
      onDown: () => {},
      onMessage: () => {},
      onFailed: (error) => log.error(error.message),
    },
    log,
    random: () => 0,
  });
  const publish = (payload: Bytes, qos: 0 | 1): Promise<PublishResult | undefined> =>
    new Promise((resolve) => {
      if (!connection.publish({ topic: "out", payload, qos }, resolve)) resolve(undefined);
    });
  /** Does everything once; whether the broker answered to the end. */
  const use = async (): Promise<boolean> => {
    if (!connection.status.connected) return false;
    for (let i = 0; i < bigMessages; i++) void publish(new Uint8Array(100_000), 0);
    if (dropAmidst && !recovered()) await core.dropLinks();
    await connection.subscribe(["in"], 1);
    core.publish("in", "message", 1);
    await connection.unsubscribe(["other"]);
    return await publish(utf8("x"), 1) !== undefined;
  };
  connection.start();
  try {
    const happened = async (): Promise<boolean> =>
      (idle && !recovered()) ? false : await use() && recovered();
    await waitFor("the fault", happened, 20_000);
    await waitFor("everything to work after it", use, 20_000);
  } finally {
    await connection.stop();
  }
  return log.lines.map(({ text, fields }) => `${text} ${JSON.stringify(fields)}`).join("\n");
}

/** Runs cases, some at a time, as most of each is waiting; what failed. */
async function each(
  names: readonly string[],
  run: (name: string) => Promise<void>,
): Promise<string[]> {
  const left = [...names];
  const failures: string[] = [];
  const work = async (): Promise<void> => {
    for (let name = left.shift(); name !== undefined; name = left.shift()) {
      await run(name).catch((error) => failures.push(`${name}: ${error}`));
    }
  };
  await Promise.all(Array.from({ length: 8 }, work));
  return failures;
}

Deno.test("what any callback throws costs an attempt or a link, is logged by its name, and the connection comes back", async () => {
  const uncaught: unknown[] = [];
  const unwatch = onUncaught((error) => uncaught.push(error));
  const failures = await each(Object.keys(CALLBACKS), async (name) => {
    let thrown = false;
    const log = await runThrough(CALLBACKS[name]!, (callback) => {
      if (thrown || callback !== name) return;
      thrown = true;
      throw new Error(`thrown in ${name}`);
    }, () => thrown);
    const [, called] = /^\w+ (.*)$/.exec(name)!;
    assert(log.includes(`an exception in the callback "${called}": thrown in ${name}`), log);
  });
  unwatch();
  assertEquals(failures, []);
  assertEquals(uncaught, []);
});

/** Ways to throw where nobody can catch it. */
const WAYS: Readonly<Record<string, (error: Error) => void>> = {
  promise: (error) => void Promise.reject(error),
  microtask: (error) =>
    queueMicrotask(() => {
      throw error;
    }),
  tick: (error) =>
    process.nextTick(() => {
      throw error;
    }),
};

Deno.test("what nobody can catch costs the attempt or the link in which it was started, and the connection comes back", async () => {
  const uncaught: unknown[] = [];
  const unwatch = onUncaught((error) => uncaught.push(error));
  const cases = Object.keys(WAYS).flatMap((way) =>
    Object.keys(CALLBACKS).map((name) => `${way} of ${name}`)
  );
  const failures = await each(cases, async (what) => {
    const [way = "", name = ""] = what.split(" of ");
    let thrown = false;
    const log = await runThrough(CALLBACKS[name]!, (callback) => {
      if (thrown || callback !== name) return;
      thrown = true;
      WAYS[way]!(new Error(what));
    }, () => thrown);
    assert(log.includes(what), log);
  });
  unwatch();
  assertEquals(failures, []);
  assertEquals(uncaught, []);
});
