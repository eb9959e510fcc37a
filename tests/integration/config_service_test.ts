import { utf8 } from "../../src/base/bytes.ts";
import { systemClock } from "../../src/base/clock.ts";
import { BusError, BusErrorCode, ExitError } from "../../src/base/errors.ts";
import { loadConfig } from "../../src/config/load.ts";
import { CONFIG_ANSWER_MS, CONFIG_READERS, ConfigService } from "../../src/config/service.ts";
import { ConfigWatch } from "../../src/config/watch.ts";
import type { Config } from "../../src/config/resolve.ts";
import { assert, assertEquals, assertRejects, assertStringIncludes } from "../deps.ts";
import { FakeClock } from "../support/fake_clock.ts";
import { fakeLog } from "../support/fake_log.ts";
import { type GgConfig, startGgConfig } from "../support/gg_config.ts";
import { tempDir } from "../support/temp.ts";
import { waitFor, within } from "../support/wait.ts";

const VALUES = {
  "iotDataEndpoint": "broker.example",
  "system/thingName": "thing",
  "system/rootCaPath": "/ca.pem",
  "system/certificateFilePath": "/cert.pem",
  "system/privateKeyPath": "/key.pem",
};
const world = { clock: systemClock, random: () => 0.02 } as const;

function load(busDir: string, timeoutMs: number, log = fakeLog()): Promise<Config | undefined> {
  return loadConfig({
    given: {},
    environment: {},
    ceiling: 1,
    source: new ConfigService(`${busDir}/gg_config`, systemClock),
    log,
    timeoutMs,
    ...world,
  });
}

/** A service that answers whatever comes with the same bytes, or with none. */
function rawService(path: string, answer: Uint8Array | undefined): AsyncDisposable {
  const listener = Deno.listen({ transport: "unix", path });
  const conns: Deno.Conn[] = [];
  const running = (async () => {
    for await (const conn of listener) {
      conns.push(conn);
      if (answer === undefined) continue;
      // A client that has given up is gone.
      await conn.write(answer).catch((error) => {
        if (!(error instanceof Deno.errors.BrokenPipe)) throw error;
      });
    }
  })();
  return {
    [Symbol.asyncDispose]: async () => {
      listener.close();
      for (const conn of conns) conn.close();
      await running;
    },
  };
}

Deno.test("iotcored-7: the configuration is read over the core bus, a few keys at a time", async () => {
  await using dir = await tempDir();
  await using service = await startGgConfig(dir.path, { ...VALUES, "mqtt/port": 8884n });
  const config = await load(dir.path, 5_000);
  assertEquals([config?.host, config?.port, config?.id], ["broker.example", 8884, "thing"]);
  assertEquals(service.reads.length, new Set(service.reads).size, "no key is read twice");
  assertEquals(service.mostReads, CONFIG_READERS);
});

Deno.test("a config service that comes up later is found", async () => {
  await using dir = await tempDir();
  const log = fakeLog();
  const loading = load(dir.path, 10_000, log);
  await waitFor("the first try", () => log.lines.length > 0);
  await using _service = await startGgConfig(dir.path, VALUES);
  assertEquals((await within("the config", loading))?.id, "thing");
});

for (const kind of ["no socket", "a dead socket", "a service that refuses"] as const) {
  Deno.test(`with ${kind} the waiting ends with exit code 69`, async () => {
    await using dir = await tempDir();
    const path = `${dir.path}/gg_config`;
    if (kind === "a dead socket") {
      // Under another name the listener does not find it to remove it: what stays is what a killed service leaves.
      const listener = Deno.listen({ transport: "unix", path: `${path}.made` });
      await Deno.rename(`${path}.made`, path);
      listener.close();
      assert((await Deno.lstat(path)).isSocket);
    }
    await using service = await (kind === "a service that refuses"
      ? startGgConfig(dir.path, VALUES)
      : startGgConfig(`${dir.path}/elsewhere`));
    service.readError = () =>
      BusErrorCode.BUSY;
    const error = await assertRejects(() => load(dir.path, 300), ExitError);
    assertEquals(error.exit, 69);
    assertStringIncludes(error.message, path);
    assertStringIncludes(error.message, "--endpoint (config key");
    assert(!error.message.includes("\n"));
  });
}

Deno.test("answers that are no frames are a service that does not work, whatever else it says", async () => {
  await using dir = await tempDir();
  await using _service = rawService(
    `${dir.path}/gg_config`,
    utf8("HTTP/1.1 400 Bad\r\n\r\n"),
  );
  const error = await assertRejects(() => load(dir.path, 300), ExitError);
  assertEquals(error.exit, 69);
});

Deno.test("a service that takes a request and never answers is given up after 5 s", async () => {
  await using dir = await tempDir();
  await using _service = rawService(`${dir.path}/gg_config`, undefined);
  const clock = new FakeClock();
  const service = new ConfigService(`${dir.path}/gg_config`, clock);
  const read = service.read(["system/thingName", "system/rootCaPath"]);
  await waitFor("the requests to be under way", () => clock.timers === 2);
  clock.advance(CONFIG_ANSWER_MS);
  assertEquals((await assertRejects(() => read, BusError)).code, BusErrorCode.TIMEOUT);
  const watch = service.watch("system", () => {});
  clock.advance(CONFIG_ANSWER_MS);
  await within("the watch to end", watch.closed);
  assertEquals(clock.timers, 0);
});

Deno.test("a read that fails or is given up takes those beside it along", async () => {
  await using dir = await tempDir();
  await using service = await startGgConfig(dir.path, VALUES);
  const source = new ConfigService(`${dir.path}/gg_config`, systemClock);
  const stop = new AbortController();
  service.silent = true;
  const givenUp = source.read(Object.keys(VALUES), stop.signal);
  await waitFor("four reads", () => service.reads.length === CONFIG_READERS);
  stop.abort();
  const error = await assertRejects(() => within("the end", givenUp, 1_000), BusError);
  assertEquals([error.code, service.reads.length], [BusErrorCode.TIMEOUT, CONFIG_READERS]);
  service.readError = (path) => path === "system/thingName" ? BusErrorCode.FAILURE : undefined;
  const failed = source.read(["system/rootCaPath", "system/thingName", "a", "b", "c", "d"]);
  const failure = await assertRejects(() => within("the failure", failed, 1_000), BusError);
  assertEquals(failure.code, BusErrorCode.FAILURE);
});

/** A watch on a real service; what it applies is kept. */
async function startWatch(service: GgConfig): Promise<AsyncDisposable & { applied: Config[] }> {
  const current = await load(service.busDir, 5_000);
  assert(current !== undefined);
  const applied: Config[] = [];
  const watch = new ConfigWatch({
    given: {},
    environment: {},
    ceiling: 1,
    source: new ConfigService(`${service.busDir}/gg_config`, systemClock),
    log: fakeLog(),
    current,
    apply: (config) => Promise.resolve(void applied.push(config)),
    onWaiting: () => {},
    ...world,
  });
  return { applied, [Symbol.asyncDispose]: () => watch.stop() };
}

Deno.test("a write is seen, also of a key that did not exist, and one elsewhere is not", async () => {
  await using dir = await tempDir();
  await using service = await startGgConfig(dir.path, VALUES);
  await using watch = await startWatch(service);
  await waitFor("both watches", () => service.watched.length === 2);
  service.set("mqtt/port", 443n);
  await waitFor("the port", () => watch.applied.at(-1)?.port === 443);
  service.set("system/thingName", "other");
  await waitFor("the name", () => watch.applied.at(-1)?.id === "other");
  const reads = service.reads.length;
  service.set("services/com.example.Other/configuration/x", "y");
  service.set("system/certificateFilePath", "/new.pem");
  await waitFor("the certificate", () => watch.applied.at(-1)?.cert === "/new.pem");
  assertEquals(service.reads.length, reads + 16);
});

Deno.test("a watch that was dropped, and a service that was restarted, are watched again", async () => {
  await using dir = await tempDir();
  await using service = await startGgConfig(dir.path, VALUES);
  await using watch = await startWatch(service);
  await waitFor("both watches", () => service.watched.length === 2);
  service.dropWatches();
  assertEquals(service.watched.length, 0);
  service.set("iotDataEndpoint", "missed.example");
  await waitFor("what was missed", () => watch.applied.at(-1)?.host === "missed.example");
  await service.stop();
  service.set("iotDataEndpoint", "offline.example");
  await service.start();
  await waitFor(
    "what was written meanwhile",
    () => watch.applied.at(-1)?.host === "offline.example",
  );
  service.set("iotDataEndpoint", "bad value");
  service.set("iotDataEndpoint", "last.example");
  await waitFor("the last value", () => watch.applied.at(-1)?.host === "last.example");
});

Deno.test("a path that does not exist yet is watched once it does", async () => {
  await using dir = await tempDir();
  await using service = await startGgConfig(dir.path, VALUES);
  const source = new ConfigService(`${dir.path}/gg_config`, systemClock);
  const early = source.watch("services/none", () => {});
  assertEquals((await within("the refusal", early.closed))?.code, BusErrorCode.NOENTRY);
  service.set("services/none/a", 1n);
  let writes = 0;
  const watch = source.watch("services/none", () => writes++);
  await within("the watch", watch.accepted);
  service.set("services/none/b", 1n);
  await waitFor("the write", () => writes === 1);
  watch.close();
  await watch.closed;
});
