import { fromUtf8, utf8 } from "../../../src/base/bytes.ts";
import { ConnectError } from "../../../src/mqtt/connect_error.ts";
import {
  bypassesProxy,
  connectRequest,
  MAX_PROXY_HEAD_BYTES,
  parseProxyUrl,
  proxyFor,
  tunnelStands,
} from "../../../src/mqtt/proxy.ts";
import { assert, assertEquals, assertStringIncludes, assertThrows } from "../../deps.ts";

const pure = { permissions: "none" } as const;

Deno.test("proxy URLs are read as Greengrass writes them", pure, () => {
  assertEquals(parseProxyUrl("http://proxy.example"), {
    tls: false,
    host: "proxy.example",
    port: 80,
  });
  assertEquals(parseProxyUrl("https://proxy.example").port, 443);
  assertEquals(parseProxyUrl("https://proxy.example:8080/"), {
    tls: true,
    host: "proxy.example",
    port: 8080,
  });
  assertEquals(parseProxyUrl("proxy.example:3128"), {
    tls: false,
    host: "proxy.example",
    port: 3128,
  });
  assertEquals(parseProxyUrl("http://[::1]:3128").host, "::1");
  assertEquals(
    parseProxyUrl("http://us%40er:p%3Aä@proxy").authorization,
    `Basic ${btoa(String.fromCharCode(...utf8("us@er:p:ä")))}`,
  );
});

Deno.test("a bad proxy URL is refused without telling the password", pure, () => {
  for (
    const url of [
      "http://user:s3cret@",
      "socks5://user:s3cret@host:1",
      "http://user:s3cret@host:99999",
      "http://user:s3cret%ff@host",
      "http://user:s3cret @ho st/",
    ]
  ) {
    const error = assertThrows(() => parseProxyUrl(url), TypeError);
    assert(!error.message.includes("s3cret"), error.message);
    assertStringIncludes(error.message, "Cannot use the proxy");
  }
});

/** Host, no_proxy, and whether curl goes direct. */
const NO_PROXY: readonly (readonly [string, string, boolean])[] = [
  ["a.example.com", "", false],
  ["a.example.com", "*", true],
  ["a.example.com", " * ", true],
  ["a.example.com", "other,*", false],
  ["example.com", "example.com", true],
  ["a.example.com", "example.com", true],
  ["a.example.com", ".example.com", true],
  ["example.com", ".example.com", true],
  ["badexample.com", "example.com", false],
  ["badexample.com", ".example.com", false],
  ["example.com", "a.example.com", false],
  ["EXAMPLE.com", "example.COM", true],
  ["example.com.", "example.com", true],
  ["example.com", "example.com.", true],
  ["example.com", "one two,example.com", true],
  ["example.com", "one,, ,two", false],
  ["example.com", ".", false],
  ["example.com", "example.com:8883", false],
  ["192.168.1.2", "192.168.1.2", true],
  ["192.168.1.2", "168.1.2", false],
  ["192.168.1.2", "192.168.0.0/16", true],
  ["192.168.1.2", "192.168.1.0/31", false],
  ["192.168.1.3", "192.168.1.2/31", true],
  ["192.168.1.2", "0.0.0.0/0", true],
  ["192.168.1.2", "192.168.1.2/33", false],
  ["192.168.1.2", "192.168.1.2/x", false],
  ["192.168.1.2", "::/0", false],
  ["999.1.1.1", "999.1.1.1", true],
  ["::1", "::1", true],
  ["[::1]", "::1", true],
  ["::1", "[::1]", true],
  ["fd00::12", "fd00::/8", true],
  ["fe00::12", "fd00::/8", false],
  ["0:0:0:0:0:0:0:1", "::1", true],
];

for (const [host, noProxy, direct] of NO_PROXY) {
  Deno.test(`no_proxy "${noProxy}" ${direct ? "covers" : "does not cover"} ${host}`, pure, () => {
    assertEquals(bypassesProxy(host, noProxy), direct);
  });
}

Deno.test("there is no proxy without a URL, or for a host that no_proxy names", pure, () => {
  assertEquals(proxyFor("host", undefined, undefined), undefined);
  assertEquals(proxyFor("host", "", undefined), undefined);
  assertEquals(proxyFor("host", "http://proxy", "host"), undefined);
  assertEquals(proxyFor("host", "http://proxy", undefined)?.host, "proxy");
});

Deno.test("CONNECT names the endpoint and carries the login", pure, () => {
  const proxy = parseProxyUrl("http://u:p@proxy");
  assertEquals(
    fromUtf8(connectRequest(proxy, "end.point", 8883)),
    "CONNECT end.point:8883 HTTP/1.1\r\nHost: end.point:8883\r\n" +
      `Proxy-Authorization: Basic ${btoa("u:p")}\r\n\r\n`,
  );
  assertStringIncludes(fromUtf8(connectRequest(proxy, "fd00::1", 443))!, "CONNECT [fd00::1]:443 ");
  assertThrows(() => connectRequest(proxy, "a\r\nX: y", 443), ConnectError);
});

Deno.test("an answer may come one byte at a time", pure, () => {
  const answer = utf8("HTTP/1.1 200 Connection established\r\nVia: 1.1 x\r\n\r\n");
  for (let length = 0; length < answer.length; length++) {
    assertEquals(tunnelStands(answer.subarray(0, length), "proxy:1"), false);
  }
  assertEquals(tunnelStands(answer, "proxy:1"), true);
});

const REFUSED: readonly (readonly [string, string, RegExp])[] = [
  ["HTTP/1.1 407 Nope\r\n\r\n", "proxy", /407, it wants a user and password/],
  ["HTTP/1.0 502 Bad Gateway\r\nX: y\r\n\r\n<html>", "proxy", /502/],
  ["HTTP/1.1 301 Moved\r\n\r\n", "proxy", /status 301/],
  ["HTTP/1.1 101 Switching\r\n\r\n", "proxy", /status 101/],
  ["<", "protocol", /does not answer as an HTTP proxy/],
  ["HTTP/2 200\r\n", "protocol", /does not answer as an HTTP proxy/],
  ["HTTP/1.1 2000 x\r\n\r\n", "protocol", /does not answer as an HTTP proxy/],
  ["HTTP/1.1 200 OK\r\n\r\n<html>", "protocol", /a page instead of a tunnel/],
  ["HTTP/1.1 200 " + "x".repeat(MAX_PROXY_HEAD_BYTES), "protocol", /over 8192 bytes/],
  ["\xff\xfe\x00", "protocol", /does not answer as an HTTP proxy/],
];

for (const [answer, kind, message] of REFUSED) {
  Deno.test(`a proxy that answers ${JSON.stringify(answer.slice(0, 24))} is refused`, pure, () => {
    const bytes = Uint8Array.from(answer, (char) => char.charCodeAt(0));
    const error = assertThrows(() => tunnelStands(bytes, "the proxy p:1"), ConnectError);
    assertEquals([error.stage, error.kind], ["proxy", kind]);
    assert(message.test(error.message), error.message);
  });
}
