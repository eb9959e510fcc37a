import net from "node:net";
import { ConnectError, isAuthentication } from "../../src/mqtt/connect_error.ts";
import type { MqttVersion } from "../../src/mqtt/link.ts";
import { parseProxyUrl } from "../../src/mqtt/proxy.ts";
import { assert, assertEquals, assertRejects } from "../deps.ts";
import { type AwsIotCore, type Behaviour, startAwsIotCore } from "../support/aws_iot_core.ts";
import { openProbe, type Peer, type ProbeOptions } from "../support/link_probe.ts";
import { mosquittoAvailable, startMosquitto } from "../support/mosquitto.ts";
import { opensslAvailable, startOpenssl } from "../support/openssl_server.ts";
import { createPki, type Identity } from "../support/pki.ts";
import { type ProxyOptions, startProxy } from "../support/proxy.ts";
import { within } from "../support/wait.ts";

const pki = await createPki();
const device = await pki.device();
const strangersCa = await pki.otherCa();
const SHORT = { tcpMs: 150, proxyMs: 150, tlsMs: 150, connackMs: 150 } as const;

async function refusal(
  peer: Peer,
  who: Identity = device,
  options: ProbeOptions = {},
): Promise<ConnectError> {
  const error = await assertRejects(
    () => within("the refusal", openProbe(peer, who, options)),
    ConnectError,
  );
  assert(!error.message.includes("\n"), error.message);
  return error;
}

function standIn(behaviour: Partial<Behaviour> = {}): Promise<AwsIotCore> {
  return startAwsIotCore({ pki, devices: [device], behaviour });
}

interface Expected {
  readonly stage: string;
  readonly kind: string;
  readonly auth: boolean;
}

function assertFailure(error: ConnectError, expected: Expected, what: string): void {
  const { stage, kind } = error;
  assertEquals({ stage, kind, auth: isAuthentication(error) }, expected, `${what}: ${error}`);
}

const SILENT_CLOSE = { stage: "connack", kind: "closed", auth: false } as const;

const CASES: readonly (readonly [string, Partial<Behaviour>, Expected])[] = [
  ["closes on accept", { closeOn: "accept" }, { stage: "tls", kind: "closed", auth: false }],
  ["closes after CONNECT", { closeOn: "connect" }, SILENT_CLOSE],
  ["is silent before TLS", { silent: "tls" }, { stage: "tls", kind: "timeout", auth: false }],
  ["is silent after TLS", { silent: "connack" }, {
    stage: "connack",
    kind: "timeout",
    auth: false,
  }],
  ["sends garbage for TLS", { garbage: "tls" }, { stage: "tls", kind: "protocol", auth: false }],
  ["sends garbage for CONNACK", { garbage: "connack" }, {
    stage: "connack",
    kind: "protocol",
    auth: false,
  }],
];

for (const [name, behaviour, expected] of CASES) {
  Deno.test(`a broker that ${name} is retried`, async () => {
    await using server = await standIn(behaviour);
    assertFailure(await refusal(server, device, { deadlines: SHORT }), expected, name);
  });
}

Deno.test("iotcored-4: TLS alerts about the certificate are authentication, others are not", async () => {
  const alerts = new Map([
    [40, false],
    [41, true],
    [42, true],
    [43, true],
    [44, true],
    [45, true],
    [46, true],
    [48, true],
    [49, true],
    [70, false],
    [80, false],
    [112, false],
    [116, true],
    [120, false],
  ]);
  await using server = await standIn();
  for (const [alert, auth] of alerts) {
    server.behaviour.tlsAlert = alert;
    const error = await refusal(server);
    assertFailure(error, { stage: "tls", kind: "alert", auth }, `alert ${alert}`);
  }
});

const CONNACKS: readonly (readonly [MqttVersion, number, boolean])[] = [
  ["3.1.1", 1, false],
  ["3.1.1", 2, false],
  ["3.1.1", 3, false],
  ["3.1.1", 4, true],
  ["3.1.1", 5, true],
  ["5", 0x80, false],
  ["5", 0x84, false],
  ["5", 0x85, false],
  ["5", 0x86, true],
  ["5", 0x87, true],
  ["5", 0x88, false],
  ["5", 0x89, false],
  ["5", 0x8a, false],
  ["5", 0x8c, true],
  ["5", 0x97, false],
  ["5", 0x9f, false],
];

Deno.test("iotcored-4: CONNACK 4, 5, 0x86, 0x87 and 0x8C are authentication, others are not", async () => {
  await using server = await standIn({ connectSpacingMs: 0 });
  for (const [version, code, auth] of CONNACKS) {
    server.behaviour.refuseConnect = () => code;
    const error = await refusal(server, device, { version });
    assertFailure(error, { stage: "connack", kind: "connack", auth }, `CONNACK ${code}`);
    assertEquals(error.code, code);
  }
});

Deno.test("iotcored-4: an unregistered certificate is refused by CONNACK, or by a close that says nothing", async () => {
  await using server = await startAwsIotCore({ pki, behaviour: { connectSpacingMs: 0 } });
  for (const [version, code] of [["3.1.1", 5], ["5", 0x87]] as const) {
    assertEquals((await refusal(server, device, { version })).code, code);
  }
  server.behaviour.unregistered = "close";
  assertFailure(await refusal(server), SILENT_CLOSE, "close");
});

Deno.test("a server of another CA or name is not trusted, and that is no authentication failure", async () => {
  const expected = { stage: "tls", kind: "certificate", auth: false } as const;
  await using server = await standIn();
  const distrust = await refusal(server, device, { ca: strangersCa.certPem });
  assertFailure(distrust, expected, "another CA");
  const elsewhere = { ...pki, server: await pki.ca.server({ names: ["elsewhere.example"] }) };
  await using other = await startAwsIotCore({ pki: elsewhere, devices: [device] });
  assertFailure(await refusal(other), expected, "another name");
  const byAddress = await refusal({ port: other.port, pki, name: "127.0.0.1" });
  assertFailure(byAddress, expected, "another address");
  const stale = {
    ...pki,
    server: await pki.ca.server({ notAfter: new Date(Date.now() - 3_600_000) }),
  };
  await using expired = await startAwsIotCore({ pki: stale, devices: [device] });
  assertFailure(await refusal(expired), expected, "expired");
});

Deno.test("SNI is sent for names and not for addresses", async () => {
  await using server = await standIn({ connectSpacingMs: 0 });
  for (const [name, serverName] of [["localhost", "localhost"], ["127.0.0.1", ""]] as const) {
    await using probe = await openProbe({ port: server.port, pki, name }, device, {
      clientId: `to-${name}`,
    });
    const link = server.connections.find(({ clientId }) => clientId === `to-${name}`);
    assertEquals(link?.serverName, serverName);
    assertEquals(link?.alpn, "");
    assertEquals(probe.ends, []);
  }
});

Deno.test("an unknown host, a refused port and a silent one fail in the TCP stage", async () => {
  const unknown = await refusal({ name: "no-such-host.invalid", port: 8883, pki });
  assertFailure(unknown, { stage: "tcp", kind: "dns", auth: false }, "unknown host");
  const server = await standIn();
  await server[Symbol.asyncDispose]();
  assertFailure(await refusal(server), { stage: "tcp", kind: "refused", auth: false }, "refused");
});

for (const version of ["1.2", "1.3"] as const) {
  Deno.test({
    name:
      `iotcored-4: OpenSSL refuses certificates of another CA and expired ones with an alert, TLS ${version}`,
    ignore: !opensslAvailable(),
    fn: async () => {
      await using server = await startOpenssl(pki, version);
      // Under TLS 1.3 the handshake is over for the client before the server has seen its certificate.
      const stage = version === "1.2" ? "tls" : "connack";
      const strange = await pki.device({ ca: strangersCa });
      const peer = { port: server.port, pki };
      const other = await refusal(peer, strange);
      assertFailure(other, { stage, kind: "alert", auth: true }, "another CA");
      assertEquals(other.alert, "UnknownCA");
      const expired = await refusal(peer, await pki.expired());
      assertFailure(expired, { stage, kind: "alert", auth: true }, "expired");
      const good = await refusal(peer, device, { deadlines: SHORT });
      assertFailure(good, { stage: "connack", kind: "timeout", auth: false }, "good");
    },
  });
}

Deno.test({
  name: "iotcored-4: mosquitto refuses certificates of another CA and expired ones with an alert",
  ignore: !mosquittoAvailable(),
  fn: async () => {
    await using server = await startMosquitto({ pki });
    const peer = { port: server.port, pki };
    for (const who of [await pki.device({ ca: strangersCa }), await pki.expired()]) {
      const error = await refusal(peer, who);
      assertFailure(error, { stage: "connack", kind: "alert", auth: true }, "mosquitto");
    }
  },
});

Deno.test("port 443 asks for the ALPN protocol of AWS IoT Core", async () => {
  await using server = await standIn();
  await using proxy = await startProxy({ to: server.port });
  const url = parseProxyUrl(`http://localhost:${proxy.port}`);
  await using probe = await openProbe({ port: 443, pki }, device, { proxy: url });
  assertEquals(server.connections[0]?.alpn, "x-amzn-mqtt-ca");
  assertEquals(proxy.requests, ["CONNECT localhost:443 HTTP/1.1"]);
  assertEquals(probe.ends, []);
});

const PROXY_CASES: readonly (readonly [string, ProxyOptions, string])[] = [
  ["wants a password", { login: "user:other" }, "proxy"],
  ["cannot reach the endpoint", {
    answer: { raw: "HTTP/1.1 502 Bad Gateway\r\n\r\n<html>no</html>" },
  }, "proxy"],
  ["answers a page", { answer: { raw: "<html>hello</html>" } }, "protocol"],
  ["answers a page with 200", {
    answer: { raw: "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n<html>log in</html>" },
  }, "protocol"],
  ["answers without an end", {
    answer: { raw: `HTTP/1.1 200 OK\r\nX: ${"x".repeat(9_000)}` },
  }, "protocol"],
  ["hangs up", { answer: "close" }, "closed"],
  ["is silent", { answer: "silent" }, "timeout"],
];

for (const scheme of ["http", "https"] as const) {
  const secure: ProxyOptions = scheme === "https" ? { identity: pki.server } : {};

  Deno.test(`a tunnel through an ${scheme} proxy carries MQTT`, async () => {
    await using server = await standIn();
    await using proxy = await startProxy({ ...secure, login: "user:p@ss" });
    const url = `${scheme}://user:p%40ss@localhost:${proxy.port}`;
    await using probe = await openProbe(server, device, { proxy: parseProxyUrl(url) });
    assertEquals((await probe.link.subscribe(["a"], 1))?.[0]?.code, 1);
    assertEquals(proxy.requests, [`CONNECT localhost:${server.port} HTTP/1.1`]);
    assertEquals(server.connections[0]?.serverName, "localhost");
    await probe.link.close();
    assertEquals(server.received("disconnect").length, 1);
  });

  for (const [name, options, kind] of PROXY_CASES) {
    Deno.test(`an ${scheme} proxy that ${name} is retried, without naming its password`, async () => {
      await using proxy = await startProxy({ ...secure, ...options });
      const url = `${scheme}://user:secret@localhost:${proxy.port}`;
      const error = await refusal({ port: 1, pki }, device, {
        proxy: parseProxyUrl(url),
        deadlines: { ...SHORT, tcpMs: 5_000, proxyMs: kind === "timeout" ? 300 : 5_000 },
      });
      assertFailure(error, { stage: "proxy", kind, auth: false }, name);
      assert(!error.message.includes("secret") && !error.message.includes(btoa("user:secret")));
    });
  }
}

Deno.test("a proxy that accepts TCP and never completes its TLS runs into its deadline", async () => {
  const server = net.createServer(() => {});
  const sockets = new Set<net.Socket>();
  server.on("connection", (socket) => {
    sockets.add(socket);
    socket.on("error", () => socket.destroy());
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as net.AddressInfo;
  const proxy = parseProxyUrl(`https://localhost:${port}`);
  const error = await refusal({ port: 1, pki }, device, { proxy, deadlines: SHORT });
  assertFailure(error, { stage: "proxy", kind: "timeout", auth: false }, "silent");
  for (const socket of sockets) socket.destroy();
  await new Promise((resolve) => server.close(resolve));
});

Deno.test("an https proxy of another CA is not trusted with the password", async () => {
  const impostor = await strangersCa.server();
  await using proxy = await startProxy({ identity: impostor });
  const url = parseProxyUrl(`https://user:secret@localhost:${proxy.port}`);
  const error = await refusal({ port: 1, pki }, device, { proxy: url });
  assertFailure(error, { stage: "proxy", kind: "certificate", auth: false }, "impostor");
  assertEquals(proxy.requests, []);
});
