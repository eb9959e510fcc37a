import { createPrivateKey, type KeyObject, X509Certificate } from "node:crypto";
import { Buffer } from "node:buffer";
import { Exit, ExitError, isOutOfDescriptors, messageOf } from "../base/errors.ts";
import type { Log } from "../base/log.ts";
import { ConnectError } from "./connect_error.ts";
import { type PemBlock, readPem, writePem } from "./pem.ts";

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
  /** The root certificates that can be decoded, PEM. */
  readonly ca: string;
  /** What is wrong with the others, a line each. */
  readonly leftOut: readonly string[];
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

/** The largest credential file that is read, in bytes; a bundle of all public roots has a quarter of a million. */
export const MAX_FILE_BYTES = 4_194_304;

/** Reads a whole file as text; {@linkcode readRegularFile} but for tests. */
export type ReadText = (path: string) => Promise<string>;

/**
 * Reads the credential files and checks that each is what its option says (iotcored-param-rootca, -cert, -key). A file may hold
 * more than what it is read for; all that it is read for is checked. Of the root certificates, those that cannot be decoded
 * are left out, as one of a bundle is rarely the one that counts.
 *
 * @throws {ExitError} `Exit.CONFIG`, with one line that names the option, the path and what is wrong.
 * @throws {ConnectError} When no file descriptor is left, which says nothing of the files.
 */
export async function readCredentials(
  paths: CredentialPaths,
  readText: ReadText = readRegularFile,
): Promise<Credentials> {
  const [ca, cert, keys] = await Promise.all([
    readBlocks("--rootca", paths.rootca, readText),
    readBlocks("--cert", paths.cert, readText),
    readBlocks("--key", paths.key, readText),
  ]);
  const roots = readRoots(paths.rootca, ca);
  const chain = readChain(paths.cert, cert);
  const key = readKey(paths.key, keys);
  const device = chain[0].certificate;
  if (!device.checkPrivateKey(key)) {
    throw wrong("--key", paths.key, `must belong to the certificate ${paths.cert}, but does not`);
  }
  return {
    ...roots,
    cert: chain.map(({ pem }) => pem).join(""),
    key: String(key.export({ type: "pkcs8", format: "pem" })),
    fingerprint: device.fingerprint256,
    validFrom: Date.parse(device.validFrom),
    validTo: Date.parse(device.validTo),
  };
}

/**
 * Reads the files for what is wrong with them. That no file descriptor is left is not: each attempt to connect reads them again.
 *
 * @throws {ExitError} `Exit.CONFIG`
 */
export async function checkCredentials(paths: CredentialPaths, readText?: ReadText): Promise<void> {
  try {
    await readCredentials(paths, readText);
  } catch (error) {
    if (!(error instanceof ConnectError)) throw error;
  }
}

/** A FIFO would be waited for, and some devices have no end. */
async function readRegularFile(path: string): Promise<string> {
  const { isFile, isDirectory, isFifo, size } = await Deno.stat(path);
  if (!isFile) {
    const kind = isDirectory ? "a folder" : isFifo ? "a FIFO" : "a device or socket";
    throw new TypeError(`it must be a regular file, but is ${kind}`);
  }
  if (size > MAX_FILE_BYTES) {
    throw new RangeError(`it must be at most ${MAX_FILE_BYTES} bytes, but has ${size}`);
  }
  return await Deno.readTextFile(path);
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

/** Labels of certificates, the last two as OpenSSL knows them. */
const CERTIFICATE_LABELS: ReadonlySet<string> = new Set([
  "CERTIFICATE",
  "X509 CERTIFICATE",
  "TRUSTED CERTIFICATE",
]);

/** Labels of keys without a passphrase: PKCS #8, PKCS #1 and SEC1. */
const KEY_LABELS: ReadonlySet<string> = new Set([
  "PRIVATE KEY",
  "RSA PRIVATE KEY",
  "EC PRIVATE KEY",
]);

interface Certificate {
  readonly certificate: X509Certificate;
  readonly pem: string;
}

/** A block that cannot be used; the message names it by its number. */
class BlockError extends Error {
  constructor({ number }: PemBlock, fault: string) {
    super(`block ${number} ${fault}`);
  }
}

async function readBlocks(option: string, path: string, readText: ReadText): Promise<PemBlock[]> {
  try {
    return readPem(await readText(path));
  } catch (error) {
    if (isOutOfDescriptors(error)) {
      const text = `Cannot open ${option} ${path} at the moment: ${messageOf(error)}`;
      throw new ConnectError("credentials", "other", text);
    }
    throw wrong(option, path, `cannot be read (${messageOf(error)})`);
  }
}

function readRoots(path: string, blocks: readonly PemBlock[]): { ca: string; leftOut: string[] } {
  const certificates = blocksOf(CERTIFICATE_LABELS, "a certificate", "--rootca", path, blocks);
  let ca = "";
  const leftOut: string[] = [];
  for (const block of certificates) {
    try {
      ca += parseCertificate(block).pem;
    } catch (error) {
      leftOut.push(`${path}: ${messageOf(error)}`);
    }
  }
  if (ca !== "") return { ca, leftOut };
  throw wrong("--rootca", path, `holds no certificate that can be decoded (${leftOut.join("; ")})`);
}

function readChain(path: string, blocks: readonly PemBlock[]): [Certificate, ...Certificate[]] {
  const [first, ...rest] = blocksOf(CERTIFICATE_LABELS, "a certificate", "--cert", path, blocks);
  try {
    return [parseCertificate(first), ...rest.map(parseCertificate)];
  } catch (error) {
    throw wrong("--cert", path, `holds a certificate that cannot be decoded: ${messageOf(error)}`);
  }
}

/** The first key, as OpenSSL has it. */
function readKey(path: string, blocks: readonly PemBlock[]): KeyObject {
  for (const { number, label, encrypted } of blocks) {
    if (encrypted || label === "ENCRYPTED PRIVATE KEY") {
      const what = `must be a private key without a passphrase, but block ${number} is encrypted`;
      throw wrong("--key", path, what);
    }
  }
  const [first, ...rest] = blocksOf(KEY_LABELS, "a private key", "--key", path, blocks);
  try {
    const key = parseKey(first);
    rest.forEach(parseKey);
    return key;
  } catch (error) {
    throw wrong("--key", path, `holds a private key that cannot be decoded: ${messageOf(error)}`);
  }
}

function blocksOf(
  labels: ReadonlySet<string>,
  what: string,
  option: string,
  path: string,
  blocks: readonly PemBlock[],
): [PemBlock, ...PemBlock[]] {
  const [first, ...rest] = blocks.filter(({ label }) => labels.has(label));
  if (first !== undefined) return [first, ...rest];
  const found = [...new Set(blocks.map(({ label }) => label))].join(", ");
  const but = found === "" ? "holds none" : `holds ${found}`;
  throw wrong(option, path, `must be ${what} in PEM, but ${but}`);
}

function base64Of(block: PemBlock): string {
  if ("fault" in block.content) throw new BlockError(block, block.content.fault);
  return block.content.base64;
}

function parseCertificate(block: PemBlock): Certificate {
  const der = Buffer.from(base64Of(block), "base64");
  // What may follow, the trust settings of OpenSSL or nothing of meaning, is not part of the certificate.
  const only = der.subarray(0, sequenceLength(der) ?? der.length);
  try {
    const pem = writePem("CERTIFICATE", only.toString("base64"));
    return { certificate: new X509Certificate(pem), pem };
  } catch (error) {
    throw new BlockError(block, `is no valid certificate (${messageOf(error)})`);
  }
}

function parseKey(block: PemBlock): KeyObject {
  const pem = writePem(block.label, base64Of(block));
  try {
    return createPrivateKey(pem);
  } catch {
    // What the parser says may quote what it could not read.
    throw new BlockError(block, `is no valid ${block.label}`);
  }
}

/** How long the DER SEQUENCE at the beginning is, with its header, in bytes; `undefined` when there is none [X.690, 8.1.3]. */
function sequenceLength(der: Uint8Array): number | undefined {
  const [tag, first = 0] = der;
  if (tag !== 0x30) return undefined;
  if (first < 0x80) return 2 + first;
  const octets = der.subarray(2, 2 + (first & 0x7f));
  return 2 + octets.length + octets.reduce((length, octet) => length * 256 + octet, 0);
}

function wrong(option: string, path: string, what: string): ExitError {
  return new ExitError(Exit.CONFIG, `Cannot use ${option} ${path}: it ${what}`);
}
