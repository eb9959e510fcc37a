import {
  ConnectError,
  fromSocketError,
  isAuthentication,
  isBusy,
  isSilentClose,
} from "../../../src/mqtt/connect_error.ts";
import { codeText, describeCode, reasonName } from "../../../src/mqtt/reason_codes.ts";
import { assert, assertEquals, assertStrictEquals } from "../../deps.ts";

const pure = { permissions: "none" } as const;

function socketError(code: string, message: string): Error {
  return Object.assign(new Error(message), { code });
}

/** Codes and messages as Deno 2.9.6 gives them. */
const SEEN: readonly (readonly [string, string, string, boolean])[] = [
  ["ENOTFOUND", "getaddrinfo ENOTFOUND no-such-host.invalid", "dns", false],
  ["EAI_AGAIN", "getaddrinfo EAI_AGAIN host", "dns", false],
  ["ECONNREFUSED", "connect ECONNREFUSED 127.0.0.1:1", "refused", false],
  ["EHOSTUNREACH", "connect EHOSTUNREACH", "unreachable", false],
  ["ENETUNREACH", "connect ENETUNREACH", "unreachable", false],
  ["ETIMEDOUT", "connect ETIMEDOUT", "timeout", false],
  [
    "ECONNRESET",
    "Client network socket disconnected before secure TLS connection was established",
    "closed",
    false,
  ],
  ["EPIPE", "write EPIPE", "closed", false],
  [
    "UNABLE_TO_VERIFY_LEAF_SIGNATURE",
    "unable to verify the first certificate",
    "certificate",
    false,
  ],
  [
    "ERR_TLS_CERT_ALTNAME_INVALID",
    "Hostname/IP does not match certificate's altnames",
    "certificate",
    false,
  ],
  ["DEPTH_ZERO_SELF_SIGNED_CERT", "self-signed certificate", "certificate", false],
  ["CERT_HAS_EXPIRED", "certificate has expired", "certificate", false],
  [
    "ERR_SSL_WRONG_VERSION_NUMBER",
    "received corrupt message of type InvalidContentType",
    "protocol",
    false,
  ],
  [
    "ERR_SSL_SSLV3_ALERT_HANDSHAKE_FAILURE",
    "received fatal alert: HandshakeFailure",
    "alert",
    false,
  ],
  ["ERR_SSL_SSLV3_ALERT_HANDSHAKE_FAILURE", "received fatal alert: AccessDenied", "alert", true],
  ["ERR_SSL_SSLV3_ALERT_HANDSHAKE_FAILURE", "received fatal alert: NoCertificate", "alert", true],
  ["ERR_SSL_SSLV3_ALERT_BAD_CERTIFICATE", "received fatal alert: BadCertificate", "alert", true],
  [
    "ERR_SSL_SSLV3_ALERT_UNSUPPORTED_CERTIFICATE",
    "received fatal alert: UnsupportedCertificate",
    "alert",
    true,
  ],
  [
    "ERR_SSL_SSLV3_ALERT_CERTIFICATE_REVOKED",
    "received fatal alert: CertificateRevoked",
    "alert",
    true,
  ],
  [
    "ERR_SSL_SSLV3_ALERT_CERTIFICATE_EXPIRED",
    "received fatal alert: CertificateExpired",
    "alert",
    true,
  ],
  [
    "ERR_SSL_SSLV3_ALERT_CERTIFICATE_UNKNOWN",
    "received fatal alert: CertificateUnknown",
    "alert",
    true,
  ],
  ["ERR_SSL_TLSV1_ALERT_UNKNOWN_CA", "received fatal alert: UnknownCA", "alert", true],
  [
    "ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED",
    "received fatal alert: CertificateRequired",
    "alert",
    true,
  ],
  ["ERR_SSL_TLSV1_ALERT_INTERNAL_ERROR", "received fatal alert: InternalError", "alert", false],
  ["", "something else", "other", false],
];

for (const [code, message, kind, authentication] of SEEN) {
  Deno.test(`iotcored-4: "${message}" is ${kind}`, pure, () => {
    const error = code === "" ? new Error(message) : socketError(code, message);
    for (const stage of ["tls", "connack"] as const) {
      const failure = fromSocketError(stage, "broker:8883", error);
      assertEquals([failure.stage, failure.kind], [stage, kind]);
      assertEquals(isAuthentication(failure), authentication);
      assert(failure.message.includes("broker:8883"));
    }
  });
}

Deno.test("alerts of a proxy or before TLS are never authentication at the broker", pure, () => {
  const error = socketError("x", "received fatal alert: CertificateUnknown");
  for (const stage of ["tcp", "proxy"] as const) {
    assertEquals(isAuthentication(fromSocketError(stage, "proxy:3128", error)), false);
  }
});

Deno.test("iotcored-4: CONNACK codes that are authentication", pure, () => {
  const accepted = [4, 5, 0x86, 0x87, 0x8c];
  for (let code = 1; code < 256; code++) {
    const failure = new ConnectError("connack", "connack", "refused", { code });
    assertEquals(isAuthentication(failure), accepted.includes(code), codeText(code));
  }
});

Deno.test("only a close while waiting for CONNACK is a silent close", pure, () => {
  assert(isSilentClose(new ConnectError("connack", "closed", "x")));
  assert(!isSilentClose(new ConnectError("tls", "closed", "x")));
  assert(!isSilentClose(new ConnectError("connack", "timeout", "x")));
});

Deno.test("busy is what a CONNACK of busy or quota says, or a close before CONNACK", pure, () => {
  const refused = (code: number): ConnectError =>
    new ConnectError("connack", "connack", "x", { code });
  const busy = [1, 2, 3, 4, 5, 0x80, 0x83, 0x86, 0x87, 0x88, 0x89, 0x8c, 0x97, 0x9c, 0x9f]
    .filter((code) => isBusy(refused(code)));
  assertEquals(busy, [3, 0x80, 0x83, 0x88, 0x89, 0x97, 0x9f]);
  assert(isBusy(new ConnectError("connack", "closed", "x")));
  assert(!isBusy(new ConnectError("tls", "closed", "x")));
  assert(!isBusy(new ConnectError("connack", "timeout", "x")));
});

Deno.test("a ConnectError passes as it is", pure, () => {
  const error = new ConnectError("proxy", "proxy", "407");
  assertStrictEquals(fromSocketError("tls", "x", error), error);
});

Deno.test("codes are told by number, name and what the broker added", pure, () => {
  assertEquals(describeCode(5), "5 (not authorized)");
  assertEquals(describeCode(0x87, "no policy"), "0x87 (not authorized): no policy");
  assertEquals(describeCode(0x87, "not authorized"), "0x87 (not authorized)");
  assertEquals(describeCode(0xee), "0xEE (unknown code)");
  assertEquals(reasonName(0x8e), "session taken over");
});
