/** How far an attempt to connect came. */
export type Stage = "credentials" | "tcp" | "proxy" | "tls" | "connack";

/**
 * What went wrong:
 * `config`: a credential file is missing or wrong; `dns`: no such host; `refused`: nobody listens; `unreachable`: no route;
 * `timeout`: the stage's deadline passed; `closed`: the other side closed or reset; `alert`: it sent a TLS alert;
 * `certificate`: its certificate does not verify; `proxy`: the proxy refused; `connack`: the broker refused;
 * `protocol`: it does not speak what it should; `aborted`: given up on this side; `other`: none of these.
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
  | "other";

/** What beside stage and kind is known about a failure. */
export interface FailureDetails {
  /** The TLS alert as rustls names it (`CertificateUnknown`), with kind `alert`. */
  readonly alert?: string;
  /** The CONNACK code, with kind `connack`. */
  readonly code?: number;
}

/** An attempt to connect that failed; the message is one line, without secrets. */
export class ConnectError extends Error {
  override readonly name = "ConnectError";
  /** The TLS alert as rustls names it, such as `CertificateUnknown`. */
  readonly alert: string | undefined;
  /** The code of the CONNACK that refused. */
  readonly code: number | undefined;

  constructor(
    readonly stage: Stage,
    readonly kind: FailureKind,
    message: string,
    details: FailureDetails = {},
  ) {
    super(message);
    this.alert = details.alert;
    this.code = details.code;
  }
}
