import { messageOf } from "../base/errors.ts";
import { ConnectError, type FailureKind, type Stage } from "./connect_error.ts";

/** CONNACK codes that say the credentials are not accepted (iotcored-4). */
const AUTHENTICATION_CODES: ReadonlySet<number> = new Set([4, 5, 0x86, 0x87, 0x8c]);

/** CONNACK codes of a broker that has no room now: 3 is "server unavailable" of 3.1.1 [MQTT-3.2.2-4], [MQTT5-3.2.2.2]. */
const BUSY_CODES: ReadonlySet<number> = new Set([3, 0x80, 0x83, 0x88, 0x89, 0x97, 0x9f]);

/** TLS alerts about the client certificate [RFC 8446, 6.2], as rustls names them (iotcored-4). */
const CERTIFICATE_ALERTS: ReadonlySet<string> = new Set([
  "NoCertificate",
  "BadCertificate",
  "UnsupportedCertificate",
  "CertificateRevoked",
  "CertificateExpired",
  "CertificateUnknown",
  "UnknownCA",
  "AccessDenied",
  "CertificateRequired",
]);

const KIND_OF_CODE: Readonly<Record<string, FailureKind>> = {
  ENOTFOUND: "dns",
  ENODATA: "dns",
  ECONNREFUSED: "refused",
  EHOSTUNREACH: "unreachable",
  ENETUNREACH: "unreachable",
  ENETDOWN: "unreachable",
  EADDRNOTAVAIL: "unreachable",
  ETIMEDOUT: "timeout",
  ECONNRESET: "closed",
  ECONNABORTED: "closed",
  EPIPE: "closed",
};

/**
 * Whether the broker refused the credentials: a TLS alert about the client certificate, which under TLS 1.3 comes only on
 * the first read after the handshake, or a CONNACK that says so. A close alone says nothing.
 */
export function isAuthentication(failure: ConnectError): boolean {
  if (failure.stage !== "tls" && failure.stage !== "connack") return false;
  if (failure.kind === "alert") return CERTIFICATE_ALERTS.has(failure.alert ?? "");
  return failure.kind === "connack" && AUTHENTICATION_CODES.has(failure.code ?? 0);
}

/** Whether the other side hung up after TLS and before CONNACK: one of the ways AWS IoT Core refuses a certificate. */
export function isSilentClose(failure: ConnectError): boolean {
  return failure.stage === "connack" && failure.kind === "closed";
}

/**
 * Whether the account may just be busy: a CONNACK of busy or quota, or a close before CONNACK. Which of them AWS IoT Core sends
 * when more CONNECTs come than an account may make is not documented.
 */
export function isBusy(failure: ConnectError): boolean {
  return isSilentClose(failure) ||
    failure.kind === "connack" && BUSY_CODES.has(failure.code ?? 0);
}

/** The failure that an error of a socket in a stage means; `where` is the peer, such as `broker.example:8883`. */
export function fromSocketError(stage: Stage, where: string, error: unknown): ConnectError {
  if (error instanceof ConnectError) return error;
  const text = messageOf(error);
  const alert = /received fatal alert: (\w+)/.exec(text)?.[1];
  if (alert !== undefined) {
    return new ConnectError(stage, "alert", `${where} sent the TLS alert ${alert}`, { alert });
  }
  const kind = kindOf(codeOf(error));
  return new ConnectError(stage, kind, `${describe(stage, kind, where)} (${text})`);
}

function codeOf(error: unknown): string {
  if (typeof error !== "object" || error === null || !("code" in error)) return "";
  return String(error.code);
}

function kindOf(code: string): FailureKind {
  const known = KIND_OF_CODE[code];
  if (known !== undefined) return known;
  if (code.startsWith("EAI_")) return "dns";
  if (code.startsWith("ERR_SSL_")) return "protocol";
  return /CERT|SELF_SIGNED|UNABLE_TO_|HOSTNAME_MISMATCH/.test(code) ? "certificate" : "other";
}

function describe(stage: Stage, kind: FailureKind, where: string): string {
  switch (kind) {
    case "dns":
      return `the name of ${where} cannot be resolved`;
    case "refused":
      return `${where} refused the TCP connection`;
    case "unreachable":
      return `${where} cannot be reached`;
    case "timeout":
      return `${where} did not answer`;
    case "closed":
      return stage === "connack"
        ? `${where} closed the connection before CONNACK`
        : `${where} closed the connection`;
    case "certificate":
      return `the certificate of ${where} does not verify against the root CA, or is for another name or time`;
    case "protocol":
      return `${where} does not speak TLS`;
    default:
      return `the connection to ${where} failed`;
  }
}
