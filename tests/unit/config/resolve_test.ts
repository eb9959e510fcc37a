import { assert, assertEquals, assertStringIncludes, assertThrows, pureTest } from "../../deps.ts";
import { Exit, ExitError } from "../../../src/base/errors.ts";
import {
  type CliSettings,
  type Config,
  type Environment,
  fullKey,
  resolveConfig,
} from "../../../src/config/resolve.ts";

/** What no daemon can do without. */
const NEEDED = {
  endpoint: "broker.example",
  id: "thing",
  rootca: "/ca.pem",
  cert: "/cert.pem",
  key: "/key.pem",
} as const;

function resolve(
  given: CliSettings = {},
  values: Readonly<Record<string, string>> = {},
  environment: Environment = {},
  ceiling = 1,
): Config {
  const keys = Object.entries(values).map(([key, value]) => [fullKey(key), value] as const);
  return resolveConfig({ ...NEEDED, ...given }, environment, new Map(keys), ceiling);
}

function refusal(run: () => unknown): { exit: number; message: string } {
  const { exit, message } = assertThrows(run, ExitError);
  assertEquals(message.includes("\n"), false);
  return { exit, message };
}

pureTest("what is not told has the defaults of the specification", () => {
  assertEquals(resolve(), {
    host: "broker.example",
    port: 8883,
    id: "thing",
    rootca: "/ca.pem",
    cert: "/cert.pem",
    key: "/key.pem",
    interfaceName: "aws_iot_mqtt",
    busDir: "/run/greengrass",
    mqttVersion: "5",
    keepAliveS: 60,
    maxConnections: 1,
    connectionCeiling: 1,
    maxInFlight: 100,
    spool: { kind: "memory" },
    spoolMaxBytes: 2_621_440,
    keepQos0WhenOffline: false,
    proxy: undefined,
    rateLimit: true,
    logLevel: "info",
    logFormat: "text",
  });
});

pureTest(
  "the command line goes before the config, and the config before the default (iotcored-7)",
  () => {
    const rows: readonly [
      keyof CliSettings,
      string,
      key: string,
      string,
      keyof Config,
      unknown,
      unknown,
    ][] = [
      ["endpoint", "a.example", "iotDataEndpoint", "b.example", "host", "a.example", "b.example"],
      ["id", "a", "system/thingName", "b", "id", "a", "b"],
      ["rootca", "/a", "system/rootCaPath", "/b", "rootca", "/a", "/b"],
      ["cert", "/a", "system/certificateFilePath", "/b", "cert", "/a", "/b"],
      ["key", "/a", "system/privateKeyPath", "/b", "key", "/a", "/b"],
      ["port", "1", "mqtt/port", "2", "port", 1, 2],
      ["mqttVersion", "5", "mqtt/version", "mqtt3", "mqttVersion", "5", "3.1.1"],
      ["keepAliveS", "30", "mqtt/keepAliveTimeoutMs", "90000", "keepAliveS", 30, 90],
      ["maxConnections", "3", "mqtt/maxConnections", "2", "maxConnections", 3, 2],
      ["maxInFlight", "7", "mqtt/maxInFlightPublishes", "8", "maxInFlight", 7, 8],
      [
        "spoolMaxBytes",
        "2000",
        "mqtt/spooler/maxSizeInBytes",
        "3000",
        "spoolMaxBytes",
        2_000,
        3_000,
      ],
    ];
    for (const [name, text, key, configured, field, ofOption, ofConfig] of rows) {
      const needed: Partial<Record<keyof CliSettings, string>> = { ...NEEDED };
      delete needed[name];
      const values = new Map([[fullKey(key), configured]]);
      assertEquals(
        resolveConfig({ ...needed, [name]: text }, {}, values, 5)[field],
        ofOption,
        name,
      );
      assertEquals(resolveConfig(needed, {}, values, 5)[field], ofConfig, name);
    }
  },
);

pureTest(
  "a required value that is given nowhere is 78, and the line names option and config key",
  () => {
    for (const name of Object.keys(NEEDED) as (keyof typeof NEEDED)[]) {
      const given: Partial<Record<keyof CliSettings, string>> = { ...NEEDED };
      delete given[name];
      const { exit, message } = refusal(() => resolveConfig(given));
      assertEquals(exit, Exit.CONFIG);
      assertStringIncludes(message, `--${name} (config key `);
    }
  },
);

pureTest(
  "a malformed option is 64 and names the option; a malformed config value is 78 and names the key as well",
  () => {
    const rows: readonly [keyof CliSettings, key: string, bad: string][] = [
      ["endpoint", "iotDataEndpoint", "https://broker.example"],
      ["endpoint", "iotDataEndpoint", "broker.example:0"],
      ["endpoint", "iotDataEndpoint", "broker.example:65536"],
      ["endpoint", "iotDataEndpoint", "two words"],
      ["id", "system/thingName", "$thing"],
      ["id", "system/thingName", "x".repeat(129)],
      ["id", "system/thingName", "a\nb"],
      ["id", "system/thingName", ""],
      ["rootca", "system/rootCaPath", ""],
      ["port", "mqtt/port", "0"],
      ["port", "mqtt/port", "65536"],
      ["port", "mqtt/port", "1e3"],
      ["port", "mqtt/port", "-1"],
      ["mqttVersion", "mqtt/version", "4"],
      ["keepAliveS", "mqtt/keepAliveTimeoutMs", "x"],
      ["keepAliveS", "mqtt/keepAliveTimeoutMs", "99999999"],
      ["maxConnections", "mqtt/maxConnections", "0"],
      ["maxInFlight", "mqtt/maxInFlightPublishes", "101"],
      ["spoolMaxBytes", "mqtt/spooler/maxSizeInBytes", "1"],
      ["keepQos0WhenOffline", "mqtt/spooler/keepQos0WhenOffline", "maybe"],
    ];
    for (const [name, key, bad] of rows) {
      const onLine = refusal(() => resolve({ [name]: bad }));
      assertEquals([name, bad, onLine.exit], [name, bad, Exit.USAGE]);
      const given: Partial<Record<keyof CliSettings, string>> = { ...NEEDED };
      delete given[name];
      const inConfig = refusal(() => resolveConfig(given, {}, new Map([[fullKey(key), bad]])));
      assertEquals([name, bad, inConfig.exit], [name, bad, Exit.CONFIG]);
      assertStringIncludes(inConfig.message, fullKey(key));
    }
    for (const bad of ["a/b", "..", "a..b", "", "x".repeat(51), "ä", "a b"]) {
      const { exit, message } = refusal(() => resolve({ interfaceName: bad }));
      assertEquals([bad, exit], [bad, Exit.USAGE]);
      assertStringIncludes(message, "--interface-name");
    }
  },
);

pureTest(
  "the port is that of --port, of the endpoint, of the config, or 8883; two that differ are a mistake",
  () => {
    const port = (given: CliSettings, values: Readonly<Record<string, string>> = {}): number =>
      resolve(given, values).port;
    assertEquals(port({ port: "443" }), 443);
    assertEquals(port({ endpoint: "broker.example:1883" }), 1883);
    assertEquals(port({ endpoint: "broker.example:443", port: "443" }), 443);
    assertEquals(port({}, { "mqtt/port": "443" }), 443);
    assertEquals(port({ endpoint: "broker.example:1883" }, { "mqtt/port": "443" }), 1883);
    assertEquals(port({ port: "1" }, { "mqtt/port": "443" }), 1);
    const { exit, message } = refusal(() => port({ endpoint: "broker.example:1883", port: "443" }));
    assertEquals(exit, Exit.USAGE);
    assertStringIncludes(message, "1883");
    // An option goes before the config also when the config's endpoint names a port.
    const { endpoint: _, ...rest } = NEEDED;
    const values = new Map([[fullKey("iotDataEndpoint"), "broker.example:1883"]]);
    assertEquals(resolveConfig({ ...rest, port: "443" }, {}, values).port, 443);
  },
);

pureTest("an endpoint is a name or an address, IPv6 in brackets", () => {
  const host = (endpoint: string): [string, number] => {
    const { host, port } = resolve({ endpoint });
    return [host, port];
  };
  assertEquals(host("abc-ats.iot.eu-west-1.amazonaws.com"), [
    "abc-ats.iot.eu-west-1.amazonaws.com",
    8883,
  ]);
  assertEquals(host("10.0.0.1:1"), ["10.0.0.1", 1]);
  assertEquals(host("[::1]:2"), ["::1", 2]);
  assertEquals(host("[fe80::1]"), ["fe80::1", 8883]);
});

pureTest(
  "--max-connections and the config may ask for at most the ceiling, which is the default (iotcored-6)",
  () => {
    assertEquals(resolve({}, {}, {}, 4).maxConnections, 4);
    assertEquals(resolve({ maxConnections: "3" }, {}, {}, 4).maxConnections, 3);
    const onLine = refusal(() => resolve({ maxConnections: "5" }, {}, {}, 4));
    assertEquals(onLine.exit, Exit.USAGE);
    const inConfig = refusal(() => resolve({}, { "mqtt/maxConnections": "5" }, {}, 4));
    assertEquals(inConfig.exit, Exit.CONFIG);
    for (const { message } of [onLine, inConfig]) {
      assertStringIncludes(message, "at most 4");
      assertStringIncludes(message, "--connection-ceiling");
    }
  },
);

pureTest(
  "the proxy comes from the command line, then the environment, then the config, and no message holds its password",
  () => {
    const values = {
      "networkProxy/proxy/url": "http://config:1",
      "networkProxy/noproxy": "config.example",
    };
    const environment = { https_proxy: "http://environment:1", no_proxy: "environment.example" };
    const proxy = (given: CliSettings, env: Environment, config = values) =>
      resolve(given, config, env).proxy;
    assertEquals(proxy({}, {}), { url: "http://config:1", noProxy: "config.example" });
    assertEquals(proxy({}, environment), {
      url: "http://environment:1",
      noProxy: "environment.example",
    });
    assertEquals(proxy({}, { HTTPS_PROXY: "http://upper:1", NO_PROXY: "upper.example" }), {
      url: "http://upper:1",
      noProxy: "upper.example",
    });
    assertEquals(proxy({ proxy: "http://line:1", noProxy: "a,b" }, environment), {
      url: "http://line:1",
      noProxy: "a,b",
    });
    for (
      const run of [
        () => resolve({ proxy: "ftp://user:password@proxy" }),
        () => resolve({}, { "networkProxy/proxy/url": "ftp://user:password@proxy" }),
        () => resolve({}, {}, { https_proxy: "ftp://user:password@proxy" }),
      ]
    ) {
      assert(!refusal(run).message.includes("password"));
    }
  },
);

pureTest(
  "the spool is in memory, or in the state folder that systemd gives, or where it is told to be",
  () => {
    const spool = (
      given: CliSettings,
      values: Readonly<Record<string, string>>,
      environment: Environment,
    ) => {
      const { spool, spoolMaxBytes } = resolve(given, values, environment);
      return [spool.kind === "disk" ? spool.dir : spool.kind, spoolMaxBytes];
    };
    const disk = { "mqtt/spooler/storageType": "Disk", "mqtt/spooler/path": "/config" };
    const systemd = { STATE_DIRECTORY: "/var/lib/iotcored:/var/lib/other" };
    assertEquals(spool({}, {}, {}), ["memory", 2_621_440]);
    assertEquals(spool({}, {}, systemd), ["/var/lib/iotcored/spool", 67_108_864]);
    assertEquals(spool({}, disk, systemd), ["/config", 67_108_864]);
    assertEquals(spool({}, { "mqtt/spooler/storageType": "Memory" }, systemd), [
      "memory",
      2_621_440,
    ]);
    assertEquals(spool({ spool: "memory" }, disk, systemd), ["memory", 2_621_440]);
    assertEquals(spool({ spool: "/option" }, disk, systemd), ["/option", 67_108_864]);
    for (
      const values of [
        { "mqtt/spooler/storageType": "Tape" },
        { "mqtt/spooler/storageType": "Disk" },
      ]
    ) {
      assertEquals(refusal(() => resolve({}, values)).exit, Exit.CONFIG);
    }
  },
);

pureTest("a configuration is frozen and can be sent to a worker", () => {
  const config = resolve({ proxy: "http://proxy:1" });
  assert(Object.isFrozen(config));
  assertEquals(structuredClone(config), config);
});

pureTest(
  "a key or certificate in hardware is 78 in one line that says what is taken, wherever it comes from",
  () => {
    const values = ["handle:0x81000001", "pkcs11:token=t;object=k", "tpm2:0x81000001"];
    for (const value of values) {
      for (const name of ["key", "cert"] as const) {
        const { exit, message } = refusal(() => resolve({ [name]: value }));
        assertEquals(exit, Exit.CONFIG);
        assertStringIncludes(message, "PEM files");
        assertStringIncludes(message, value.slice(0, 6));
      }
      const given = { endpoint: "b", id: "t", rootca: "/r", cert: "/c" };
      const config = new Map([["system/privateKeyPath", value]]);
      assertEquals(refusal(() => resolveConfig(given, {}, config)).exit, Exit.CONFIG);
    }
  },
);
