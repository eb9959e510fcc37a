import { messageOf } from "../base/errors.ts";
import { consequenceInConnack } from "./reason_codes.ts";

/** How far an attempt to connect came. */
export type Stage = "credentials" | "tcp" | "proxy" | "tls" | "connack";

/**
 * What went wrong:
 * `config`: a credential file is missing or wrong; `dns`: no such host; `refused`: nobody listens; `unreachable`: no route;
 * `timeout`: the stage's deadline passed; `closed`: the other side closed or reset; `alert`: it sent a TLS alert;
 * `certificate`: its certificate does not verify; `proxy`: the proxy refused; `connack`: the broker refused;
 * `protocol`: it does not speak what it should; `aborted`: given up on this side; `fault`: this program, a library or the
 * runtime threw what it should not; `other`: none of these.
 */
export type FailureKind =
  | "config"
  | "dns"
  | "refused"
  | "unreachable"
  | "timeout"
  | "closed"
  | "alert"
  | "certificate"
  | "proxy"
  | "connack"
  | "protocol"
  | "aborted"
  | "fault"
  | "other";

/** What beside stage and kind is known about a failure. */
export interface FailureDetails {
  /** The TLS alert as rustls names it (`CertificateUnknown`), with kind `alert`. */
  readonly alert?: string;
  /** The CONNACK code, with kind `connack`. */
  readonly code?: number;
  /** The packet at fault, with kind `protocol`: its beginning in hex, without payload. */
  readonly bytes?: string;
  /** What was thrown, with kind `fault`. */
  readonly cause?: unknown;
}

/** An attempt to connect that failed; the message is one line, without secrets. */
export class ConnectError extends Error {
  override readonly name = "ConnectError";
  /** The TLS alert as rustls names it, such as `CertificateUnknown`. */
  readonly alert: string | undefined;
  /** The code of the CONNACK that refused. */
  readonly code: number | undefined;
  /** The beginning of the packet at fault in hex, without payload. */
  readonly bytes: string | undefined;

  constructor(
    readonly stage: Stage,
    readonly kind: FailureKind,
    message: string,
    details: FailureDetails = {},
  ) {
    super(message, { cause: details.cause });
    this.alert = details.alert;
    this.code = details.code;
    this.bytes = details.bytes;
  }
}

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
  return failure.kind === "connack" && consequenceInConnack(failure.code ?? 0) === "credentials";
}

/** Whether the other side hung up after TLS and before CONNACK: one of the ways AWS IoT Core refuses a certificate. */
export function isSilentClose(failure: ConnectError): boolean {
  return failure.stage === "connack" && failure.kind === "closed";
}

/** Whether the account may just be busy with other devices: what a CONNACK of busy or quota says, or a close before CONNACK. */
export function isBusy(failure: ConnectError): boolean {
  return isSilentClose(failure) ||
    failure.kind === "connack" && consequenceInConnack(failure.code ?? 0) === "busy";
}

/** The failure that an exception in a callback means. */
export function faultIn(
  stage: Stage,
  where: string,
  callback: string,
  cause: unknown,
): ConnectError {
  const message = `${where}: ${exceptionIn(callback, cause)}`;
  return new ConnectError(stage, "fault", message, { cause });
}

/** What is said of an exception in a callback. */
export function exceptionIn(callback: string, cause: unknown): string {
  return `an exception in the callback "${callback}": ${messageOf(cause)}`;
}

/** The failure that an error of a socket in a stage means; `where` is the peer, such as `broker.example:8883`. */
export function fromSocketError(stage: Stage, where: string, error: unknown): ConnectError {
  if (error instanceof ConnectError) return error;
  const text = messageOf(error);
  const alert = /received fatal alert: (\w+)/.exec(text)?.[1];
  if (alert !== undefined) {
    return new ConnectError(stage, "alert", `${where} sent the TLS alert ${alert}`, { alert });
  }
  const kind = kindOf(codeOf(error), text);
  return new ConnectError(stage, kind, `${describe(stage, kind, where)} (${text})`);
}

function codeOf(error: unknown): string {
  if (typeof error !== "object" || error === null || !("code" in error)) return "";
  return String(error.code);
}

function kindOf(code: string, text: string): FailureKind {
  const known = KIND_OF_CODE[code];
  if (known !== undefined) return known;
  // `Deno.connect` has no code for what the resolver answers.
  if (code.startsWith("EAI_") || text.startsWith("failed to lookup address")) return "dns";
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
