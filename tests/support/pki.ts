import { x509 } from "../deps.ts";

const KEY_ALGORITHM = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" } as const;
const DAY_MS = 86_400_000;

/** A certificate with its private key. */
export interface Identity {
  /** The certificate, PEM. */
  readonly certPem: string;
  /** The private key, PKCS #8 PEM. */
  readonly keyPem: string;
  /** SHA-256 of the certificate's DER, lower-case hex without colons: what a registry knows a device by. */
  readonly fingerprint: string;
}

/** A certificate authority. */
export interface Authority extends Identity {
  /** Issues a certificate for a TLS client. */
  device(options?: DeviceOptions): Promise<Identity>;
  /** Issues a certificate for a TLS server. */
  server(options?: ServerOptions): Promise<Identity>;
}

/** From when to when a certificate is valid. */
export interface Validity {
  /** Default: a day ago. */
  readonly notBefore?: Date;
  /** Default: in 90 days. */
  readonly notAfter?: Date;
}

/** What a client certificate says. */
export interface DeviceOptions extends Validity {
  /** Common name; `device` by default. */
  readonly cn?: string;
}

/** What a server certificate says. */
export interface ServerOptions extends Validity {
  /** DNS names or IP addresses; `localhost` and `127.0.0.1` by default. */
  readonly names?: readonly string[];
}

/** A throwaway public-key infrastructure. */
export interface Pki {
  /** Signs the server's certificate and, unless told otherwise, the devices'. */
  readonly ca: Authority;
  /** The certificate of the stand-in, for `localhost`, `127.0.0.1` and the extra names. */
  readonly server: Identity;
  /** Issues a device certificate, by another authority if one is given. */
  device(options?: DeviceOptions & { readonly ca?: Authority }): Promise<Identity>;
  /** Makes an authority that nobody here trusts. */
  otherCa(cn?: string): Promise<Authority>;
  /** A device certificate whose time is over. */
  expired(options?: DeviceOptions): Promise<Identity>;
  /** A device certificate whose time has not come. */
  notYetValid(options?: DeviceOptions): Promise<Identity>;
}

/** The files that {@linkcode writePki} wrote: absolute paths, and the device whose they are. */
export interface PkiFiles {
  readonly rootca: string;
  readonly cert: string;
  readonly key: string;
  readonly serverCert: string;
  readonly serverKey: string;
  readonly device: Identity;
}

/** Makes an authority and a server certificate, in memory and without any other program. */
export async function createPki(
  options: { readonly names?: readonly string[] } = {},
): Promise<Pki> {
  const ca = await createAuthority("Throwaway root CA");
  const server = await ca.server({ names: ["localhost", "127.0.0.1", ...options.names ?? []] });
  const now = Date.now();
  return {
    ca,
    server,
    device: ({ ca: issuer = ca, ...rest } = {}) => issuer.device(rest),
    otherCa: (cn = "Another root CA") => createAuthority(cn),
    expired: (rest) =>
      ca.device({
        notBefore: new Date(now - 30 * DAY_MS),
        notAfter: new Date(now - DAY_MS),
        ...rest,
      }),
    notYetValid: (rest) =>
      ca.device({
        notBefore: new Date(now + DAY_MS),
        notAfter: new Date(now + 30 * DAY_MS),
        ...rest,
      }),
  };
}

/** Writes `rootca.pem`, `device.pem`, `device.key`, `server.pem` and `server.key` (keys for the owner only) into a folder. */
export async function writePki(dir: string, pki: Pki, device?: Identity): Promise<PkiFiles> {
  const identity = device ?? await pki.device();
  const files = {
    rootca: `${dir}/rootca.pem`,
    cert: `${dir}/device.pem`,
    key: `${dir}/device.key`,
    serverCert: `${dir}/server.pem`,
    serverKey: `${dir}/server.key`,
  };
  await Promise.all([
    Deno.writeTextFile(files.rootca, pki.ca.certPem),
    Deno.writeTextFile(files.cert, identity.certPem),
    Deno.writeTextFile(files.key, identity.keyPem, { mode: 0o600 }),
    Deno.writeTextFile(files.serverCert, pki.server.certPem),
    Deno.writeTextFile(files.serverKey, pki.server.keyPem, { mode: 0o600 }),
  ]);
  return { ...files, device: identity };
}

async function createAuthority(cn: string): Promise<Authority> {
  const keys = await generateKeys();
  const subject = `CN=${cn}, O=iotcored tests`;
  const cert = await x509.X509CertificateGenerator.createSelfSigned({
    serialNumber: serialNumber(),
    name: subject,
    keys,
    signingAlgorithm: KEY_ALGORITHM,
    ...period({ notAfter: new Date(Date.now() + 365 * DAY_MS) }),
    extensions: [
      new x509.BasicConstraintsExtension(true, 0, true),
      new x509.KeyUsagesExtension(
        x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign,
        true,
      ),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  });
  const issue = (name: string, validity: Validity, usage: x509.ExtendedKeyUsage, alt: string[]) =>
    issueLeaf({ cert, key: keys.privateKey }, name, validity, usage, alt);
  return {
    ...await identityOf(cert, keys),
    device: ({ cn = "device", ...validity } = {}) =>
      issue(cn, validity, x509.ExtendedKeyUsage.clientAuth, []),
    server: ({ names = ["localhost", "127.0.0.1"], ...validity } = {}) =>
      issue(names[0] ?? "server", validity, x509.ExtendedKeyUsage.serverAuth, [...names]),
  };
}

async function issueLeaf(
  issuer: { readonly cert: x509.X509Certificate; readonly key: CryptoKey },
  cn: string,
  validity: Validity,
  usage: x509.ExtendedKeyUsage,
  names: readonly string[],
): Promise<Identity> {
  const keys = await generateKeys();
  const cert = await x509.X509CertificateGenerator.create({
    serialNumber: serialNumber(),
    subject: `CN=${cn}, O=iotcored tests`,
    issuer: issuer.cert.subject,
    publicKey: keys.publicKey,
    signingKey: issuer.key,
    signingAlgorithm: KEY_ALGORITHM,
    ...period(validity),
    extensions: [
      new x509.BasicConstraintsExtension(false, undefined, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
      new x509.ExtendedKeyUsageExtension([usage]),
      await x509.AuthorityKeyIdentifierExtension.create(issuer.cert.publicKey),
      ...names.length === 0 ? [] : [new x509.SubjectAlternativeNameExtension(names.map(altName))],
    ],
  });
  return identityOf(cert, keys);
}

function altName(name: string): { type: "dns" | "ip"; value: string } {
  return { type: /^[\d.]+$|:/.test(name) ? "ip" : "dns", value: name };
}

function period(validity: Validity): { notBefore: Date; notAfter: Date } {
  const now = Date.now();
  return {
    notBefore: validity.notBefore ?? new Date(now - DAY_MS),
    notAfter: validity.notAfter ?? new Date(now + 90 * DAY_MS),
  };
}

/** Positive whatever the random bytes are: DER integers are signed. */
function serialNumber(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[0] = (bytes[0]! & 0x7f) | 0x40;
  return hex(bytes);
}

function generateKeys(): Promise<CryptoKeyPair> {
  return crypto.subtle.generateKey(KEY_ALGORITHM, true, ["sign", "verify"]);
}

async function identityOf(cert: x509.X509Certificate, keys: CryptoKeyPair): Promise<Identity> {
  const key = await crypto.subtle.exportKey("pkcs8", keys.privateKey);
  const digest = await crypto.subtle.digest("SHA-256", cert.rawData);
  return {
    certPem: cert.toString("pem") + "\n",
    keyPem: x509.PemConverter.encode(key, "PRIVATE KEY") + "\n",
    fingerprint: hex(new Uint8Array(digest)),
  };
}

function hex(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
