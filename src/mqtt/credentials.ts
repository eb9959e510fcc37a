import { createPrivateKey, type KeyObject, X509Certificate } from "node:crypto";
import { Exit, ExitError, messageOf } from "../base/errors.ts";
import type { Log } from "../base/log.ts";

/** A certificate that ends sooner than this is warned about, in ms. */
export const EXPIRY_WARNING_MS = 30 * 86_400_000;

/** Where the credentials are. */
export interface CredentialPaths {
  readonly rootca: string;
  readonly cert: string;
  readonly key: string;
}

/** Credentials that were read and fit together. */
export interface Credentials {
  /** The root certificates, PEM. */
  readonly ca: string;
  /** The device certificate and its chain, PEM. */
  readonly cert: string;
  /** The private key, PKCS #8 PEM whatever the file held. */
  readonly key: string;
  /** SHA-256 of the device certificate, as `AB:CD:...`. */
  readonly fingerprint: string;
  /** Milliseconds since the epoch. */
  readonly validFrom: number;
  /** Milliseconds since the epoch. */
  readonly validTo: number;
}

/** Reads a whole file as text; `Deno.readTextFile` but for tests. */
export type ReadText = (path: string) => Promise<string>;

/**
 * Reads the credential files and checks that each is what its option says (iotcored-param-rootca, -cert, -key).
 *
 * @throws {ExitError} `Exit.CONFIG`, with one line that names the option, the path and what is wrong.
 */
export async function readCredentials(
  paths: CredentialPaths,
  readText: ReadText = Deno.readTextFile,
): Promise<Credentials> {
  const [ca, cert, keyText] = await Promise.all([
    readFile("--rootca", paths.rootca, readText),
    readFile("--cert", paths.cert, readText),
    readFile("--key", paths.key, readText),
  ]);
  parseCertificate("--rootca", paths.rootca, ca);
  const device = parseCertificate("--cert", paths.cert, cert);
  const key = parseKey(paths.key, keyText);
  if (!device.checkPrivateKey(key)) {
    throw wrong("--key", paths.key, `must belong to the certificate ${paths.cert}, but does not`);
  }
  return {
    ca,
    cert,
    key: String(key.export({ type: "pkcs8", format: "pem" })),
    fingerprint: device.fingerprint256,
    validFrom: Date.parse(device.validFrom),
    validTo: Date.parse(device.validTo),
  };
}

/** Logs from when to when the device certificate is valid; warns when it is not valid now or ends within 30 days. */
export function logValidity(
  log: Log,
  path: string,
  credentials: Credentials,
  wallNowMs: number,
): void {
  const fields = {
    cert: path,
    from: new Date(credentials.validFrom).toISOString(),
    until: new Date(credentials.validTo).toISOString(),
  };
  if (wallNowMs < credentials.validFrom) log.warn("The certificate is not valid yet", fields);
  else if (wallNowMs > credentials.validTo) log.warn("The certificate has expired", fields);
  else if (wallNowMs > credentials.validTo - EXPIRY_WARNING_MS) {
    const days = Math.floor((credentials.validTo - wallNowMs) / 86_400_000);
    log.warn(`The certificate expires in ${days} days`, fields);
  } else log.info("The certificate is valid", fields);
}

/** rustls takes the last line of a PEM file only when a newline ends it. */
async function readFile(option: string, path: string, readText: ReadText): Promise<string> {
  try {
    const text = await readText(path);
    return text.endsWith("\n") ? text : text + "\n";
  } catch (error) {
    throw wrong(option, path, `cannot be read (${messageOf(error)})`);
  }
}

function parseCertificate(option: string, path: string, pem: string): X509Certificate {
  if (!pem.includes("-----BEGIN CERTIFICATE-----")) {
    throw wrong(option, path, "must be a certificate in PEM, but holds none");
  }
  try {
    return new X509Certificate(pem);
  } catch (error) {
    throw wrong(option, path, `holds a certificate that cannot be decoded (${messageOf(error)})`);
  }
}

function parseKey(path: string, pem: string): KeyObject {
  if (/-----BEGIN ENCRYPTED|^Proc-Type: 4,ENCRYPTED/m.test(pem)) {
    throw wrong("--key", path, "must be a private key without a passphrase, but is encrypted");
  }
  if (!/-----BEGIN (?:RSA |EC )?PRIVATE KEY-----/.test(pem)) {
    throw wrong("--key", path, "must be a private key in PEM, but holds none");
  }
  try {
    return createPrivateKey(pem);
  } catch {
    // What the parser says may quote what it could not read.
    throw wrong("--key", path, "holds a private key that cannot be decoded");
  }
}

function wrong(option: string, path: string, what: string): ExitError {
  return new ExitError(Exit.CONFIG, `Cannot use ${option} ${path}: it ${what}`);
}
