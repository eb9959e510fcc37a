import { utf8 } from "../../../src/base/bytes.ts";
import { BusError, BusErrorCode, ExitError } from "../../../src/base/errors.ts";
import type { CliSettings, Config, Environment } from "../../../src/config/resolve.ts";
import { nextConfig } from "../../../src/config/change.ts";
import { CONFIG_TIMEOUT_MS, loadConfig, type LoadOptions } from "../../../src/config/load.ts";
import { textsOf, wantedKeys } from "../../../src/config/service.ts";
import { CONFIG_PREFIX } from "../../../src/config/settings.ts";
import type { Value } from "../../../src/wire/object.ts";
import {
  assert,
  assertEquals,
  assertLessOrEqual,
  assertRejects,
  assertStringIncludes,
  assertThrows,
  pureTest,
} from "../../deps.ts";
import { FakeClock } from "../../support/fake_clock.ts";
import { fakeLog } from "../../support/fake_log.ts";
import { FakeSource, noService, turn } from "./fake_source.ts";

const EVERYTHING: CliSettings = {
  endpoint: "cli.example:1883",
  id: "cli",
  rootca: "/c/ca",
  cert: "/c/cert",
  key: "/c/key",
};

class Loading {
  readonly clock = new FakeClock();
  readonly log = fakeLog();
  readonly source = new FakeSource();
  readonly stop = new AbortController();

  load(given: CliSettings = {}, more: Partial<LoadOptions> = {}): Promise<Config | undefined> {
    const { clock, log, source } = this;
    return loadConfig({
      given,
      environment: {},
      ceiling: 1,
      source,
      clock,
      log,
      random: () => 0.5,
      signal: this.stop.signal,
      ...more,
    });
  }

  /** Loads what has to be there. */
  async config(
    given?: CliSettings,
    environment: Environment = {},
    more: Partial<LoadOptions> = {},
  ): Promise<Config> {
    const config = await this.load(given, { environment, ...more });
    assert(config !== undefined);
    return config;
  }

  set(key: string, value: Value | string): void {
    const full = key.startsWith("system/") ? key : CONFIG_PREFIX + key;
    this.source.values.set(full, typeof value === "string" ? utf8(value) : value);
  }

  async refusal(given?: CliSettings): Promise<ExitError> {
    const error = await assertRejects(() => this.load(given), ExitError);
    assert(!error.message.includes("\n"), error.message);
    return error;
  }
}

pureTest("iotcored-7: everything can come from the config service", async () => {
  const t = new Loading();
  t.set("mqtt/port", 8884n);
  t.set("mqtt/version", "mqtt3");
  t.set("mqtt/keepAliveTimeoutMs", 45_000n);
  t.set("mqtt/maxConnections", "2");
  t.set("mqtt/maxInFlightPublishes", 7);
  t.set("mqtt/spooler/storageType", "Disk");
  t.set("mqtt/spooler/path", "/spool");
  t.set("mqtt/spooler/maxSizeInBytes", 5_000n);
  t.set("mqtt/spooler/keepQos0WhenOffline", true);
  t.set("networkProxy/proxy/url", "http://proxy.example:3128");
  t.set("networkProxy/noproxy", "localhost");
  const config = await t.config({}, {}, { ceiling: 4 });
  assertEquals(config.host, "broker.example");
  assertEquals(config.port, 8884);
  assertEquals(config.id, "thing");
  assertEquals([config.rootca, config.cert, config.key], ["/ca.pem", "/cert.pem", "/key.pem"]);
  assertEquals(config.mqttVersion, "3.1.1");
  assertEquals(config.keepAliveS, 45);
  assertEquals(config.maxConnections, 2);
  assertEquals(config.maxInFlight, 7);
  assertEquals(config.spool, { kind: "disk", dir: "/spool" });
  assertEquals(config.spoolMaxBytes, 5_000);
  assertEquals(config.keepQos0WhenOffline, true);
  assertEquals(config.proxy, { url: "http://proxy.example:3128", noProxy: "localhost" });
});

pureTest(
  "iotcored-7: the command line overrides the config service, which is not asked for it",
  async () => {
    const t = new Loading();
    t.set("mqtt/port", [1n]);
    const config = await t.config({ id: "cli", port: "443" });
    assertEquals([config.id, config.host, config.port], ["cli", "broker.example", 443]);
    assert(!t.source.asked.some((key) => /thingName|port/.test(key)), t.source.asked.join());
  },
);

pureTest(
  "the proxy of the environment comes before that of the config, which is not looked at",
  async () => {
    const t = new Loading();
    t.set("networkProxy/proxy/url", [1n]);
    t.set("networkProxy/noproxy", "config.example");
    const config = await t.config({}, { https_proxy: "http://env.example" });
    assertEquals(config.proxy, { url: "http://env.example", noProxy: "config.example" });
    const second = await t.config({ proxy: "http://cli.example" }, {
      HTTPS_PROXY: "http://env.example",
      NO_PROXY: "env.example",
    });
    assertEquals(second.proxy, { url: "http://cli.example", noProxy: "env.example" });
  },
);

pureTest("an empty proxy URL in the config is no proxy, and null is no value", async () => {
  const t = new Loading();
  t.set("networkProxy/proxy/url", "");
  t.set("mqtt/port", null);
  const config = await t.config();
  assertEquals([config.proxy, config.port], [undefined, 8883]);
});

pureTest(
  "the config service is not asked when the command line gives everything that is required",
  async () => {
    const t = new Loading();
    t.source.error = noService;
    const config = await t.config(EVERYTHING);
    assertEquals([config.id, config.port, t.source.reads], ["cli", 1883, 0]);
    assertEquals(t.clock.timers, 0);
  },
);

for (const name of Object.keys(EVERYTHING) as (keyof typeof EVERYTHING)[]) {
  pureTest(
    `the config service is asked when only --${name} is missing, and what it lacks is named`,
    async () => {
      const t = new Loading();
      const { [name]: _, ...given } = EVERYTHING;
      await t.config(given);
      assertEquals(t.source.reads, 1);
      t.source.values.clear();
      const error = await t.refusal(given);
      assertEquals(error.exit, 78);
      assertStringIncludes(error.message, `--${name}`);
      assertStringIncludes(error.message, "config key s");
    },
  );
}

pureTest(
  "a mistake on the command line is told before the config service is waited for",
  async () => {
    for (
      const given of [{ port: "0" }, { maxConnections: "2" }, {
        endpoint: "h:1",
        port: "2",
      }] as CliSettings[]
    ) {
      const t = new Loading();
      t.source.error = noService;
      assertEquals((await t.refusal(given)).exit, 64);
      assertEquals(t.source.reads, 0);
    }
  },
);

pureTest("a config service that starts later is waited for", async () => {
  const t = new Loading();
  t.source.error = noService;
  const loading = t.config();
  for (let second = 0; second < 30; second++) {
    await turn();
    t.clock.advance(1_000);
  }
  await turn();
  const tries = t.source.reads;
  assert(tries >= 6 && tries <= 20, `${tries} tries in 30 s`);
  t.source.error = undefined;
  t.clock.advance(5_000);
  assertEquals((await loading).id, "thing");
  assertEquals(t.log.lines.map(({ level }) => level), ["warn"]);
  assertEquals(t.clock.timers, 0);
});

pureTest(
  "after 60 s without the config service the exit code is 69 and one line names what is missing",
  async () => {
    const t = new Loading();
    t.source.error = noService;
    const refused = t.refusal({ endpoint: "h", rootca: "/a", cert: "/b" });
    for (let ms = 0; ms < CONFIG_TIMEOUT_MS; ms += 500) {
      await turn();
      t.clock.advance(500);
    }
    const error = await refused;
    assertEquals(error.exit, 69);
    assertStringIncludes(error.message, "--id (config key system/thingName)");
    assertStringIncludes(error.message, "--key (config key system/privateKeyPath)");
    assertStringIncludes(error.message, "Cannot connect to /bus/gg_config");
    assert(!error.message.includes("--endpoint"), error.message);
    assertEquals(t.clock.timers, 0);
  },
);

pureTest(
  "a config service that never answers is given up after the timeout too",
  async () => {
    const t = new Loading();
    t.source.slow = true;
    const refused = t.refusal();
    await turn();
    t.clock.advance(CONFIG_TIMEOUT_MS);
    assertEquals((await refused).exit, 69);
  },
);

pureTest("a config service that fails is asked again", async () => {
  const t = new Loading();
  t.source.error = new BusError(BusErrorCode.FAILURE, "FAILURE");
  const loading = t.config();
  await turn();
  t.source.error = undefined;
  t.clock.advance(5_000);
  assertEquals((await loading).id, "thing");
  assertEquals(t.source.reads, 2);
});

pureTest("waiting for the config service ends when a stop is asked for", async () => {
  for (const slow of [false, true]) {
    const t = new Loading();
    t.source.error = noService;
    t.source.slow = slow;
    const loading = t.load();
    await turn();
    t.stop.abort();
    assertEquals(await loading, undefined);
    assertEquals(t.clock.timers, 0);
  }
});

const WRONG: readonly (readonly [string, Value | string, string])[] = [
  [
    "iotDataEndpoint",
    new Map(),
    "--endpoint (config key services/aws.greengrass.NucleusLite/configuration/iotDataEndpoint): it must be text or a number, got a map",
  ],
  ["iotDataEndpoint", "https://broker", "--endpoint"],
  ["iotDataEndpoint", "", "--endpoint"],
  [
    "system/thingName",
    true,
    "--id (config key system/thingName): it must be text or a number, got the boolean true",
  ],
  ["system/thingName", "$thing", "must not start with $"],
  ["system/thingName", Uint8Array.of(0xff), "got bytes that are not UTF-8"],
  ["system/rootCaPath", [utf8("a")], "got a list"],
  ["mqtt/port", "eighty", 'must be a whole number from 1 to 65535, got "eighty"'],
  ["mqtt/port", 65_536n, 'from 1 to 65535, got "65536"'],
  ["mqtt/port", 1.5, 'got "1.5"'],
  ["mqtt/version", "mqtt6", 'must be mqtt5 or mqtt3, got "mqtt6"'],
  ["mqtt/keepAliveTimeoutMs", 400n, 'from 1000 to 1200000 ms, got "400"'],
  ["mqtt/maxConnections", 2n, "must be at most 1, the ceiling"],
  ["mqtt/spooler/keepQos0WhenOffline", 1n, "must be a boolean or text, got a number"],
  ["mqtt/spooler/keepQos0WhenOffline", "yes", 'must be one of true, false, got "yes"'],
  [
    "mqtt/spooler/storageType",
    "Tape",
    'mqtt/spooler/storageType): it must be Memory or Disk, got "Tape"',
  ],
  ["mqtt/spooler/storageType", "Disk", "mqtt/spooler/path): it is required"],
  ["networkProxy/proxy/url", "ftp://user:secret@h", "its scheme must be http or https"],
];

for (const [key, value, said] of WRONG) {
  pureTest(
    `a bad ${key} (${said.slice(-40)}) ends with 78 and names option, key and rule`,
    async () => {
      const t = new Loading();
      t.set(key, value);
      const error = await t.refusal();
      assertEquals(error.exit, 78);
      assertStringIncludes(error.message, said);
      assertStringIncludes(error.message, key);
      assertLessOrEqual(error.message.length, 260);
      assert(!error.message.includes("secret"), error.message);
    },
  );
}

pureTest("the path of the spool is a path even when it is called memory", async () => {
  const t = new Loading();
  t.set("mqtt/spooler/storageType", "Disk");
  t.set("mqtt/spooler/path", "");
  assertStringIncludes((await t.refusal()).message, "must not be empty");
  t.set("mqtt/spooler/path", "/memory");
  assertEquals((await t.config()).spool, { kind: "disk", dir: "/memory" });
});

pureTest("each setting with a config key is read, and none twice", () => {
  const keys = wantedKeys({}, {}).map(({ key }) => key);
  assertEquals(keys.length, new Set(keys).size);
  assertEquals(keys.length, 16);
});

pureTest("a number in quotes and one without mean the same", () => {
  const wanted = [{ key: "k", setting: "port" }] as const;
  const text = (value: Value) => textsOf(new Map([["k", value]]), wanted).get("k");
  assertEquals([text(8883n), text(8883), text(utf8("8883"))], ["8883", "8883", "8883"]);
  assertEquals(text(null), undefined);
  assertThrows(() => text([]), ExitError, "got a list");
});

pureTest("a change is sorted by what it takes to apply it", async () => {
  const before = await new Loading().config();
  for (const field of ["host", "port", "id", "mqttVersion", "keepAliveS"] as const) {
    const wanted = { ...before, [field]: "other" };
    const route = field === "host" || field === "port";
    assertEquals(nextConfig(before, wanted), {
      ...{ next: wanted, fields: [field], restart: [], link: true },
      ...{ credentials: false, route },
    });
  }
  const proxied = nextConfig(before, { ...before, proxy: { url: "http://p", noProxy: "" } });
  assertEquals([proxied.fields, proxied.route], [["proxy"], true]);
  assertEquals(nextConfig(before, { ...before, cert: "/new" }).credentials, true);
  const spool = nextConfig(before, { ...before, spoolMaxBytes: 1 });
  assertEquals([spool.restart, spool.fields, spool.next], [["spoolMaxBytes"], [], before]);
  const live = nextConfig(before, { ...before, maxInFlight: 1 });
  assertEquals([live.fields, live.link, live.restart], [["maxInFlight"], false, []]);
  assertEquals(nextConfig(before, { ...before }).fields, []);
});
