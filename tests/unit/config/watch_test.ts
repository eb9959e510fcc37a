import { utf8 } from "../../../src/base/bytes.ts";
import { BusError, BusErrorCode, Exit, ExitError } from "../../../src/base/errors.ts";
import { type CliSettings, type Config, resolveConfig } from "../../../src/config/resolve.ts";
import { ConfigWatch, POLL_MS, SPACING_MS, watchedPaths } from "../../../src/config/watch.ts";
import { RevertedError } from "../../../src/config/watch.ts";
import { CONFIG_PREFIX } from "../../../src/config/settings.ts";
import type { Value } from "../../../src/wire/object.ts";
import { assert, assertEquals, assertGreater, assertStringIncludes, pureTest } from "../../deps.ts";
import { FakeClock } from "../../support/fake_clock.ts";
import { fakeLog } from "../../support/fake_log.ts";
import { FakeSource, type FakeWatch, noService, REQUIRED, turn } from "./fake_source.ts";

const ENDPOINT = CONFIG_PREFIX + "iotDataEndpoint";

/** A watch with its world; what it applies is kept. */
class Watching implements AsyncDisposable {
  readonly clock = new FakeClock();
  readonly log = fakeLog();
  readonly source = new FakeSource();
  readonly applied: Config[] = [];
  readonly watch: ConfigWatch;
  refuse: ExitError | undefined;
  waiting: string | undefined;
  /** A change takes until this is `false`, or another one comes. */
  slow = false;
  readonly superseded: Config[] = [];

  constructor(given: CliSettings = {}) {
    const { clock, log, source } = this;
    const environment = {};
    this.watch = new ConfigWatch({
      given,
      environment,
      ceiling: 1,
      source,
      clock,
      log,
      random: () => 0.5,
      current: resolveConfig(given, environment, new Map(Object.entries(REQUIRED)), 1),
      apply: async (config, signal) => {
        while (this.slow && !signal.aborted) await turn();
        if (signal.aborted) {
          this.superseded.push(config);
          signal.throwIfAborted();
        }
        if (this.refuse !== undefined) throw this.refuse;
        this.applied.push(config);
      },
      onWaiting: (why) => this.waiting = why,
    });
  }

  /** Watches that are open. */
  get open(): FakeWatch[] {
    return this.source.watches.filter(({ open }) => open);
  }

  async accepted(): Promise<void> {
    for (const watch of this.open) watch.accept();
    await this.pass(100);
  }

  set(key: string, value: Value | string): void {
    this.source.values.set(key, typeof value === "string" ? utf8(value) : value);
    this.open[0]?.write();
  }

  async pass(ms: number): Promise<void> {
    await turn();
    this.clock.advance(ms);
    await turn();
  }

  logged(level: string): string[] {
    return this.log.lines.filter((line) => line.level === level).map(({ text, fields }) =>
      `${text} ${JSON.stringify(fields)}`
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.watch.stop();
    assertEquals(this.clock.timers, 0);
    assertEquals(this.open, []);
  }
}

pureTest("two paths are watched, above every key that is read", async () => {
  await using t = new Watching();
  assertEquals(t.source.watches.map(({ path }) => path).sort(), [
    "services/aws.greengrass.NucleusLite/configuration",
    "system",
  ]);
  const given = { id: "a", rootca: "/a", cert: "/b", key: "/c" };
  assertEquals(watchedPaths({ given, environment: {}, ceiling: 1 }), [
    "services/aws.greengrass.NucleusLite/configuration",
  ]);
});

pureTest(
  "iotcored-7: a change is applied without a restart, once for writes that come together",
  async () => {
    await using t = new Watching();
    await t.accepted();
    const before = t.source.reads;
    t.set(ENDPOINT, "new.example");
    await t.pass(40);
    t.set("system/thingName", "other");
    await t.pass(40);
    assertEquals(t.applied, []);
    await t.pass(20);
    assertEquals(t.applied.map(({ host, id }) => [host, id]), [["new.example", "other"]]);
    assertEquals(t.source.reads, before + 1);
  },
);

pureTest("writes that never pause do not keep a change from being applied", async () => {
  await using t = new Watching();
  await t.accepted();
  t.set(ENDPOINT, "new.example");
  for (let i = 0; i < 12; i++) {
    t.open[1]!.write();
    await t.pass(10);
  }
  assertEquals(t.applied.map(({ host }) => host), ["new.example"]);
});

pureTest("a change that is no change does nothing", async () => {
  await using t = new Watching();
  await t.accepted();
  t.set(ENDPOINT, "broker.example");
  t.set(CONFIG_PREFIX + "mqtt/port", 8883n);
  t.set(CONFIG_PREFIX + "other", "value");
  await t.pass(100);
  assertGreater(t.source.reads, 1);
  assertEquals(t.applied, []);
  assertEquals(t.log.lines, []);
});

pureTest("what was written before the watch stood is seen when it stands", async () => {
  await using t = new Watching();
  t.source.values.set(ENDPOINT, utf8("new.example"));
  await t.pass(10_000);
  assertEquals(t.applied, []);
  await t.accepted();
  assertEquals(t.applied.map(({ host }) => host), ["new.example"]);
});

const BAD: readonly (readonly [string, Value | string, string])[] = [
  [ENDPOINT, "mqtts://x", "--endpoint"],
  [ENDPOINT, new Map(), "--endpoint"],
  ["system/thingName", "", "--id"],
  [CONFIG_PREFIX + "mqtt/port", "x", "--port"],
];

for (const [key, value, option] of BAD) {
  pureTest(
    `a bad ${key} is told once, and the old config stays until a good one comes`,
    async () => {
      await using t = new Watching();
      await t.accepted();
      t.set(key, value);
      await t.pass(100);
      t.open[0]!.write();
      await t.pass(100);
      const errors = t.logged("error");
      assertEquals(errors.length, 1);
      assertStringIncludes(errors[0]!, option);
      assertStringIncludes(errors[0]!, key);
      assertEquals(t.applied, []);
      t.set(key, REQUIRED[key] ?? "8883");
      await t.pass(100);
      assertEquals(t.applied, []);
      assertStringIncludes(t.logged("info").join(), "it is as before");
      t.set(key, key.endsWith("port") ? "1" : "good.example");
      await t.pass(100);
      assertEquals(t.applied.length, 1);
    },
  );
}

pureTest("a required key that goes away keeps the old config", async () => {
  await using t = new Watching();
  await t.accepted();
  t.source.values.delete("system/thingName");
  t.open[0]!.write();
  await t.pass(100);
  assertEquals(t.applied, []);
  assertStringIncludes(t.logged("error").join(), "--id (config key system/thingName)");
});

pureTest(
  "a config that the daemon refuses is tried again, for its files may come later",
  async () => {
    await using t = new Watching();
    await t.accepted();
    t.refuse = new ExitError(Exit.CONFIG, "Cannot use --cert /new.pem: it cannot be read");
    t.set("system/certificateFilePath", "/new.pem");
    await t.pass(100);
    const before = t.source.reads;
    for (let i = 0; i < 10; i++) await t.pass(1_000);
    const tries = t.source.reads - before;
    assert(tries >= 2 && tries <= 6, `${tries} tries in 10 s`);
    assertEquals(t.logged("error").length, 1);
    t.refuse = undefined;
    await t.pass(128_000);
    assertEquals(t.applied.map(({ cert }) => cert), ["/new.pem"]);
    await t.pass(200_000);
    assertEquals(t.applied.length, 1);
  },
);

pureTest(
  "a config that cannot be read is read again with backoff, and told once",
  async () => {
    await using t = new Watching();
    await t.accepted();
    t.source.error = noService;
    t.set(ENDPOINT, "new.example");
    await t.pass(100);
    const before = t.source.reads;
    for (let i = 0; i < 60; i++) await t.pass(1_000);
    const tries = t.source.reads - before;
    assert(tries >= 3 && tries <= 10, `${tries} tries in 60 s`);
    assertEquals(t.logged("warn").length, 1);
    t.source.error = undefined;
    await t.pass(128_000);
    assertEquals(t.applied.map(({ host }) => host), ["new.example"]);
  },
);

pureTest("a write while the config is read makes it read once more", async () => {
  await using t = new Watching();
  await t.accepted();
  t.source.slow = true;
  t.open[0]!.write();
  await t.pass(100);
  const before = t.source.reads;
  t.open[0]!.write();
  t.open[0]!.write();
  await t.pass(1_000);
  assertEquals(t.source.reads, before);
  t.source.slow = false;
  t.source.values.set(ENDPOINT, utf8("new.example"));
  t.source.release?.();
  await t.pass(SPACING_MS);
  assertEquals(t.source.reads, before + 1);
  assertEquals(t.applied.length, 1);
});

pureTest(
  "a lost watch is made again with growing waits, and what was missed is read",
  async () => {
    await using t = new Watching();
    await t.accepted();
    for (const watch of t.open) watch.end();
    t.source.values.set(ENDPOINT, utf8("new.example"));
    await turn();
    const made: number[] = [];
    for (let second = 0; second < 60; second++) {
      for (const watch of t.open) watch.end(noService);
      const before = t.source.watches.length;
      await t.pass(500);
      if (t.source.watches.length > before) made.push(t.clock.now());
    }
    assert(made.length >= 4 && made.length <= 8, `${made}`);
    const waits = made.slice(1).map((at, i) => at - made[i]!);
    assertGreater(waits.at(-1)!, waits[0]! * 4);
    assertEquals(t.logged("warn").length, 2, "once for each path");
    assertEquals(t.applied, []);
    await t.pass(128_000);
    await t.accepted();
    assertEquals(t.applied.map(({ host }) => host), ["new.example"]);
    assertStringIncludes(t.logged("info").join(), "seen again");
  },
);

pureTest(
  "a path where nothing stands yet is no fault, and is watched when it is there",
  async () => {
    await using t = new Watching();
    for (const watch of t.open) watch.end(new BusError(BusErrorCode.NOENTRY, "NOENTRY"));
    await t.pass(1_000);
    assertEquals(t.logged("warn"), []);
    assertEquals(t.logged("info").length, 2);
    assertEquals(t.open.length, 2);
  },
);

pureTest(
  "a watch that is accepted and dropped at once does not begin from the shortest wait each time",
  async () => {
    await using t = new Watching({ id: "a", rootca: "/a", cert: "/b", key: "/c" });
    let made = 0;
    for (let i = 0; i < 60; i++) {
      const [watch] = t.open;
      if (watch !== undefined) {
        made++;
        watch.accept();
        await turn();
        watch.end();
      }
      await t.pass(1_000);
    }
    assert(made >= 4 && made <= 9, `${made} watches in 60 s`);
  },
);

pureTest(
  "writes without end are one change a second at most, and the last value wins",
  async () => {
    await using t = new Watching();
    await t.accepted();
    const from = t.clock.now();
    for (let i = 0; i < 1_000; i++) {
      t.set("system/thingName", `thing ${i}`);
      if (i % 10 === 0) await t.pass(30);
    }
    const seconds = (t.clock.now() - from) / SPACING_MS;
    assert(t.applied.length <= 1 + seconds, `${t.applied.length} changes in ${seconds} s`);
    await t.pass(SPACING_MS);
    assertEquals(t.applied.at(-1)?.id, "thing 999");
  },
);

pureTest("each of two bad values that alternate is named once", async () => {
  await using t = new Watching();
  await t.accepted();
  for (let i = 0; i < 6; i++) {
    t.set(CONFIG_PREFIX + "mqtt/port", i % 2 === 0 ? "x" : "y");
    await t.pass(SPACING_MS);
  }
  assertEquals(t.logged("error").length, 2);
  assertStringIncludes(t.waiting!, "--port");
});

pureTest("a key that is removed is noticed, though nobody tells of it", async () => {
  await using t = new Watching();
  t.source.values.set(CONFIG_PREFIX + "mqtt/port", 443n);
  await t.accepted();
  assertEquals(t.applied.map(({ port }) => port), [443]);
  t.source.values.delete(CONFIG_PREFIX + "mqtt/port");
  await t.pass(POLL_MS);
  await t.pass(100);
  assertEquals(t.applied.map(({ port }) => port), [443, 8883]);
});

pureTest("a change that is still on its way gives way to the next one", async () => {
  await using t = new Watching();
  await t.accepted();
  t.slow = true;
  t.set(ENDPOINT, "first.example");
  await t.pass(100);
  t.set(ENDPOINT, "second.example");
  await t.pass(SPACING_MS);
  t.slow = false;
  await t.pass(SPACING_MS);
  assertEquals(t.superseded.map(({ host }) => host), ["first.example"]);
  assertEquals(t.logged("error"), []);
});

pureTest(
  "what brought no connection waits for another value or a SIGHUP, and the status says why",
  async () => {
    await using t = new Watching();
    await t.accepted();
    t.refuse = new RevertedError("Cannot connect with the changed configuration: refused");
    t.set("system/thingName", "unknown");
    await t.pass(100);
    t.refuse = undefined;
    await t.pass(10 * POLL_MS);
    assertEquals([t.applied.length, t.logged("error").length], [0, 1]);
    assertStringIncludes(t.waiting!, "refused");
    t.watch.retry();
    await t.pass(100);
    assertEquals([t.applied.map(({ id }) => id), t.waiting], [["unknown"], undefined]);
  },
);

pureTest("stopping ends a reading that is under way", async () => {
  const t = new Watching();
  await t.accepted();
  t.source.slow = true;
  t.set(ENDPOINT, "new.example");
  await t.pass(100);
  await t[Symbol.asyncDispose]();
  t.watch.refresh();
  assertEquals(t.clock.timers, 0);
  assertEquals([t.applied, t.log.lines], [[], []]);
});
